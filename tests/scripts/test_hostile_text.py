"""Every command that shows text of others is fed control characters. None of them reaches the terminal."""

import json
import re
from pathlib import Path

import pytest

from circuitseer_trl.scripts.main import main
from tests.conftest import PROBLEMS
from tests.helpers.evaluation_folders import write_run

pytestmark = pytest.mark.thorough
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202etxt"
NAME = "\x1bc\x07\x9b\u202etxt"  # of a file; `datasets` reads [ ] in names as a pattern
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a hostile name, in which a pool has hostile problems, ids and categories."""
    folder = tmp_path_factory.mktemp("hostile") / f"r{NAME}"
    folder.mkdir()
    rows = [
        {"problem": f"{HOSTILE} {problem}", "solution": solution, "name": f"{HOSTILE}{n}", "kind": f"{n % 2}{HOSTILE}"}
        for n, (problem, solution) in enumerate(PROBLEMS)
    ]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "r.yaml").write_text(f"# {HOSTILE.encode('unicode_escape').decode()}\n")
    (folder / "answers.jsonl").write_text(json.dumps({"response": HOSTILE, "gold": "1"}) + "\n")
    return folder


def printed(capsys: pytest.CaptureFixture[str], status: int, *words: object) -> str:
    assert main(list(map(str, words))) == status
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert r"\x1b[2J\x1b]0;owned\x07\x9b31m\u202etxt" in text or r"\x1bc\x07\x9b\u202etxt" in text
    # Progress bars return to the start of their line, or go up to it; nothing else has control characters.
    assert CONTROL.findall(text.replace("\r", "").replace("\x1b[A", "")) == []
    return text


def test_the_steps_of_a_selection(folder: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]):
    keys = ["--dataset_name", folder / "pool.jsonl", "--id_column", "name", "--category_column", "kind"]
    heads = [*keys, "--reference_model", tiny_model, "--probe_size", 3, "--head_ratio", 0.25]
    printed(capsys, 0, "score-pool", *heads, "--output_dir", folder / "one")
    printed(capsys, 0, "select-data", *heads, "--output_dir", folder / "one")
    printed(capsys, 0, "select-data", *heads, "--output_dir", folder / "one")  # finished before
    printed(capsys, 0, "explain", *heads, "--output_dir", folder / "one", "--row", f"{HOSTILE}0")
    printed(capsys, 2, "explain", *heads, "--output_dir", folder / "one", "--row", HOSTILE)
    printed(capsys, 0, "select-data", *keys, "--method", "random", "--output_dir", folder / "two")
    text = printed(capsys, 0, "compare", folder / "one", folder / "two", "--output", folder / "page.html")
    assert "Share of each category" in text
    assert HOSTILE not in (folder / "page.html").read_text()


def test_pages_and_files(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    for name in ("a", "b"):
        write_run(folder / f"{name}{HOSTILE}", {f"sums{HOSTILE}": ["+", "-"]}, {"seed": f"{name}{HOSTILE}"})
    runs = [folder / f"{name}{HOSTILE}" for name in ("a", "b")]
    printed(capsys, 0, "report", *runs, "--output", folder / "page.html")
    words = ["--dataset_name", folder / "pool.jsonl", "--name", "pool", "--benchmarks_dir", folder / "benchmarks"]
    printed(capsys, 0, "pool-benchmark", *words)
    printed(capsys, 0, "grade", "--input", folder / "answers.jsonl", "--output", folder / "verdicts.jsonl")


def test_errors(folder: Path, capsys: pytest.CaptureFixture[str]):
    printed(capsys, 2, f"x{HOSTILE}")
    printed(capsys, 2, "report", folder / "none")
    words = ["select-data", "--dataset_name", folder / "none.jsonl", "--method", "random", "--output_dir"]
    printed(capsys, 2, *words, folder / "x")
    printed(capsys, 2, "select-data", "--config", folder / "r.yaml", f"--x{HOSTILE}")
