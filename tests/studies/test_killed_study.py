"""A study of five methods, three seeds and two budgets, killed at twenty random moments, ends with the same bytes."""

import random
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.selection.stored_selection import read_selection
from tests.conftest import ROOT
from tests.helpers.launch import kill, launch, start
from tests.helpers.study_world import products, write_study, write_world

MAIN = "circuitseer_trl.scripts.main"
NUM_KILLS = 20


def num_finished(root: Path) -> int:
    return len(list(root.rglob("finished.json")))


def written(root: Path) -> dict[str, dict[str, int]]:
    """When the tables of each shared step that has ended were written, and the record of its end."""
    return {
        str(record.parent.relative_to(root)): {
            str(file): file.stat().st_mtime_ns for file in [record, *record.parent.rglob("*.parquet")]
        }
        for record in root.glob("shared/*/*/finished.json")
    }


def results(root: Path) -> pa.Table:
    return pq.read_table(root / "results.parquet").drop_columns("seconds")


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path, tiny_model: str):
    content = write_world(tmp_path, tiny_model)
    content["methods"] = ["random", "longest", "max_loss", "ifd", "circuitseer"]
    content["budgets"] = [{"budget_ratio": 0.25}, {"budget_ratio": 0.5}]
    content["seeds"] = [0, 1, 2]
    del content["selection"]["budget_ratio"]
    file = write_study(tmp_path / "study.yaml", content)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = launch(MAIN, "study", file, "--output_dir", whole, "--workers", 2, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr

    chance = random.Random(0)
    seen: dict[str, dict[str, int]] = {}
    for kills in range(1, NUM_KILLS + 1):
        process = start(MAIN, "study", file, "--output_dir", killed, "--workers", 2)
        target = num_finished(killed) + chance.randint(0, 3)  # of 96 steps
        while process.poll() is None and num_finished(killed) < target:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 3))
        assert process.poll() is None, f"it ended before kill {kills}: {process.communicate()}"
        kill(process)
        for step, times in written(killed).items():
            assert seen.setdefault(step, times) == times, f"{step} was done again"
        num_points = len(list(killed.glob("points/*/results.json")))
        print(f"kill {kills}: {len(seen)} shared steps, {num_points} points, {num_finished(killed)} steps", flush=True)

    done = launch(MAIN, "study", file, "--output_dir", killed, "--workers", 2, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert written(killed) == {step: seen.get(step, times) for step, times in written(killed).items()}
    points = read_json(whole / "study.json")["points"]
    assert len(points) == 30
    assert {point["shared"]["heads"] for point in points if "heads" in point["shared"]} == {
        str(folder.relative_to(whole)) for folder in (whole / "shared" / "heads").iterdir()
    }
    assert len(list((whole / "shared" / "heads").iterdir())) == len(list((killed / "shared" / "heads").iterdir())) == 1
    assert len(list((killed / "shared" / "scores").iterdir())) == 5
    assert products(killed) == products(whole)
    assert len(products(whole)) >= 30 * 4
    assert results(killed).equals(results(whole))
    assert read_json(killed / "differences.json") == read_json(whole / "differences.json")


@pytest.mark.slow
def test_points_under_zero3(tmp_path: Path, tiny_model: str):
    """Two points, each step of them with two ZeRO-3 processes on the CPU, select and answer as one process does."""
    content = write_world(tmp_path, tiny_model) | {"seeds": [0]}
    file = write_study(tmp_path / "study.yaml", content)
    words = ("study", file, "--output_dir")
    done = launch(MAIN, *words, tmp_path / "one", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    launcher = yaml.safe_load((ROOT / "accelerate_configs" / "zero3.yaml").read_text()) | {"mixed_precision": "no"}
    (tmp_path / "zero3.yaml").write_text(yaml.safe_dump(launcher))
    engine = ("--accelerate_config", tmp_path / "zero3.yaml", "--num_processes", 2)
    done = launch(MAIN, *words, tmp_path / "two", *engine, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("random.s0.t0", "top.s0.t0"):
        folders = [tmp_path / each / "points" / name for each in ("one", "two")]
        trained = read_json(folders[1] / "model" / "training.json")
        assert (trained["engine"], trained["world_size"]) == ("DEEPSPEED ZeRO-3", 2)
        one, two = (read_selection(folder / "selection" / "selection.parquet").uids for folder in folders)
        assert one == two
        assert read_json(folders[1] / "results.json")["benchmarks"]["word_problems"]["num_problems"] == 4
