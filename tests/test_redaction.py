"""No key, token or password reaches a file, a page, a tracker or a message."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from circuitseer_trl.redaction import check_address, redact, redact_command
from tests.conftest import ROOT
from tests.helpers.launch import launch


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"OPENAI_API_KEY": "sk-planted", "MY_TOKEN": "sk-planted-longer", "OTHER_TOKEN": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-planted-longer, sk-planted.", "key ***, ***."),
        ("1 + 1 = 2", "1 + 1 = 2"),
        ("http://me:word@host/v1", "http://***@host/v1"),
        ("https://token@host", "https://***@host"),
        ("https://h/x?a=1&api_key=k3&b=2", "https://h/x?a=1&api_key=***&b=2"),
        ("s3://b/f?X-Amz-Signature=ab12", "s3://b/f?X-Amz-Signature=***"),
        ("hf://datasets/o/n@main/f.json?download=true", "hf://datasets/o/n@main/f.json?download=true"),
        ("mail me@host at http://host/a@b", "mail me@host at http://host/a@b"),
    ],
)
def test_redact(text: str, shown: str):
    assert redact(text) == shown


def test_redact_command():
    words = ["--train.hub_token", "abc", "--hub_token=abc", "--eos_token", "<|end|>", "--x.base_url=http://a:b@h/v1"]
    shown = ["--train.hub_token", "***", "--hub_token=***", "--eos_token", "<|end|>", "--x.base_url=http://***@h/v1"]
    assert redact_command(words) == shown


@pytest.mark.parametrize("address", ["http://me:word@h/v1", "https://word@h", "https://h/v1?api_key=word"])
def test_an_address_with_a_password_is_refused_without_showing_it(address: str):
    with pytest.raises(ValueError, match="`base_url` is an address with") as error:
        check_address("base_url", address, "Set OPENAI_API_KEY.")
    assert "word" not in str(error.value).replace("password", "")


@pytest.mark.parametrize("address", ["http://h:8000/v1", "hf://datasets/o/n@main/f.json", "me@host", "https://h?x=1"])
def test_another_address_is_not(address: str):
    check_address("base_url", address, "")


SECRET = "sk-planted-0123456789"


class Refusing(BaseHTTPRequestHandler):
    """Answers every request with 401, and repeats its key."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = json.dumps({"error": {"message": f"Wrong key: {self.headers['Authorization']}"}}).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def evaluation(tmp_path: Path, tiny_model: str) -> Iterator[list[str]]:
    """The words of an evaluation on a server that refuses the key; the address is the last."""
    (tmp_path / "benchmarks" / "sums").mkdir(parents=True)
    (tmp_path / "benchmarks" / "sums" / "test.jsonl").write_text('{"problem": "1 + 1?", "answer": "2"}\n')
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    words = (
        f"--model_name_or_path {tiny_model} --benchmarks sums --benchmarks_dir {tmp_path}/benchmarks --backend openai "
    )
    words += f"--output_dir {tmp_path}/run --report_to wandb --base_url http://127.0.0.1:{server.server_port}/v1"
    yield words.split()
    server.shutdown()
    server.server_close()


def run_and_search(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a command with a key in its environment, and searches for the key in all that it has printed and written."""
    tracked = {name: str(folder) for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR")}
    done = launch("circuitseer_trl.scripts.main", *words, environment=tracked | {"OPENAI_API_KEY": SECRET})
    assert SECRET not in done.stdout + done.stderr
    for file in folder.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
    return done


@pytest.mark.engine
def test_a_server_that_repeats_the_key(tmp_path: Path, evaluation: list[str]):
    pytest.importorskip("openai")
    done = run_and_search(tmp_path, "evaluate", *evaluation)
    assert "Wrong key: Bearer ***" in done.stderr
    assert list(tmp_path.rglob("*.wandb"))


@pytest.mark.thorough
def test_a_key_in_an_address_is_refused_by_every_command(tmp_path: Path, evaluation: list[str], pool_file: str):
    *words, address = evaluation
    address = address.replace("http://", f"http://me:{SECRET}@")
    done = run_and_search(tmp_path, "evaluate", *words, address)
    assert done.stderr.startswith("error: `base_url` is an address with a user or password before the host")
    pool = f"https://host/pool.jsonl?token={SECRET}"
    done = run_and_search(tmp_path, "select-data", "--dataset_name", pool, "--output_dir", str(tmp_path / "s"))
    assert done.stderr.startswith("error: `dataset_name` is an address with `token` in its query")


@pytest.mark.thorough
def test_a_run_records_no_key(tmp_path: Path):
    # This module as the step: it takes any words and does nothing.
    words = ["--hub_token", SECRET, f"--base_url=http://me:{SECRET}@h"]
    program = f"""
from pathlib import Path
from circuitseer_trl.command_line import run_command
from circuitseer_trl.finished import FinishedStep
from circuitseer_trl.studies.reproduce import run
from circuitseer_trl.studies.tasks import Task
class Step(Task):
    module = "tests.test_redaction"
    def finished(self, num_processes):
        return FinishedStep("x", {str(tmp_path)!r}, [], [])
step = Step("x", "train-sft", "", {str(tmp_path)!r}, {words!r}, [], [])
run_command(lambda words: run([step], Path({str(tmp_path)!r}), None, None))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.count("--hub_token '***' '--base_url=http://***@h'") == 1
    assert SECRET not in done.stdout + done.stderr + (tmp_path / "steps.json").read_text()
