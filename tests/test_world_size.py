"""Every method gives the same bytes with one process, and when shards are lost and made again by two."""

import json
from pathlib import Path

import pytest
from evaluations import two_evaluations
from launch import launch

from circuitseer_trl.selection.methods import METHODS

NUM_ROWS = 96


@pytest.mark.slow
@pytest.mark.parametrize("method", list(METHODS))
def test_methods_give_the_same_bytes_for_any_number_of_processes(tmp_path: Path, tiny_model: str, method: str):
    rows = [
        {
            "problem": f"There are {i} boxes of {i % 7 + 2} pens each. How many pens are there?",
            "solution": f"{i} * {i % 7 + 2} = \\boxed{{{i * (i % 7 + 2)}}}, " + "which is right. " * (i % 4 + 1),
            "topic": "abc"[i % 3],
        }
        for i in range(NUM_ROWS)
    ]
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    evaluations = two_evaluations(tmp_path)

    def select(folder: Path, num_processes: int) -> None:
        words: list[object] = ["--dataset_name", pool, "--reference_model", tiny_model, "--output_dir", folder]
        words += ["--category_column", "topic", "--probe_size", 8, "--budget_size", 12, "--method", method]
        if method == "rds":
            words += ["--method_args", json.dumps({"queries": str(pool)})]
        if method == "influence":
            words += ["--method_args", json.dumps(evaluations)]
        if method == "infra":
            arguments = {"evaluation": evaluations["after"], "level": "token", "difficulty": "score"}
            words += ["--method_args", json.dumps(arguments)]
        done = launch("tests.small_shards", *words, num_processes=num_processes)
        assert done.returncode == 0, done.stderr[-3000:]

    def written(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}

    select(tmp_path / "one", 1)
    select(tmp_path / "two", 2)
    whole = written(tmp_path / "one")
    assert sum(name.startswith("scores/") for name in whole) > 2
    assert written(tmp_path / "two") == whole
    lost = sorted((tmp_path / "two").rglob("part-*.parquet"))[::2]
    for path in lost:
        path.unlink()
    select(tmp_path / "two", 2)
    assert written(tmp_path / "two") == whole
