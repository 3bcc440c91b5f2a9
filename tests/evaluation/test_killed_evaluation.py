"""An evaluation killed with SIGKILL again and again, restarted with other batch sizes and processes, has the same answers."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.helpers.launch import kill, launch, start

NUM_PROBLEMS, NUM_SAMPLES = 60, 3
NUM_ANSWERS = NUM_PROBLEMS * (1 + NUM_SAMPLES)
BATCH_SIZES = (1, 7, 3, 16)


@pytest.fixture
def benchmarks_dir(tmp_path: Path) -> Path:
    rows = [
        {"problem": f"What is {n} + {n % 7}? " * (n % 3 + 1), "answer": str(n + n % 7)} for n in range(NUM_PROBLEMS)
    ]
    (tmp_path / "word_problems").mkdir()
    (tmp_path / "word_problems" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def arguments(folder: Path, model: str, benchmarks_dir: Path, batch_size: int) -> list[object]:
    return [
        *("--model_name_or_path", model, "--benchmarks_dir", benchmarks_dir, "--benchmarks", "word_problems"),
        *("--num_samples", NUM_SAMPLES, "--max_new_tokens", 40, "--dtype", "float32", "--temperature", 1.0),
        *("--batch_size", batch_size, "--output_dir", folder),
    ]


def num_written(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (folder / "generations").glob("*.jsonl"))


def answers(folder: Path) -> bytes:
    return (folder / "generations" / "word_problems.jsonl").read_bytes()


@pytest.mark.parametrize(
    "num_kills", [pytest.param(2, marks=pytest.mark.engine), pytest.param(10, marks=pytest.mark.slow)]
)
def test_killed_evaluations_end_with_the_same_answers(
    tmp_path: Path, tiny_model: str, benchmarks_dir: Path, num_kills: int
):
    whole = launch("eval.run", *arguments(tmp_path / "whole", tiny_model, benchmarks_dir, 16))
    assert whole.returncode == 0, whole.stderr[-3000:]
    folder, chance = tmp_path / "killed", random.Random(num_kills)
    for number in range(num_kills):
        before = num_written(folder)
        target = before + chance.randint(1, NUM_ANSWERS // (num_kills + 1) - 16)
        words = arguments(folder, tiny_model, benchmarks_dir, BATCH_SIZES[number % len(BATCH_SIZES)])
        run = start("eval.run", *words, num_processes=number % 2 + 1)
        while run.poll() is None and num_written(folder) < target:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.02)
        assert run.poll() is None, f"ended before it was killed: {run.communicate()}"
        kill(run)
        assert before < num_written(folder) < NUM_ANSWERS
        if number % 2:
            assert list(folder.rglob("*.rank1.jsonl")), "the second process wrote nothing"

    batch_size = BATCH_SIZES[num_kills % len(BATCH_SIZES)]
    words = arguments(folder, tiny_model, benchmarks_dir, batch_size)
    done = launch("eval.run", *words, num_processes=num_kills % 2 + 1)
    assert done.returncode == 0, done.stderr[-3000:]
    assert answers(folder) == answers(tmp_path / "whole")
    assert answers(folder).count(b"\n") == NUM_ANSWERS
    measured, expected = (
        json.loads((each / "results.json").read_text())["benchmarks"]["word_problems"]
        for each in (folder, tmp_path / "whole")
    )
    for each in (measured, expected):
        del each["seconds"], each["tokens_per_second"]
    assert measured == expected
    assert len({json.loads(line)["text"] for line in answers(folder).splitlines()}) > NUM_ANSWERS / 2
