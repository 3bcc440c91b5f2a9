"""Fine-tunes a model on a pool, or on a selection of it.

    python -m circuitseer_trl.scripts.train_sft --config recipes/data/X.yaml --config recipes/sft/Y.yaml \\
        --selection_file runs/x/selection.parquet --output_dir runs/x/model
    accelerate launch --config_file accelerate_configs/zero3.yaml -m circuitseer_trl.scripts.train_sft --config ...
"""

import logging
from collections.abc import Sequence

from trl import ModelConfig, SFTConfig

from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.pool.load import pool_from_config
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.selection_panels import log_selection
from circuitseer_trl.tracking import start_run
from circuitseer_trl.training.launch_selection import select_in_launch
from circuitseer_trl.training.preflight import check_environment, set_total_batch
from circuitseer_trl.training.run import train
from circuitseer_trl.training.selected_rows import read_chosen_rows, whole_pool
from circuitseer_trl.training.target import inspect_target
from circuitseer_trl.training.training_config import TrainingConfig


def main(argv: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    pool_config, args, model_config, config = parse_recipe(
        PoolConfig, SFTConfig, ModelConfig, TrainingConfig, args=argv, prog="circuitseer train-sft", description=__doc__
    )
    system_prompt = pool_config.system_prompt
    check_environment(args, model_config)
    set_total_batch(args, config.total_batch_size, process_state().num_processes)
    target = inspect_target(
        args,
        model_config,
        system_prompt=system_prompt,
        rope_theta=config.rope_theta,
        max_position_embeddings=config.max_position_embeddings,
    )
    if "wandb" in args.report_to:  # the trainer goes on with this run
        names = {"project": config.wandb_project, "entity": config.wandb_entity, "group": config.wandb_group}
        start_run("train", **names, name=args.run_name)
    pool = pool_from_config(pool_config)
    if config.selection_recipe:
        chosen = select_in_launch(config.selection_recipe, pool, f"{args.output_dir}/selection", system_prompt)
    elif config.selection_file:
        chosen = read_chosen_rows(config.selection_file, pool)
    else:
        chosen = whole_pool(pool)
    if chosen.folder is not None:
        log_selection(chosen.folder, pool)
    train(pool, chosen, target, args, system_prompt=system_prompt)


if __name__ == "__main__":
    main()
