"""The plugin in a plain training script: alone, and in a ZeRO-3 launch of two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from circuitseer_trl.artifacts import read_json
from tests.conftest import ROOT
from tests.helpers.launch import ENVIRONMENT

pytestmark = pytest.mark.engine


def train(output_dir: Path, model: str, pool: str, *launcher: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, *launcher, "examples/plugin.py", model, pool, str(output_dir)],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_lines_in_a_training_script(tmp_path: Path, tiny_model: str, pool_file: str):
    train(tmp_path / "alone", tiny_model, pool_file)
    zero3 = ["-m", "accelerate.commands.launch", "--config_file", "accelerate_configs/zero3.yaml"]
    zero3 += ["--num_processes", "2", "--mixed_precision", "no", "--main_process_port", "0"]
    train(tmp_path / "zero3", tiny_model, pool_file, *zero3)
    for name in ("scores/part-00000.parquet", "importance.parquet", "selection.parquet"):
        alone, together = ((tmp_path / run / "selection" / name).read_bytes() for run in ("alone", "zero3"))
        assert alone == together, name
    for run in ("alone", "zero3"):
        card = read_json(tmp_path / run / "selection" / "selection.json")
        assert card["num_selected"] == 6
        assert read_json(tmp_path / run / "model" / "checkpoint-4" / "selection.json") == card
        assert read_json(tmp_path / run / "model" / "selection.json") == card
        state = read_json(tmp_path / run / "model" / "checkpoint-4" / "trainer_state.json")
        kept = state["stateful_callbacks"]["CircuitSeerDataSelector"]["attributes"]["card"]
        assert kept["fingerprint"] == card["fingerprint"]
        assert (tmp_path / run / "model" / "model.safetensors").stat().st_size > 10_000
    # ZeRO-3 was in force: its checkpoint is in shards.
    assert list((tmp_path / "zero3" / "model" / "checkpoint-4").glob("global_step4/*optim_states.pt"))
