"""Fine-tunes a model on a pool, or on a selection of it, with TRL's SFTTrainer."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import datasets
import numpy as np
import torch
from accelerate.logging import get_logger
from transformers import TrainerCallback
from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config, get_quantization_config

from circuitseer_trl.artifacts import format_record, library_versions, write_json
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.distributed.processes import on_all_ranks, on_main_rank, process_state, say
from circuitseer_trl.modeling.model_checks import check_finite, check_finite_files
from circuitseer_trl.pool.load import pool_from_config
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.selection.trained_on import mark_trained
from circuitseer_trl.tracking import check_tracker, start_run
from circuitseer_trl.training.checkpoints import weights_digests
from circuitseer_trl.training.decisive_settings import settings_of
from circuitseer_trl.training.launch_selection import select_in_launch
from circuitseer_trl.training.preflight import check_engine, check_environment, set_total_batch
from circuitseer_trl.training.provenance import DocumentedTrainer, Provenance
from circuitseer_trl.training.resume import RESULT_FILE, SETTINGS_FILE, check_world_size, find_resume, is_finished
from circuitseer_trl.training.rope_scaling import check_length
from circuitseer_trl.training.selected_rows import (
    ChosenRows,
    Lengths,
    measure_lengths,
    read_chosen_rows,
    training_rows,
    whole_pool,
)
from circuitseer_trl.training.target import Target, check_keeps_reasoning, inspect_target, warn_of_surprises
from circuitseer_trl.training.training_config import TrainingConfig
from circuitseer_trl.training.training_values import check_training_values

logger = get_logger(__name__)

MAX_CURVE = 500  # points of `loss_curve`


@dataclass(frozen=True)
class Schedule:
    """How many rows one step of a run sees, and how many steps there are."""

    world_size: int
    total_batch_size: int
    num_steps: int
    num_warmup_steps: int


def make_schedule(args: SFTConfig, num_rows: int, world_size: int) -> Schedule:
    """The schedule that transformers' Trainer computes in `set_initial_training_values`, without packing."""
    num_batches = math.ceil(num_rows / (args.per_device_train_batch_size * world_size))
    per_epoch = max(math.ceil(num_batches / args.gradient_accumulation_steps), 1)
    num_steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * per_epoch)
    total = args.per_device_train_batch_size * args.gradient_accumulation_steps * world_size
    return Schedule(world_size, total, num_steps, args.get_warmup_steps(num_steps))


def report_lengths(lengths: Lengths, num_rows: int, max_length: int | None) -> None:
    """Warns of answers that `max_length` cuts.

    Raises:
        ValueError: No row has a token of its answer left.
    """
    if len(lengths.fully_truncated) == num_rows:
        raise ValueError(
            f"`max_length` is {max_length}, and no row has a token of its answer within it: the longest row has "
            f"{lengths.longest} tokens. Raise `max_length`."
        )
    if lengths.fully_truncated or lengths.partly_truncated:
        logger.warning(
            "`max_length` (%s) cuts answers: of %d rows, %d lose the end of the answer and %d the whole answer (those are "
            "left out). The longest row has %d tokens. A cut answer teaches no end; raise `max_length` to keep it.",
            max_length,
            num_rows,
            len(lengths.partly_truncated),
            len(lengths.fully_truncated),
            lengths.longest,
        )


def mean_logged_loss(history: Sequence[dict[str, Any]]) -> float | None:
    """The mean loss over the logged steps of a trainer's history; None where no loss is logged.

    Each entry holds the mean since the entry before it. transformers' own `train_loss` is wrong after a resume: it divides
    the losses since the resume by the number of all steps.
    """
    logged = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    if not logged:
        return None
    steps, values = np.array(logged).T
    return float(np.average(values, weights=np.diff(steps, prepend=0)))


def loss_curve(history: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Step and loss of at most `MAX_CURVE` logged steps of a trainer's history, evenly spread."""
    logged = [(int(entry["step"]), float(entry["loss"])) for entry in history if "loss" in entry]
    if len(logged) <= MAX_CURVE:
        return logged
    return [logged[place] for place in np.linspace(0, len(logged) - 1, MAX_CURVE).round().astype(int)]


def make_trainer(
    rows: datasets.Dataset,
    target: Target,
    args: SFTConfig,
    provenance: Provenance,
    callbacks: Sequence[TrainerCallback] = (),
) -> SFTTrainer:
    """Makes the trainer, which loads the model with its change of RoPE and tokenises the rows."""
    args.model_init_kwargs = target.init_kwargs(args)
    args.logging_nan_inf_filter = False  # the filter logs the mean so far in place of a loss that is not finite
    return DocumentedTrainer(
        model=target.name,  # a name, not a model: the trainer loads it in shards under ZeRO-3
        args=args,
        train_dataset=rows,
        processing_class=target.tokenizer,
        provenance=provenance,
        chat_date=target.chat_settings.chat_date,
        callbacks=list(callbacks),
        quantization_config=get_quantization_config(target.model_config),
        peft_config=get_peft_config(target.model_config),
    )


def train(
    pool: Pool,
    chosen: ChosenRows,
    target: Target,
    args: SFTConfig,
    callbacks: Sequence[TrainerCallback] = (),
) -> Path:
    """Trains, and writes the model, its tokenizer, its card and `training.json` into `args.output_dir`.

    Every process of a launch calls this. A finished run of the same settings is not changed. A killed run continues from
    its last checkpoint.

    Args:
        chosen: Rows of the pool, from `whole_pool`, `read_chosen_rows` or `select_in_launch`.
        target: The model, from `inspect_target`.
        callbacks: More callbacks for the trainer.

    Returns:
        The folder of the model.
    """
    start, state, output_dir = time.perf_counter(), process_state(), Path(str(args.output_dir))
    settings = settings_of(args, target, pool, chosen, state.num_processes)
    if on_main_rank(lambda: is_finished(output_dir, settings)):
        say(f"{output_dir} is finished with these settings.")
        return output_dir
    checkpoint = on_main_rank(lambda: find_resume(output_dir, settings, args.resume_from_checkpoint))
    if checkpoint is not None:
        check_world_size(checkpoint, state.num_processes)
        say(f"Going on from {checkpoint}.")

    check_keeps_reasoning(target, pool.examples.select(chosen.indices)["completion"])
    rows = training_rows(pool, chosen, chat=target.chat, system_prompt=target.chat_settings.system_prompt)
    lengths = measure_lengths(
        rows, target.ahead, chat=target.chat, max_length=args.max_length, num_proc=args.dataset_num_proc
    )
    report_lengths(lengths, len(rows), args.max_length)
    if args.max_length is None:
        check_length(lengths.longest, target.num_positions, "The longest row")
    schedule = make_schedule(args, len(rows) - len(lengths.fully_truncated), state.num_processes)
    say(
        f"Training on {len(rows)} rows of a pool of {len(pool)}. One step is {args.per_device_train_batch_size} a "
        f"device x {args.gradient_accumulation_steps} accumulated x {schedule.world_size} processes = "
        f"{schedule.total_batch_size} {'packs of rows' if args.packing else 'rows'}."
        + ("" if args.packing else f" {schedule.num_steps} steps, {schedule.num_warmup_steps} of them warm-up.")
    )
    if state.is_main_process:
        warn_of_surprises(args, target)
        if chosen.folder is not None and chosen.card is not None:
            mark_trained(chosen.folder, output_dir, chosen.card.get("rows"))
        write_json(output_dir / SETTINGS_FILE, {"settings": settings} | format_record())

    trainer = make_trainer(rows, target, args, Provenance(pool, chosen), callbacks)
    engine = check_engine(trainer)
    on_all_ranks(lambda: check_finite(target.name, cast(torch.nn.Module, trainer.model)))
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
        # After a resume, TRL counts tokens and transformers counts seconds from the checkpoint's step on.
        assert isinstance(trainer.train_dataset, datasets.Dataset)
        counted = [entry["num_tokens"] for entry in trainer.state.log_history if "num_tokens" in entry]
        num_tokens, seconds = int(counted[-1]), result.metrics["train_runtime"]
        write_json(
            output_dir / RESULT_FILE,
            {
                "settings": settings,
                "weights": weights_digests(output_dir),
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
                "loss_curve": loss_curve(trainer.state.log_history),
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


def run_training(
    pool_config: PoolConfig, args: SFTConfig, model_config: ModelConfig, training_config: TrainingConfig
) -> Path:
    """Checks the settings, reads the pool, selects if a recipe asks for it, and trains.

    Every process of a launch calls this.

    Returns:
        The folder of the model.
    """
    tracked = "wandb" in (args.report_to or [])
    check_tracker("wandb" if tracked else "none")
    check_training_values(args)
    check_environment(args, model_config)
    set_total_batch(args, training_config.total_batch_size, process_state().num_processes)
    target = inspect_target(
        args,
        model_config,
        chat_settings=pool_config.chat,
        rope_theta=training_config.rope_theta,
        max_position_embeddings=training_config.max_position_embeddings,
    )
    # Hours of selecting and counting tokens may come before the trainer, which loads the weights.
    on_main_rank(lambda: check_finite_files(target.name))
    if tracked:  # the trainer continues this run
        start_run(
            "train",
            project=training_config.wandb_project,
            entity=training_config.wandb_entity,
            group=training_config.wandb_group,
            name=args.run_name,
        )
    pool = pool_from_config(pool_config)
    if training_config.selection_recipe:
        folder = Path(str(args.output_dir)) / "selection"
        chosen = select_in_launch(training_config.selection_recipe, pool, folder, pool_config.chat)
    elif training_config.selection_file:
        chosen = read_chosen_rows(training_config.selection_file, pool)
    else:
        chosen = whole_pool(pool)
    if chosen.folder is not None and tracked:
        from circuitseer_trl.selection.selection_panels import log_selection  # needs the extra `wandb`

        log_selection(chosen.folder, pool)
    return train(pool, chosen, target, args)
