"""The plugin in a plain training script: alone, and in a ZeRO-3 launch of two processes."""

from pathlib import Path
from typing import Any

import pytest

from circuitseer_trl.artifacts import read_json
from tests.helpers.launch import launch

pytestmark = pytest.mark.engine


def train(output_dir: Path, model: str, pool: str, **launcher: Any) -> None:
    done = launch("examples/plugin.py", model, pool, output_dir, **launcher)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_lines_in_a_training_script(tmp_path: Path, tiny_model: str, pool_file: str):
    train(tmp_path / "alone", tiny_model, pool_file)
    train(tmp_path / "zero3", tiny_model, pool_file, num_processes=2, engine="zero3")
    for name in ("scores/part-000000000.parquet", "importance.parquet", "selection.parquet"):
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
