"""Runs of the training script, and the tiny model, pool and selection that they start from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from trl import ModelConfig, SFTConfig

from circuitseer_trl.artifacts import fingerprint, sealed, table_fingerprint, write_json, write_table
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.training.training_config import TrainingConfig
from tests.conftest import ROOT
from tests.helpers.launch import Engine, launch
from tests.helpers.tiny_models import Style, build_tokenizer, save_model

RECIPES = ROOT / "recipes"

PROBLEMS = [
    (f"What is {a} plus {a * 7 % 10}?", f"We add {a} and {a * 7 % 10}.\n\\boxed{{{a + a * 7 % 10}}}") for a in range(24)
]


def make_model_folder(folder: Path, style: Style = "chatml", **options: Any) -> Path:
    """A random two-layer Qwen2 with grouped-query attention, saved with a tokenizer that has read the pool."""
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    values: dict[str, Any] = {"max_position_embeddings": 256, "rope_parameters": rope} | options
    return save_model(folder, build_tokenizer(style, PROBLEMS), "qwen2", **values)


def write_pool(folder: Path, num_rows: int = 24) -> Path:
    path = folder / "pool.jsonl"
    rows = [json.dumps({"problem": problem, "solution": solution}) for problem, solution in PROBLEMS[:num_rows]]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def make_pool(folder: Path, num_rows: int = 24) -> Pool:
    return load_pool(str(write_pool(folder, num_rows)))


def write_selection(folder: Path, pool: Pool, indices: list[int], weights: list[float] | None = None) -> Path:
    """A `selection.parquet` and its card, as `select_data` leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "row": pa.array(pool.rows[indices], pa.int64()),
            "uid": [pool.uids[i] for i in indices],
            "order": pa.array(range(len(indices)), pa.int64()),
            "score": pa.array([float(i) for i in indices], pa.float64()),
            "weight": pa.array(weights or [1.0] * len(indices), pa.float64()),
            "inclusion_probability": pa.array([0.5] * len(indices), pa.float64()),
        }
    )
    write_table(folder / "selection.parquet", table)
    card: dict[str, Any] = {"method": "circuitseer", "pool": pool.describe(), "num_selected": len(indices)}
    card |= {"uids": fingerprint(sorted(table["uid"].to_pylist())), "rows": table_fingerprint(table)}
    write_json(folder / "selection.json", sealed(card))
    return folder / "selection.parquet"


def run_training(
    *flags: str,
    num_processes: int = 1,
    engine: Engine = "zero3",
    check: bool = True,
    program: str = "circuitseer_trl.scripts.train_sft",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Runs the training script in processes of its own, under `accelerate launch` where there are several.

    Args:
        check: Whether a run that fails fails the test.
        program: What is run in place of the script.
        environment: More variables of the environment.

    Returns:
        What it printed, errors included.
    """
    recipe = RECIPES / "sft" / "tiny_cpu.yaml"
    done = launch(
        program, "--config", recipe, *flags, num_processes=num_processes, engine=engine, environment=environment
    )
    output = done.stdout + done.stderr
    assert not check or done.returncode == 0, output[-6000:]
    return output


def losses(folder: Path) -> list[float]:
    """The loss of every logged step of a run, from the state of its last checkpoint."""
    last = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    history = json.loads((last / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def flags(tmp_path: Path, model: Path, *more: str) -> list[str]:
    pool = write_pool(tmp_path)
    return [
        *("--config", str(RECIPES / "sft" / "tiny_cpu.yaml"), "--dataset_name", str(pool)),
        *("--model_name_or_path", str(model), "--output_dir", str(tmp_path / "out"), *more),
    ]


def parse(arguments: list[str]) -> tuple[Any, ...]:
    return parse_recipe(PoolConfig, SFTConfig, ModelConfig, TrainingConfig, args=arguments)
