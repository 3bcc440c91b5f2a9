"""Two steps of ZeRO-3 against one process, for real; and what the comparison finds in runs that differ."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from circuitseer_trl.doctor.run import default_model
from circuitseer_trl.doctor.training_check import NUM_STEPS, check_zero3, compare_runs


@pytest.mark.engine
@pytest.mark.skipif(shutil.which("g++") is None, reason="DeepSpeed needs g++ to build its collectives")
def test_zero3_is_one_process():
    outcomes = check_zero3(default_model())
    assert [(outcome.name, outcome.status) for outcome in outcomes] == [
        ("ZeRO-3, losses", "ok"),
        ("ZeRO-3, weights", "ok"),
    ]


def save_run(folder: Path, weight: list[float], losses: list[float]) -> Path:
    checkpoint = folder / f"checkpoint-{NUM_STEPS}"
    checkpoint.mkdir(parents=True)
    history = [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)]
    (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": [*history, {"train_loss": 1}]}))
    save_file({"weight": torch.tensor(weight)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("weight", "losses", "statuses"),
    [
        ([1.5, 3.0], [2.0, 1.0], ["ok", "ok"]),
        ([1.5, 3.0], [2.0, 1.1], ["differs", "ok"]),
        ([1.6, 3.0], [2.0, 1.0], ["ok", "differs"]),  # 0.1 apart, and both moved by about 0.5
        ([1.5, 3.0], [2.0], ["differs"]),
        ([float("nan"), 3.0], [2.0, 1.0], ["ok", "differs"]),
    ],
)
def test_runs_that_differ_are_found(tmp_path: Path, weight: list[float], losses: list[float], statuses: list[str]):
    start = save_run(tmp_path / "start", [1.0, 3.0], [])
    one = save_run(tmp_path / "one", [1.5, 3.0], [2.0, 1.0])
    two = save_run(tmp_path / "two", weight, losses)
    assert [outcome.status for outcome in compare_runs(start, one, two, "cpu")] == statuses


def test_a_training_that_changes_nothing_is_found(tmp_path: Path):
    folders = [save_run(tmp_path / name, [1.0], [2.0, 1.0]) for name in ("start", "one", "two")]
    [outcome] = compare_runs(*folders, "cpu")
    assert (outcome.status, "changed nothing" in outcome.detail) == ("differs", True)
