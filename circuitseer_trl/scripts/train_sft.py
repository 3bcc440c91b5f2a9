"""Fine-tunes a model on a pool, or on a selection of it.

    python -m circuitseer_trl.scripts.train_sft --config recipes/data/X.yaml --config recipes/sft/Y.yaml \\
        --selection_file runs/x/selection.parquet --output_dir runs/x/model
    accelerate launch --config_file accelerate_configs/zero3.yaml -m circuitseer_trl.scripts.train_sft --config ...
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from trl import ModelConfig, SFTConfig

from circuitseer_trl.configs import PoolConfig, check_count
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.selector import pool_from_config
from circuitseer_trl.selection.tracking import log_selection
from circuitseer_trl.sharding import process_state
from circuitseer_trl.tracking import start_run
from circuitseer_trl.training.launch_selection import select_in_launch
from circuitseer_trl.training.preflight import check_environment, set_total_batch
from circuitseer_trl.training.rows import read_selection, whole_pool
from circuitseer_trl.training.sft import train
from circuitseer_trl.training.target import inspect_target


@dataclass
class TrainingConfig:
    """What training takes besides the pool's keys and those of TRL's SFTConfig and ModelConfig."""

    selection_file: str | None = field(
        default=None, metadata={"help": "A `selection.parquet` to train on; by default the whole pool is trained on."}
    )
    selection_recipe: str | None = field(
        default=None,
        metadata={"help": "A selection recipe to run first, in this launch; it writes to `output_dir`/selection."},
    )
    total_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Rows that one step of all processes sees; sets `gradient_accumulation_steps` (the paper: 32)."
        },
    )
    rope_theta: float | None = field(
        default=None, metadata={"help": "New RoPE base, set when the model is loaded (the paper: 300000 for Qwen2.5)."}
    )
    max_position_embeddings: int | None = field(
        default=None, metadata={"help": "New number of positions, set when the model is loaded (the paper: 16384)."}
    )
    wandb_project: str | None = field(
        default=None,
        metadata={"help": "W&B project, for `report_to: wandb`; by default that of WANDB_PROJECT, or circuitseer."},
    )
    wandb_entity: str | None = field(default=None, metadata={"help": "W&B user or team (WANDB_ENTITY)."})
    wandb_group: str | None = field(
        default=None, metadata={"help": "W&B group of the runs of one comparison (WANDB_RUN_GROUP)."}
    )

    def __post_init__(self) -> None:
        if self.selection_file and self.selection_recipe:
            raise ValueError("`selection_file` and `selection_recipe` both say what to train on. Give one of them.")
        if self.total_batch_size is not None:
            check_count("total_batch_size", self.total_batch_size)
        for name in ("rope_theta", "max_position_embeddings"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
                raise ValueError(f"`{name}` must be a number above 0, got {value!r}.")


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
        chosen = read_selection(config.selection_file, pool)
    else:
        chosen = whole_pool(pool)
    if chosen.folder is not None:
        log_selection(chosen.folder, pool)
    train(pool, chosen, target, args, system_prompt=system_prompt)


if __name__ == "__main__":
    main()
