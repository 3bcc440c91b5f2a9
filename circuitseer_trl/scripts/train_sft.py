"""Fine-tunes a model on a pool, or on a selection of it.

    circuitseer train-sft --config openr1-math --config qwen2.5-math-7b \\
        --selection_file runs/x/selection.parquet --output_dir runs/x/model
    accelerate launch --config_file accelerate_configs/zero3.yaml -m circuitseer_trl.scripts.train_sft --config ...
"""

import logging
import os
import sys
from collections.abc import Sequence

from circuitseer_trl.command_line import run_command
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.named_files import TRAINING_KINDS
from circuitseer_trl.pool.file_names import check_dataset_file
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.training.training_config import TrainingConfig


def main(args: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    from trl import ModelConfig, SFTConfig  # takes 3 seconds, and defines the keys of training

    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("1", "true"):
        from circuitseer_trl.training.compile_locks import check_compile_locks

        check_compile_locks()  # an SFTConfig already starts DeepSpeed

    pool_config, config, training_args, model_config = parse_recipe(
        *(PoolConfig, TrainingConfig, SFTConfig, ModelConfig),
        args=args,
        prog="circuitseer train-sft",
        description=__doc__,
        kinds=TRAINING_KINDS,
    )
    check_dataset_file(pool_config.dataset_name)
    from circuitseer_trl.distributed.only_writer import only_writer
    from circuitseer_trl.training.run import run_training

    with only_writer(str(training_args.output_dir)):
        run_training(pool_config, training_args, model_config, config)


if __name__ == "__main__":
    sys.exit(run_command(main))
