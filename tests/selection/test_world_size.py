"""Every method gives the same bytes with one process, with two, and when it is killed and goes on with another number."""

import json
import time
from pathlib import Path

import pytest

from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.pool.load import pool_from_config
from circuitseer_trl.selection.methods import METHODS
from tests.helpers.launch import kill, launch, start
from tests.helpers.method_inputs import needed_args

NUM_ROWS = 96


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def num_shards(folder: Path) -> int:
    return len(list(folder.rglob("part-*.parquet")))


def kill_in_the_middle(words: list[object], folder: Path, num_processes: int, whole: int) -> None:
    """Starts a run, and ends it with SIGKILL when about half of its shards are written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARD_SECONDS", "0.1")
        run = start("tests.programs.small_shards", *words, "--output_dir", folder, num_processes=num_processes)
    while run.poll() is None and num_shards(folder) < whole // 2:
        time.sleep(0.01)
    assert run.poll() is None, f"ended before it was killed: {run.communicate()}"
    kill(run)
    assert 0 < num_shards(folder) < whole


@pytest.mark.slow
@pytest.mark.parametrize("method", list(METHODS))
def test_methods_give_the_same_bytes_for_any_number_of_processes(tmp_path: Path, tiny_model: str, method: str):
    rows = [
        {
            "problem": f"There are {i} boxes of {i % 7 + 2} pens each. How many pens are there?",
            "solution": f"{i} * {i % 7 + 2} = \\boxed{{{i * (i % 7 + 2)}}}, " + "which is right. " * (i % 4 + 1),
            "topic": "abc"[i % 3],
            "level": i % 5,
        }
        for i in range(NUM_ROWS)
    ]
    asked = "Which of the three boxes in the picture has the most pens in it, and which has the fewest of all?"
    copies = [rows[3] | {"problem": rows[3]["problem"] + "!"}, rows[5] | {"problem": asked}]
    pool, benchmark = tmp_path / "pool.jsonl", tmp_path / "benchmark.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows + copies), encoding="utf-8")
    benchmark.write_text(json.dumps({"question": asked}) + "\n", encoding="utf-8")
    keys = {"category_column": "topic", "difficulty_column": "level", "dedup_similarity": 0.9}
    clean = pool_from_config(PoolConfig(str(pool), **keys, decontaminate_against=[str(benchmark)]))  # type: ignore[arg-type]
    assert len(clean) == NUM_ROWS

    words: list[object] = [
        "--dataset_name",
        pool,
        "--decontaminate_against",
        benchmark,
        "--reference_model",
        tiny_model,
    ]
    words += [word for key, value in keys.items() for word in (f"--{key}", value)]
    words += ["--probe_size", 8, "--budget_size", 12, "--method", method]
    if arguments := needed_args(method, clean, tiny_model, tmp_path / "inputs"):
        words += ["--method_args", json.dumps(arguments)]

    def finish(folder: Path, num_processes: int) -> dict[str, bytes]:
        done = launch("tests.programs.small_shards", *words, "--output_dir", folder, num_processes=num_processes)
        assert done.returncode == 0, done.stderr[-3000:]
        return written(folder)

    whole = finish(tmp_path / "one", 1)
    assert sum(name.startswith("scores/") for name in whole) == NUM_ROWS // 8
    assert finish(tmp_path / "two", 2) == whole
    for before, after in ((2, 1), (1, 2)):
        folder = tmp_path / f"killed-{before}"
        kill_in_the_middle(words, folder, before, num_shards(tmp_path / "one"))
        assert finish(folder, after) == whole
