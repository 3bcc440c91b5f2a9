"""Reads the keys of a training and checks them, in a process of its own: TRL's classes take seconds, and look for devices.

python -m circuitseer_trl.training.training_keys --config RECIPE ... --KEY VALUE
"""

import sys
from collections.abc import Sequence
from typing import Any

from circuitseer_trl.command_line import run_command
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.named_files import TRAINING_KINDS
from circuitseer_trl.pool.file_names import check_dataset_file
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.training.training_config import TrainingConfig


def read_training_keys(args: Sequence[str] | None = None, description: str | None = None) -> tuple[Any, ...]:
    """The dataclasses of `train-sft`: of the pool, of training, and TRL's of training and of the model."""
    from trl import ModelConfig, SFTConfig  # takes 3 seconds

    pool_config, *configs = parse_recipe(
        *(PoolConfig, TrainingConfig, SFTConfig, ModelConfig),
        args=args,
        prog="circuitseer train-sft",
        description=description,
        kinds=TRAINING_KINDS,
    )
    check_dataset_file(pool_config.dataset_name)
    return pool_config, *configs


def main(args: Sequence[str] | None = None) -> None:
    _, _, training_args, _ = read_training_keys(args)
    from circuitseer_trl.training.training_values import check_training_values

    check_training_values(training_args)


if __name__ == "__main__":
    sys.exit(run_command(main))
