"""The keys of training, beside those of the pool and of TRL."""

from dataclasses import dataclass, field

from circuitseer_trl.checks import check_count, check_positive


@dataclass
class TrainingConfig:
    """The keys of training, beside those of the pool and of TRL's SFTConfig and ModelConfig."""

    selection_file: str | None = field(
        default=None, metadata={"help": "A `selection.parquet` to train on; by default the whole pool is trained on."}
    )
    selection_recipe: str | None = field(
        default=None,
        metadata={
            "help": "A selection recipe (a file or a name) to run first, in this launch; it writes to `output_dir`/selection."
        },
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
            raise ValueError(
                "`selection_file` and `selection_recipe` both name the rows to train on. Give one of them."
            )
        if self.total_batch_size is not None:
            check_count("total_batch_size", self.total_batch_size)
        if self.rope_theta is not None:
            check_positive("rope_theta", self.rope_theta)
        if self.max_position_embeddings is not None:
            check_count("max_position_embeddings", self.max_position_embeddings)
