"""Can this run start? Checks before any weights are loaded."""

import importlib.util
import os

import torch
from accelerate.utils import DistributedType
from trl import ModelConfig, SFTConfig, SFTTrainer

from circuitseer_trl.extras import require_extra
from circuitseer_trl.training.target import model_init_kwargs

FLASH_PACKAGES = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() in ("1", "true")


def check_tokens(args: SFTConfig) -> None:
    """Raises if the settings have a token of the Hub."""
    if args.hub_token or "token" in model_init_kwargs(args):
        raise ValueError(
            "A token of the Hub in the settings (`hub_token`, or `token` in `model_init_kwargs`) would be written into the "
            "model's folder. Leave it out, and set the environment variable HF_TOKEN."
        )


def check_environment(args: SFTConfig, model_config: ModelConfig) -> None:
    """Checks that the packages and devices that the settings need are there.

    Raises:
        ImportError: A package is missing.
        ValueError: The engine cannot run with these settings on this machine.
    """
    check_tokens(args)
    attention = model_config.attn_implementation or ""
    package = FLASH_PACKAGES.get(attention)
    if package is not None and importlib.util.find_spec(package) is None:
        raise ImportError(
            f"`attn_implementation` is {attention}, but the package {package} is not installed. Install it with "
            "`pip install --no-build-isolation flash-attn` (built from source: torch and nvcc must be there), or set "
            "`attn_implementation: sdpa`."
        )
    if "/" in attention and importlib.util.find_spec("kernels") is None:
        raise ImportError(
            f"`attn_implementation` is {attention}, a kernel of the Hub, but the package kernels is not installed. "
            "Install it with `pip install kernels`, or set `attn_implementation: sdpa`."
        )
    if model_config.use_peft and importlib.util.find_spec("peft") is None:
        raise ImportError("`use_peft` is set, but peft is not installed. Install it with `pip install trl[peft]`.")
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if _is_set("ACCELERATE_USE_DEEPSPEED") and not (args.bf16 or args.fp16) and precision != "no":
        raise ValueError(
            f"The accelerate config has `mixed_precision: {precision}`, but training has `bf16: false`, and DeepSpeed "
            "needs both to agree. Launch with `--mixed_precision no`, or train with `bf16: true`."
        )
    if _is_set("ACCELERATE_USE_DEEPSPEED") or args.deepspeed:
        require_extra("train", "Training with DeepSpeed", "deepspeed")
    fsdp = _is_set("ACCELERATE_USE_FSDP") or bool(args.fsdp)
    if fsdp and (args.use_cpu or not torch.accelerator.is_available()):
        # accelerate 1.15 silently falls back to plain DDP, or to no distribution at all.
        raise ValueError(
            "FSDP was asked for on the CPU, where accelerate does not run it but trains without sharding. "
            "Use accelerate_configs/zero3.yaml, which works on CPUs too, or a machine with GPUs."
        )


def set_total_batch(args: SFTConfig, total_batch_size: int | None, world_size: int) -> None:
    """Sets `gradient_accumulation_steps`, so that one step of all processes sees `total_batch_size` rows.

    Raises:
        ValueError: This number of processes cannot make that batch, or `gradient_accumulation_steps` is also given.
    """
    if total_batch_size is None:
        return
    if args.gradient_accumulation_steps != 1:
        raise ValueError(
            f"`total_batch_size` ({total_batch_size}) and `gradient_accumulation_steps` "
            f"({args.gradient_accumulation_steps}) both set how many rows a step sees. Give one of them."
        )
    at_a_time = args.per_device_train_batch_size * world_size
    if total_batch_size % at_a_time:
        raise ValueError(
            f"`total_batch_size` is {total_batch_size}, which {world_size} processes with "
            f"`per_device_train_batch_size: {args.per_device_train_batch_size}` cannot make: they take {at_a_time} rows at "
            "a time. Launch with a number of processes that divides it, or change one of the two keys."
        )
    args.gradient_accumulation_steps = total_batch_size // at_a_time


def check_engine(trainer: SFTTrainer) -> str:
    """The name of the engine that runs.

    Raises:
        RuntimeError: It is not the engine that the launch asked for.
        ValueError: DeepSpeed would not save whole weights.
    """
    accelerator = trainer.accelerator
    engine, world_size = accelerator.distributed_type, int(os.environ.get("WORLD_SIZE", "1"))
    asked = "DeepSpeed" if _is_set("ACCELERATE_USE_DEEPSPEED") or trainer.args.deepspeed else None
    asked = "FSDP" if _is_set("ACCELERATE_USE_FSDP") or trainer.args.fsdp else asked
    in_force = {DistributedType.DEEPSPEED: "DeepSpeed", DistributedType.FSDP: "FSDP"}.get(engine)
    if in_force != asked or accelerator.num_processes != world_size:
        raise RuntimeError(
            f"The launch asked for {asked or 'no sharding engine'} with {world_size} processes, but accelerate runs "
            f"{engine.value} with {accelerator.num_processes}. Check the accelerate config and `use_cpu`."
        )
    if in_force != "DeepSpeed":
        return str(engine.value)
    zero = accelerator.state.deepspeed_plugin.deepspeed_config["zero_optimization"]
    stage = int(os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", zero["stage"]))
    if stage != zero["stage"]:
        raise RuntimeError(f"The launch asked for ZeRO stage {stage}, but DeepSpeed runs stage {zero['stage']}.")
    if stage == 3 and not zero.get("stage3_gather_16bit_weights_on_model_save"):
        raise ValueError(
            "The DeepSpeed config would save no whole weights. Set `zero3_save_16bit_model: true` in the accelerate "
            "config, as accelerate_configs/zero3.yaml does."
        )
    return f"DEEPSPEED ZeRO-{stage}"
