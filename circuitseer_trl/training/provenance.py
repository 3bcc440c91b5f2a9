"""Which rows was this model trained on? Every checkpoint and the model card record it."""

import re
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTTrainer
from trl.trainer.utils import get_config_model_id

from circuitseer_trl.artifacts import write_json, write_text
from circuitseer_trl.distributed.processes import process_state
from circuitseer_trl.modeling.chat_templates import dated_template
from circuitseer_trl.modeling.encoding import has_chat_template
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.terminal import visible
from circuitseer_trl.training.checkpoints import RECORD, write_record
from circuitseer_trl.training.rope_scaling import write_legacy_rope
from circuitseer_trl.training.selected_rows import ChosenRows

HUB_ID = re.compile(r"(?:[\w.-]+/)?[\w.-]+")
NO_BASE = "[None](https://huggingface.co/None)"


def code_span(text: str) -> str:
    """Text as Markdown's code, whatever characters it has."""
    text = visible(" ".join(text.split())) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


class Provenance(TrainerCallback):
    """Puts the selection's card into every checkpoint, and the RoPE keys of older readers into its config."""

    def __init__(self, pool: Pool, chosen: ChosenRows):
        self.pool, self.chosen = pool, chosen

    @property
    def hub_dataset(self) -> str | None:
        """The pool's name on the Hub; None for files, because their path is private."""
        local = Path(self.pool.name).expanduser().exists()
        return self.pool.name if not local and HUB_ID.fullmatch(self.pool.name) else None

    def finish(self, folder: Path) -> None:
        """Completes the folder of a saved model; one process calls this."""
        write_legacy_rope(folder)
        if self.chosen.card is not None:
            write_json(folder / "selection.json", self.chosen.card)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            self.finish(checkpoint)
            write_record(checkpoint, process_state().num_processes)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Completes the checkpoint that is resumed from, if the run ended between transformers' files and ours."""
        checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if checkpoint.is_dir() and not (checkpoint / RECORD).exists():
            self.on_save(args, state, control)

    def describe(self) -> str:
        """The model card's section on the training data."""
        name = self.hub_dataset or Path(self.pool.name).name
        text = (
            f"\n\n## Training data\n\n{len(self.chosen.indices)} rows of the pool {code_span(name)}, which has {len(self.pool)} "
            f"usable rows (fingerprint `{self.pool.fingerprint}`).\n"
        )
        if self.chosen.card is not None:
            text += (
                f"\nThey were selected by the method {code_span(str(self.chosen.card.get('method')))} of circuitseer_trl "
                "([CircuitSeer](https://arxiv.org/abs/2510.18470)); its settings are in "
                "[selection.json](selection.json).\n"
            )
        return text


class DocumentedTrainer(SFTTrainer):
    """SFTTrainer that completes its folder whenever it writes the card, and so also before it pushes to the Hub.

    A run that is resumed from the checkpoint of its last step trains no further and saves that checkpoint's weights.
    """

    def __init__(self, *, provenance: Provenance, chat_date: str, callbacks: list[TrainerCallback], **kwargs: Any):
        self.provenance, self.chat_date = provenance, chat_date
        super().__init__(callbacks=[provenance, *callbacks], **kwargs)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, *args: Any, **kwargs: Any) -> Any:
        # TRL tokenises with `self.chat_template` where it is set. The tokenizer's own, which is saved, does not change.
        template = self.chat_template
        if template is None and has_chat_template(processing_class):
            template = processing_class.get_chat_template()
        if template is not None:
            self.chat_template = dated_template(template, self.chat_date)
        return super()._prepare_dataset(dataset, processing_class, *args, **kwargs)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # transformers 5.23 compares with `max_steps` only after a step, so it trains one step more if the epoch has one left.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def create_model_card(  # type: ignore[override]  # TRL's own departs from transformers'
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        model_name = visible(" ".join((model_name or "").split())) or None
        super().create_model_card(model_name, dataset_name or self.provenance.hub_dataset, tags)
        if self.is_world_process_zero():
            folder = Path(str(self.args.output_dir))
            # Of a folder, whose path is private. The model is typed as a module, which has no config.
            base = Path(get_config_model_id(self.model.config)).name  # type: ignore[union-attr, arg-type]
            text = (folder / "README.md").read_text(encoding="utf-8")
            # TRL names no model that is a local folder, and none that is not pushed.
            text = text.replace(NO_BASE, f"{code_span(base)} (a local folder)").replace('model="None"', 'model="."')
            write_text(folder / "README.md", text + self.provenance.describe())
            self.provenance.finish(folder)
