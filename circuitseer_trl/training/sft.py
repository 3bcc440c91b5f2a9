"""Fine-tunes a model on a pool, or on a selection of it, with TRL's SFTTrainer."""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import AutoConfig, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config, get_quantization_config

from circuitseer_trl.artifacts import library_versions, write_json
from circuitseer_trl.data import Pool
from circuitseer_trl.models import check_model_folder, has_chat_template, load_tokenizer, model_path
from circuitseer_trl.training.preflight import (
    RESULT_FILE,
    SETTINGS_FILE,
    check_engine,
    check_environment,
    check_world_size,
    end_of_turn,
    find_resume,
    template_tokenizer,
)
from circuitseer_trl.training.rope import change_rope, check_length, write_legacy_rope
from circuitseer_trl.training.rows import ChosenRows, Lengths, measure_lengths, training_rows

logger = logging.getLogger(__name__)

# What decides the weights that come out; the rest (logging, saving, devices) may differ when a run is resumed.
DECISIVE = (
    "max_length packing packing_strategy truncation_mode chat_template_path eos_token completion_only_loss loss_type "
    "learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps num_train_epochs max_steps optim optim_args "
    "weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm label_smoothing_factor seed data_seed bf16 fp16"
).split()
DECISIVE_OF_MODEL = ("model_name_or_path", "model_revision", "dtype", "use_peft", "load_in_8bit", "load_in_4bit")


@dataclass(frozen=True)
class Schedule:
    """The arithmetic of a run: how many rows one step sees, and how many steps there are."""

    world_size: int
    total_batch_size: int
    num_steps: int
    num_warmup_steps: int

    def describe(self, args: SFTConfig) -> str:
        return (
            f"total batch {self.total_batch_size} = {args.per_device_train_batch_size} a device x "
            f"{args.gradient_accumulation_steps} accumulated x {self.world_size} processes; {self.num_steps} steps, of "
            f"which {self.num_warmup_steps} warm up"
        )


def make_schedule(args: SFTConfig, num_rows: int, world_size: int) -> Schedule:
    """What transformers' Trainer will make of the batch settings (its `set_initial_training_values`)."""
    num_batches = math.ceil(num_rows / (args.per_device_train_batch_size * world_size))
    per_epoch = max(math.ceil(num_batches / args.gradient_accumulation_steps), 1)
    num_steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * per_epoch)
    total = args.per_device_train_batch_size * args.gradient_accumulation_steps * world_size
    return Schedule(world_size, total, num_steps, args.get_warmup_steps(num_steps))


class Provenance(TrainerCallback):
    """Makes every checkpoint say what it was trained on, and gives it the RoPE keys of older readers."""

    def __init__(self, card: dict[str, Any] | None):
        self.card = card

    def finish(self, folder: Path) -> None:
        write_legacy_rope(folder)
        if self.card is not None:
            write_json(folder / "selection.json", self.card)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.finish(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")


def settings_of(
    args: SFTConfig,
    model_config: ModelConfig,
    pool: Pool,
    chosen: ChosenRows,
    *,
    system_prompt: str,
    world_size: int,
    rope: dict[str, Any],
) -> dict[str, Any]:
    """What a run is: two runs of the same settings give the same weights, up to rounding."""
    values = args.to_dict()
    return {
        **{key: values[key] for key in DECISIVE},
        **{key: getattr(model_config, key) for key in DECISIVE_OF_MODEL},
        "total_batch_size": args.per_device_train_batch_size * args.gradient_accumulation_steps * world_size,
        "pool": pool.fingerprint,
        "rows": len(chosen.indices),
        "selection": None if chosen.card is None else chosen.card.get("fingerprint"),
        "system_prompt": system_prompt,
        "model_init_kwargs": {key: str(value) for key, value in (args.model_init_kwargs or {}).items()},
        "rope": rope,
    }


def append_to_card(folder: Path, pool: Pool, chosen: ChosenRows, num_rows: int) -> None:
    """Adds to the model card what the model was trained on."""
    lines = ["", "## Training data", "", f"{num_rows} rows of the pool `{Path(pool.name).name}` ({len(pool)} usable rows)."]
    if chosen.card is not None:
        method = chosen.card.get("method", "a selection")
        lines += ["", f"They were selected by `{method}`; how is in [selection.json](selection.json)."]
    with open(folder / "README.md", "a", encoding="utf-8") as card:
        card.write("\n".join(lines) + "\n")


def warn_of_surprises(args: SFTConfig, model_config: ModelConfig, tail: list[str] | None, eos: str | None) -> None:
    """One warning for each thing that is allowed but likely unwanted."""
    if tail is None:
        logger.warning(
            "The tokenizer has no chat template: training on plain text (the problem, a newline, the answer, %s), without "
            "the system prompt. For a chat format set `chat_template_path` to a .jinja file or a tokenizer.",
            eos,
        )
    elif eos not in tail:
        logger.warning(
            "The chat template ends an answer with %r, and that is what is trained, but generation stops at %r. Set "
            "`eos_token` to the template's end of turn.",
            "".join(tail),
            eos,
        )
    if model_config.dtype in ("bfloat16", "float16") and args.deepspeed_plugin is None and not model_config.use_peft:
        logger.warning(
            "`dtype` is %s without DeepSpeed, so there is no float32 copy of the weights and small updates are rounded "
            "away. Set `dtype: float32`, with `bf16: true` to compute in bfloat16.",
            model_config.dtype,
        )


def report_lengths(lengths: Lengths, num_rows: int, max_length: int | None) -> None:
    if len(lengths.wholly_cut) == num_rows:
        raise ValueError(
            f"`max_length` is {max_length}, and no row has a token of its answer within it: the longest row has "
            f"{lengths.longest} tokens. Raise `max_length`."
        )
    if lengths.wholly_cut or lengths.partly_cut:
        logger.warning(
            "`max_length` (%s) cuts answers: %d of %d rows lose the end of it, and %d all of it (those are left out). The "
            "longest row has %d tokens. The model learns no end for a cut answer; raise `max_length` to keep it.",
            max_length,
            len(lengths.partly_cut),
            num_rows,
            len(lengths.wholly_cut),
            lengths.longest,
        )


def train(
    pool: Pool,
    chosen: ChosenRows,
    args: SFTConfig,
    model_config: ModelConfig,
    *,
    system_prompt: str,
    rope_theta: float | None = None,
    max_position_embeddings: int | None = None,
    callbacks: list[TrainerCallback] | None = None,
) -> Path:
    """Trains, and writes the model, its tokenizer, its card and `training.json` into `args.output_dir`.

    Under a launcher every process calls this. A finished run of the same settings is left as it is; a killed one goes on
    from its last checkpoint.

    Args:
        chosen: Rows of the pool, from `whole_pool` or `read_selection`.
        rope_theta: New RoPE base, before training. None keeps the model's.
        max_position_embeddings: New number of positions. None keeps the model's.
        callbacks: More callbacks for the trainer.
    """
    start, state = time.perf_counter(), PartialState()
    output_dir, main = Path(str(args.output_dir)), state.is_main_process
    check_environment(args, model_config)
    name = str(model_config.model_name_or_path)
    check_model_folder(name)
    config = AutoConfig.from_pretrained(
        model_path(name), revision=model_config.model_revision, trust_remote_code=args.trust_remote_code
    )
    rope = change_rope(config, rope_theta, max_position_embeddings)
    check_length(args.max_length, rope.num_positions, "`max_length`")
    tokenizer = load_tokenizer(name, model_config.model_revision)
    ahead = template_tokenizer(tokenizer, args, name)
    chat = has_chat_template(ahead)
    tail = end_of_turn(ahead, system_prompt) if chat else None
    if tail is None and ahead.eos_token is None:
        raise ValueError(
            f"The tokenizer of {name} has neither a chat template nor an end-of-sequence token, so no end of an answer can "
            "be trained. Set `chat_template_path`, or `eos_token`."
        )

    settings = settings_of(
        args,
        model_config,
        pool,
        chosen,
        system_prompt=system_prompt,
        world_size=state.num_processes,
        rope=rope.init_kwargs,
    )
    checkpoint = find_resume(output_dir, settings, args.resume_from_checkpoint)
    if checkpoint is None and (output_dir / RESULT_FILE).is_file():
        logger.warning("%s is finished with these settings; nothing to do.", output_dir)
        return output_dir
    if checkpoint is not None:
        check_world_size(checkpoint, state.num_processes)

    rows = training_rows(pool, chosen, chat=chat, system_prompt=system_prompt)
    lengths = measure_lengths(
        rows, ahead, chat=chat, max_length=args.max_length, num_proc=args.dataset_num_proc
    )
    if args.max_length is None:
        check_length(lengths.longest, rope.num_positions, "The longest row")
    schedule = make_schedule(args, len(rows) - len(lengths.wholly_cut), state.num_processes)
    if main:
        warn_of_surprises(args, model_config, tail, ahead.eos_token)
        report_lengths(lengths, len(rows), args.max_length)
        print(f"Training on {len(rows)} of {len(pool)} rows: {schedule.describe(args)}.", flush=True)
        output_dir.mkdir(parents=True, exist_ok=True)
        write_json(output_dir / SETTINGS_FILE, settings)
    elif len(lengths.wholly_cut) == len(rows):
        raise ValueError("No row has a token of its answer within `max_length`; see the message of process 0.")

    args.model_init_kwargs = {
        "revision": model_config.model_revision,
        "dtype": model_config.dtype,
        "attn_implementation": model_config.attn_implementation,
        **(args.model_init_kwargs or {}),
        **rope.init_kwargs,
    }
    provenance = Provenance(chosen.card)
    # A name instead of a model: the trainer loads it sharded under ZeRO-3.
    trainer = SFTTrainer(
        model=model_path(name),
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[provenance, *(callbacks or [])],
        quantization_config=get_quantization_config(model_config),
        peft_config=get_peft_config(model_config),
    )
    engine = check_engine(trainer)
    if main and checkpoint is not None:
        print(f"Going on from {checkpoint}.", flush=True)
    result = trainer.train(resume_from_checkpoint=checkpoint)

    trainer.model.config.use_cache = True  # gradient checkpointing turned it off; generation needs it
    trainer.save_model()  # on all processes: ZeRO-3 gathers the weights
    if main:
        provenance.finish(output_dir)
        trainer.create_model_card(model_name=output_dir.name, dataset_name=None if Path(pool.name).exists() else pool.name)
        append_to_card(output_dir, pool, chosen, len(rows))
        counted = [entry["num_tokens"] for entry in trainer.state.log_history if "num_tokens" in entry]
        seconds = result.metrics["train_runtime"]
        write_json(
            output_dir / RESULT_FILE,
            {
                "settings": settings,
                "format": "chat" if chat else "plain",
                "engine": engine,
                "world_size": schedule.world_size,
                "total_batch_size": schedule.total_batch_size,
                "num_steps": trainer.state.global_step,
                "num_warmup_steps": schedule.num_warmup_steps,
                "num_rows": len(rows),
                "num_trained_rows": None if args.packing else len(trainer.train_dataset),
                "max_length": args.max_length,
                **lengths.describe(),
                "resumed_from": None if checkpoint is None else Path(checkpoint).name,
                "train_loss": result.training_loss,
                # TRL counts from the resumed step, and so does transformers its seconds.
                "num_tokens": counted[-1] if counted else None,
                "tokens_per_second": counted[-1] / seconds if counted else None,
                "train_seconds": seconds,
                "seconds": time.perf_counter() - start,
                "versions": library_versions(),
            },
        )
    if args.push_to_hub:
        trainer.push_to_hub()
    if hasattr(trainer, "end"):  # transformers 5.18: closes the trackers and the process group
        trainer.end()
    return output_dir
