"""A launch that selects and trains, killed with SIGKILL in every phase and given again: the same weights in the end."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from circuitseer_trl.artifacts import read_table
from tests.helpers.training_runs import losses, make_model_folder, run_training, write_pool

PLACES = ("scores", "draw", "step", "checkpoint", "final")
# What of the run's folder is there, and what is not yet, when it has been killed there.
LEFT = {
    "scores": ("selection/heads.json", "selection/selection.parquet"),
    "draw": ("selection/selection.parquet", "selection/selection.json"),
    "step": ("checkpoint-4/trainer_state.json", "checkpoint-8"),
    "checkpoint": ("checkpoint-8/model.safetensors", "checkpoint-8/trainer_state.json"),
    "final": ("checkpoint-8/trainer_state.json", "training.json"),
}


def train(folder: Path, output: str, num_processes: int, **kwargs) -> str:
    files = ["--dataset_name", str(folder / "pool.jsonl"), "--model_name_or_path", str(folder / "model")]
    files += ["--selection_recipe", str(folder / "selection.yaml"), "--output_dir", str(folder / output)]
    return run_training(*files, num_processes=num_processes, program="tests.programs.killed_training", **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [1, 2])
def test_killed_in_every_phase(tmp_path, num_processes):
    if num_processes > 1 and shutil.which("g++") is None:
        pytest.skip("DeepSpeed needs g++ to build its collectives")
    make_model_folder(tmp_path / "model")
    write_pool(tmp_path)
    recipe = {"method": "circuitseer", "reference_model": str(tmp_path / "model"), "probe_size": 6, "head_ratio": 0.25}
    (tmp_path / "selection.yaml").write_text(yaml.safe_dump(recipe | {"budget_ratio": 0.5}))
    train(tmp_path, "whole", num_processes)

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for place in PLACES:
        output = train(tmp_path, "killed", num_processes, check=False, environment={"KILL_AT": place})
        written, missing = LEFT[place]
        assert (killed / written).exists(), output[-6000:]
        assert not (killed / missing).exists()
    train(tmp_path, "killed", num_processes)

    selections = [read_table(folder / "selection" / "selection.parquet") for folder in (whole, killed)]
    assert selections[0].equals(selections[1])
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert losses(killed) == losses(whole)
    results = [json.loads((folder / "training.json").read_text()) for folder in (whole, killed)]
    assert results[1]["resumed_from"] == "checkpoint-8"
    for key in ("settings", "num_steps", "num_trained_rows"):
        assert results[0][key] == results[1][key]
    assert results[0]["train_loss"] == pytest.approx(results[1]["train_loss"], abs=1e-4)  # the history is rounded
