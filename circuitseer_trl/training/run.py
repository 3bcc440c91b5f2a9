"""Fine-tunes a model on a pool, or on a selection of it, with TRL's SFTTrainer."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from accelerate.logging import get_logger
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer, get_peft_config, get_quantization_config

from circuitseer_trl.artifacts import fingerprint, library_versions, write_json
from circuitseer_trl.distributed.processes import process_state, say
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.training.preflight import (
    RESULT_FILE,
    SETTINGS_FILE,
    check_engine,
    check_world_size,
    find_resume,
    is_finished,
)
from circuitseer_trl.training.provenance import DocumentedTrainer, Provenance
from circuitseer_trl.training.rope_scaling import check_length
from circuitseer_trl.training.selected_rows import ChosenRows, Lengths, measure_lengths, training_rows
from circuitseer_trl.training.target import Target, check_keeps_reasoning, model_init_kwargs, warn_of_surprises

logger = get_logger(__name__)

# What decides the weights that come out; the rest (logging, saving, devices) may differ when a run is resumed.
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


@dataclass(frozen=True)
class Schedule:
    """The arithmetic of a run: how many rows one step sees, and how many steps there are."""

    world_size: int
    total_batch_size: int
    num_steps: int
    num_warmup_steps: int


def make_schedule(args: SFTConfig, num_rows: int, world_size: int) -> Schedule:
    """What transformers' Trainer makes of the batch settings (its `set_initial_training_values`), without packing."""
    num_batches = math.ceil(num_rows / (args.per_device_train_batch_size * world_size))
    per_epoch = max(math.ceil(num_batches / args.gradient_accumulation_steps), 1)
    num_steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * per_epoch)
    total = args.per_device_train_batch_size * args.gradient_accumulation_steps * world_size
    return Schedule(world_size, total, num_steps, args.get_warmup_steps(num_steps))


def settings_of(
    args: SFTConfig, target: Target, pool: Pool, chosen: ChosenRows, system_prompt: str, world_size: int
) -> dict[str, Any]:
    """What a run is: two runs of the same settings give the same weights, up to rounding."""
    values = {key: getattr(args, key) for key in DECISIVE}
    return {
        **{key: value.value if isinstance(value, Enum) else value for key, value in values.items()},
        **{key: getattr(target.model_config, key) for key in DECISIVE_OF_MODEL},
        "total_batch_size": args.per_device_train_batch_size * args.gradient_accumulation_steps * world_size,
        "pool": pool.fingerprint,
        "num_rows": len(chosen.indices),
        "rows": fingerprint(chosen.indices.tolist()),
        "system_prompt": system_prompt,
        "model_init_kwargs": {key: str(value) for key, value in model_init_kwargs(args).items()},
        "rope": target.rope,
    }


def report_lengths(lengths: Lengths, num_rows: int, max_length: int | None) -> None:
    """Warns of answers that `max_length` cuts; raises where it leaves nothing to train on."""
    if len(lengths.wholly_cut) == num_rows:
        raise ValueError(
            f"`max_length` is {max_length}, and no row has a token of its answer within it: the longest row has "
            f"{lengths.longest} tokens. Raise `max_length`."
        )
    if lengths.wholly_cut or lengths.partly_cut:
        logger.warning(
            "`max_length` (%s) cuts answers: %d of %d rows lose the end of theirs, and %d all of it (those are left "
            "out). The longest row has %d tokens. A cut answer teaches no end; raise `max_length` to keep them.",
            max_length,
            len(lengths.partly_cut),
            num_rows,
            len(lengths.wholly_cut),
            lengths.longest,
        )


def mean_logged_loss(history: Sequence[dict[str, Any]]) -> float | None:
    """The mean loss over the steps that a trainer's history tells of; None where it tells of none.

    Each entry has the mean since the one before it. transformers' own `train_loss` divides the losses since the resume by
    the number of all steps.
    """
    logged = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    if not logged:
        return None
    steps, values = np.array(logged).T
    return float(np.average(values, weights=np.diff(steps, prepend=0)))


def make_trainer(
    rows: datasets.Dataset,
    target: Target,
    args: SFTConfig,
    provenance: Provenance,
    callbacks: Sequence[TrainerCallback] = (),
) -> SFTTrainer:
    """Loads the model with its change of RoPE, and has TRL tokenise the rows."""
    args.model_init_kwargs = target.init_kwargs(args)
    args.logging_nan_inf_filter = False  # it would log the mean so far in place of a loss that is no number
    return DocumentedTrainer(
        model=target.name,  # a name and no model: the trainer loads it in shards under ZeRO-3
        args=args,
        train_dataset=rows,
        processing_class=target.tokenizer,
        provenance=provenance,
        callbacks=list(callbacks),
        quantization_config=get_quantization_config(target.model_config),
        peft_config=get_peft_config(target.model_config),
    )


def train(
    pool: Pool,
    chosen: ChosenRows,
    target: Target,
    args: SFTConfig,
    *,
    system_prompt: str,
    callbacks: Sequence[TrainerCallback] = (),
) -> Path:
    """Trains, and writes the model, its tokenizer, its card and `training.json` into `args.output_dir`.

    Under a launcher every process calls this. A finished run of the same settings is left as it is; a killed one goes
    on from its last checkpoint.

    Args:
        chosen: Rows of the pool, from `whole_pool`, `read_chosen_rows` or `select_in_launch`.
        target: The model, from `inspect_target`.
        callbacks: More callbacks for the trainer.
    """
    start, state, output_dir = time.perf_counter(), process_state(), Path(str(args.output_dir))
    settings = settings_of(args, target, pool, chosen, system_prompt, state.num_processes)
    if is_finished(output_dir, settings):
        say(f"{output_dir} is finished with these settings.")
        return output_dir
    checkpoint = find_resume(output_dir, settings, args.resume_from_checkpoint)
    if checkpoint is not None:
        check_world_size(checkpoint, state.num_processes)
        say(f"Going on from {checkpoint}.")

    check_keeps_reasoning(target, pool.examples.select(chosen.indices)["completion"])
    rows = training_rows(pool, chosen, chat=target.chat, system_prompt=system_prompt)
    lengths = measure_lengths(
        rows, target.ahead, chat=target.chat, max_length=args.max_length, num_proc=args.dataset_num_proc
    )
    report_lengths(lengths, len(rows), args.max_length)
    if args.max_length is None:
        check_length(lengths.longest, target.num_positions, "The longest row")
    schedule = make_schedule(args, len(rows) - len(lengths.wholly_cut), state.num_processes)
    say(
        f"Training on {len(rows)} rows of a pool of {len(pool)}. One step is {args.per_device_train_batch_size} a "
        f"device x {args.gradient_accumulation_steps} accumulated x {schedule.world_size} processes = "
        f"{schedule.total_batch_size} {'packs of rows' if args.packing else 'rows'}."
        + ("" if args.packing else f" {schedule.num_steps} steps, {schedule.num_warmup_steps} of them warm-up.")
    )
    if state.is_main_process:
        warn_of_surprises(args, target)
        write_json(output_dir / SETTINGS_FILE, settings)

    trainer = make_trainer(rows, target, args, Provenance(pool, chosen), callbacks)
    engine = check_engine(trainer)
    result = trainer.train(resume_from_checkpoint=checkpoint)

    if not math.isfinite(result.training_loss):
        raise RuntimeError(
            f"The training loss is {result.training_loss} after {trainer.state.global_step} steps, so no model was "
            f"saved in {output_dir}. Lower `learning_rate`, or try `bf16: false`; earlier checkpoints may be sound."
        )

    # Gradient checkpointing turned it off; generation needs it.
    trainer.model.config.use_cache = True  # type: ignore[union-attr]  # typed as a module, which has no config
    trainer.save_model()  # on all processes: ZeRO-3 gathers the weights
    if state.is_main_process:
        trainer.create_model_card(model_name=output_dir.name)
        # TRL counts tokens from the step that was resumed from, and transformers its seconds.
        assert isinstance(trainer.train_dataset, datasets.Dataset)
        counted = [entry["num_tokens"] for entry in trainer.state.log_history if "num_tokens" in entry]
        num_tokens, seconds = int(counted[-1]), result.metrics["train_runtime"]
        write_json(
            output_dir / RESULT_FILE,
            {
                "settings": settings,
                "format": "chat" if target.chat else "plain",
                "engine": engine,
                "world_size": schedule.world_size,
                "total_batch_size": schedule.total_batch_size,
                "num_steps": trainer.state.global_step,
                "num_warmup_steps": args.get_warmup_steps(trainer.state.max_steps),
                "num_trained_rows": None if args.packing else len(trainer.train_dataset),
                **lengths.describe(),
                "resumed_from": None if checkpoint is None else Path(checkpoint).name,
                "train_loss": result.training_loss
                if checkpoint is None
                else mean_logged_loss(trainer.state.log_history),
                "num_tokens": num_tokens,
                "tokens_per_second": num_tokens / seconds,
                "train_seconds": seconds,
                "seconds": time.perf_counter() - start,
                "versions": library_versions(),
            },
        )
    if args.push_to_hub:
        trainer.push_to_hub()
    if hasattr(trainer, "end"):  # since transformers 5.18: closes trackers and the process group
        trainer.end()
    return output_dir
