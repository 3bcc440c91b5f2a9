"""A selection killed with SIGKILL again and again, restarted with other numbers of processes, gives the same bytes."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.helpers.launch import kill, launch, start

NUM_ROWS, NUM_PROBE, ROWS_PER_SHARD = 640, 40, 8
NUM_SHARDS = 2 * NUM_ROWS // ROWS_PER_SHARD + NUM_PROBE  # of losses and scores, and one a probe example


@pytest.fixture
def big_pool(tmp_path: Path) -> Path:
    path = tmp_path / "pool.jsonl"
    rows = [
        {
            "problem": f"There are {i} boxes of {i % 7 + 2} pens each. " * (i % 5 + 1) + "How many pens are there?",
            "solution": f"{i} * {i % 7 + 2} = \\boxed{{{i * (i % 7 + 2)}}}",
        }
        for i in range(NUM_ROWS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def arguments(folder: Path, pool: Path, model: str) -> list[object]:
    return [
        *("--dataset_name", pool, "--reference_model", model, "--output_dir", folder),
        *("--probe_size", NUM_PROBE, "--head_ratio", 0.25, "--budget_ratio", 0.25),
    ]


def finished(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def num_written(folder: Path) -> int:
    try:
        return len(list(folder.rglob("part-*.parquet")))
    except FileNotFoundError:  # a run makes its folder, and removes it where it does not start
        return 0


def kill_at_random(
    folder: Path, words: list[object], num_processes: int, max_shards: int, chance: random.Random
) -> None:
    """Starts a run, and kills it some milliseconds after it has written a random number of shards."""
    target = num_written(folder) + chance.randint(0, max_shards)
    run = start("tests.programs.small_shards", *words, num_processes=num_processes)
    while run.poll() is None and num_written(folder) <= target:
        time.sleep(0.002)
    time.sleep(chance.random() * 0.02)
    assert run.poll() is None, f"ended before it was killed: {run.communicate()}"
    kill(run)


def kill_and_restart(folder: Path, pool: Path, model: str, num_kills: int, seed: int) -> None:
    words, chance = arguments(folder, pool, model), random.Random(seed)
    for number in range(num_kills):
        kill_at_random(folder, words, number % 3 + 1, NUM_SHARDS // (num_kills + 1) - 2, chance)
    assert 0 < num_written(folder) < NUM_SHARDS
    done = launch("tests.programs.small_shards", *words, num_processes=num_kills % 3 + 1)
    assert done.returncode == 0, done.stderr[-3000:]
    assert num_written(folder) == NUM_SHARDS
    assert not list(folder.rglob(".part-*.tmp"))


@pytest.mark.parametrize(
    "num_kills", [pytest.param(1, marks=pytest.mark.engine), pytest.param(20, marks=pytest.mark.slow)]
)
def test_killed_runs_end_with_the_same_bytes(tmp_path: Path, tiny_model: str, big_pool: Path, num_kills: int):
    whole = launch("tests.programs.small_shards", *arguments(tmp_path / "whole", big_pool, tiny_model))
    assert whole.returncode == 0, whole.stderr[-3000:]
    kill_and_restart(tmp_path / "killed", big_pool, tiny_model, num_kills, seed=num_kills)
    assert finished(tmp_path / "killed") == finished(tmp_path / "whole")
