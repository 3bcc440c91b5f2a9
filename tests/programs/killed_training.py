"""Trains, and ends itself with SIGKILL at the place that KILL_AT names: no handler runs and nothing is flushed."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from transformers import Trainer

from circuitseer_trl.command_line import run_command
from circuitseer_trl.distributed import executors
from circuitseer_trl.pool import row_shards
from circuitseer_trl.scripts import train_sft
from circuitseer_trl.selection import steps

training_step, save_model, write_table = Trainer.training_step, Trainer.save_model, executors.write_table


def die(*args: Any, **kwargs: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_a_score(path: Path, table: Any, of: str | None = None) -> None:
    write_table(path, table, of)
    if path.parent.name == "scores":
        die()


def die_in_the_sixth_step(trainer: Trainer, *args: Any) -> Any:
    return die() if trainer.state.global_step == 5 else training_step(trainer, *args)


def die_in_the_final_weights(trainer: Trainer, output_dir: str | None = None, _internal_call: bool = False) -> None:
    save_model(trainer, output_dir, _internal_call)
    if not _internal_call:  # else it is a checkpoint's
        weights = Path(str(trainer.args.output_dir)) / "model.safetensors"
        if trainer.is_world_process_zero():
            os.truncate(weights, weights.stat().st_size // 2)
        die()


PLACES = {
    "scores": (executors, "write_table", die_after_a_score),  # one of three shards is there
    "draw": (steps, "write_card", die),  # selection.parquet is there, and not its card
    "step": (Trainer, "training_step", die_in_the_sixth_step),  # past the checkpoint of the fourth
    "checkpoint": (Trainer, "_save_optimizer_and_scheduler", die),  # a checkpoint's weights, and not its optimizer
    "final": (Trainer, "save_model", die_in_the_final_weights),  # half of the final weights
}


if __name__ == "__main__":
    row_shards.ROWS_PER_SHARD = 8
    if place := os.environ.get("KILL_AT"):
        setattr(*PLACES[place])
    sys.exit(run_command(train_sft.main))
