"""Which settings decide the trained weights? Two runs of the same settings give the same weights, up to rounding."""

from dataclasses import asdict
from enum import Enum
from typing import Any

from trl import SFTConfig

from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.training.selected_rows import ChosenRows
from circuitseer_trl.training.target import Target, model_init_kwargs

# The other keys (logging, saving, devices) may change when a run is resumed.
# fmt: off
DECISIVE = (
    "max_length", "packing", "packing_strategy", "truncation_mode", "chat_template_path", "eos_token",
    "completion_only_loss", "loss_type", "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs",
    "warmup_steps", "num_train_epochs", "max_steps", "optim", "optim_args", "weight_decay", "adam_beta1",
    "adam_beta2", "adam_epsilon", "max_grad_norm", "label_smoothing_factor", "seed", "data_seed", "bf16", "fp16",
)
DECISIVE_OF_MODEL = (
    "model_name_or_path", "model_revision", "dtype", "load_in_8bit", "load_in_4bit", "use_peft", "lora_r",
    "lora_alpha", "lora_dropout", "lora_target_modules",
)
# fmt: on


def settings_of(args: SFTConfig, target: Target, pool: Pool, chosen: ChosenRows, world_size: int) -> dict[str, Any]:
    """The settings of a run that decide its weights, as JSON values."""
    values = {key: getattr(args, key) for key in DECISIVE}
    return {
        **{key: value.value if isinstance(value, Enum) else value for key, value in values.items()},
        **{key: getattr(target.model_config, key) for key in DECISIVE_OF_MODEL},
        "total_batch_size": args.per_device_train_batch_size * args.gradient_accumulation_steps * world_size,
        "pool": pool.fingerprint,
        "num_rows": len(chosen.indices),
        "rows": fingerprint(chosen.indices.tolist()),
        **asdict(target.chat_settings),
        "model_init_kwargs": {key: str(value) for key, value in model_init_kwargs(args).items()},
        "rope": target.rope,
    }
