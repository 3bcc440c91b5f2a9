"""Fine-tunes a model on a pool, or on a selection of it.

    python -m circuitseer_trl.scripts.train_sft --config recipes/data/X.yaml --config recipes/sft/Y.yaml \\
        --selection_file runs/x/selection.parquet --output_dir runs/x/model
    accelerate launch --config_file accelerate_configs/zero3.yaml -m circuitseer_trl.scripts.train_sft --config ...
"""

import logging
from collections.abc import Sequence

from trl import ModelConfig, SFTConfig

from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.training.run import run_training
from circuitseer_trl.training.training_config import TrainingConfig


def main(argv: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    pool_config, args, model_config, config = parse_recipe(
        PoolConfig, SFTConfig, ModelConfig, TrainingConfig, args=argv, prog="circuitseer train-sft", description=__doc__
    )
    run_training(pool_config, args, model_config, config)


if __name__ == "__main__":
    main()
