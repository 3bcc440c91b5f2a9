"""Which settings decide the trained weights? Two runs of the same settings give the same weights, up to rounding.

Every key of TRL's SFTConfig and ModelConfig decides, unless it is in one of the lists below.
"""

from dataclasses import asdict, fields
from enum import Enum
from typing import Any

from transformers.trainer_pt_utils import AcceleratorConfig
from trl import ModelConfig, SFTConfig

from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.modeling.loading import model_fingerprint
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.training.selected_rows import ChosenRows
from circuitseer_trl.training.target import Target, model_init_kwargs

# fmt: off
# Logging, saving, pushing and evaluating (there is no evaluation set).
REPORTING = frozenset((
    "output_dir", "logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node", "logging_nan_inf_filter",
    "include_num_input_tokens_seen", "log_level", "log_level_replica", "disable_tqdm", "report_to", "run_name", "project",
    "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id", "eval_strategy", "eval_steps", "eval_delay",
    "per_device_eval_batch_size", "prediction_loss_only", "eval_on_start", "eval_do_concat_batches", "eval_use_gather_object",
    "eval_accumulation_steps", "include_for_metrics", "batch_eval_metrics", "bf16_full_eval", "fp16_full_eval", "eval_packing",
    "save_only_model", "save_strategy", "save_steps", "save_on_each_node", "save_total_limit", "enable_jit_checkpoint",
    "push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push", "hub_revision",
    "skip_memory_metrics", "debug", "do_train", "do_eval", "do_predict", "resume_from_checkpoint",
))
# Devices, memory and speed: they change a weight by rounding at most.
RUNNING = frozenset((
    "use_cpu", "local_rank", "activation_checkpointing", "activation_checkpointing_kwargs", "gradient_checkpointing",
    "gradient_checkpointing_kwargs", "activation_offloading", "use_cache", "torch_empty_cache_steps", "torch_compile",
    "torch_compile_backend", "torch_compile_mode", "full_determinism", "dataloader_num_workers", "dataloader_pin_memory",
    "dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context", "dataset_num_proc",
    "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend",
    "ddp_timeout", "attn_implementation",
))
# They count in another form: as the batch of all processes, as the content of the files that they name, or as text.
IN_OTHER_FORM = frozenset((
    "per_device_train_batch_size", "gradient_accumulation_steps", "model_name_or_path", "chat_template_path",
    "model_init_kwargs",
))
# fmt: on


def decisive_keys(kind: type[SFTConfig] | type[ModelConfig]) -> list[str]:
    """The keys of a class that decide by their value."""
    return [item.name for item in fields(kind) if item.name not in REPORTING | RUNNING | IN_OTHER_FORM]


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, AcceleratorConfig):
        return _plain(value.to_dict())
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        items = [_plain(item) for item in value]
        return sorted(items, key=str) if isinstance(value, set) else items
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def settings_of(args: SFTConfig, target: Target, pool: Pool, chosen: ChosenRows, world_size: int) -> dict[str, Any]:
    """The settings of a run that decide its weights, as JSON values. Every rank calls this."""
    name, revision = target.name, target.model_config.model_revision
    return {
        **{key: _plain(getattr(args, key)) for key in decisive_keys(SFTConfig)},
        **{key: _plain(getattr(target.model_config, key)) for key in decisive_keys(ModelConfig)},
        "model": on_main_rank(lambda: model_fingerprint(name, revision)),
        "chat_template": fingerprint(target.ahead.chat_template),
        "total_batch_size": args.per_device_train_batch_size * args.gradient_accumulation_steps * world_size,
        "pool": pool.fingerprint,
        "num_rows": len(chosen.indices),
        "rows": fingerprint(chosen.indices.tolist()),
        **asdict(target.chat_settings),
        "model_init_kwargs": {key: str(value) for key, value in model_init_kwargs(args).items()},
        "rope": _plain(target.rope),
    }
