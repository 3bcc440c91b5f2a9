"""How does your own training script select its data? With a callback that selects before the trainer is made."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import datasets
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from circuitseer_trl.artifacts import write_card
from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.pool.load import pool_from_config, pool_from_dataset
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.sampling.base import Sampler, Selection
from circuitseer_trl.scoring.base import Scorer
from circuitseer_trl.selection.steps import SelectionSteps, shared_temporary_folder
from circuitseer_trl.selection.trainable_rows import trainable_rows
from circuitseer_trl.selection.trained_on import mark_trained


class CircuitSeerDataSelector(TrainerCallback, ExportableState):
    """Selects training data before a trainer is made. As a callback, it adds the selection to checkpoints and to W&B.

        selector = CircuitSeerDataSelector(reference_model="Qwen/Qwen2.5-Math-1.5B-Instruct", budget_ratio=0.1, seed=42)
        dataset = selector.select(pool, output_dir="runs/x")
        trainer = SFTTrainer(model="Qwen/Qwen2.5-Math-7B", args=args, train_dataset=dataset, callbacks=[selector])

    The selection must come before the trainer: TRL tokenises and packs in its constructor, and callbacks get no dataset. Give
    the trainer its model by name, so that the reference model is freed before the target is loaded.

    Args:
        reference_model: Hub id or folder of the reference model.
        budget_ratio: Share of the usable rows to keep.
        seed: Seed of the draw.
        method: A key of `METHODS`; the default is `circuitseer`.
        scorer: Your own scorer in place of a method, or its `module:Class`.
        sampler: Your own sampler, or its `module:Class`.
        options: Any other key of `PoolConfig` (the columns, the system prompt, the date) or `SelectionConfig`.
    """

    def __init__(
        self,
        reference_model: str | None = None,
        *,
        budget_ratio: float = 0.1,
        seed: int = 42,
        method: str = "",
        scorer: Scorer | str | None = None,
        sampler: Sampler | str | None = None,
        **options: Any,
    ) -> None:
        columns = {item.name for item in fields(PoolConfig)}
        selecting = {item.name for item in fields(SelectionConfig)} - {"output_dir"}
        if unknown := sorted(set(options) - columns - selecting):
            raise TypeError(f"Unknown options {unknown}. Options are the keys of `PoolConfig` and `SelectionConfig`.")
        if "dataset_name" in options:
            raise ValueError(
                "`dataset_name` is what `select` is called with, as a name or a dataset. Leave it out here."
            )
        self.pool_options = {key: value for key, value in options.items() if key in columns}
        if scorer is not None and method:
            raise ValueError(
                f"`method={method!r}` and `scorer` both set how rows are scored. Leave one of the two out."
            )
        if sampler is not None and options.get("sampling"):
            raise ValueError("`sampling` and `sampler` both set how rows are chosen. Leave one of the two out.")
        config = SelectionConfig(
            output_dir="",
            reference_model=reference_model,
            budget_ratio=budget_ratio,
            selection_seed=seed,
            method=method,
            scorer=scorer if isinstance(scorer, str) else None,
            sampler=sampler if isinstance(sampler, str) else None,
            **{key: value for key, value in options.items() if key in selecting},
        )
        # Checks the values now, before the pool is read.
        self.steps = SelectionSteps.from_config(
            config,
            self._pool_config("dataset").chat,
            None if isinstance(scorer, str) else scorer,
            None if isinstance(sampler, str) else sampler,
        )
        self.card: dict[str, Any] | None = None
        self.selection: Selection | None = None
        self._kept: tuple[str, Pool] | None = None  # the selection's folder and its pool, for the panels

    def _pool_config(self, name: str) -> PoolConfig:
        return PoolConfig(**({"dataset_name": name} | self.pool_options))

    def select(self, pool: datasets.Dataset | Pool | str, output_dir: str | Path | None = None) -> datasets.Dataset:
        """Selects rows. Every process of a launch must call this.

        Args:
            pool: A dataset, a `Pool`, or the name of a dataset as in `PoolConfig`.
            output_dir: Folder for heads, scores and selection. Without it they are neither kept nor logged to W&B.

        Returns:
            The chosen rows, in the pool's order and with all of its columns. If TRL cannot train on the dataset's format, the
            conversational columns `prompt` and `completion` are added.
        """
        config = self._pool_config(pool if isinstance(pool, str) else "dataset")
        if isinstance(pool, str):
            pool = pool_from_config(config)
        elif isinstance(pool, datasets.Dataset):
            pool = pool_from_dataset(pool, config)
        elif not isinstance(pool, Pool):
            raise TypeError(f"`pool` must be a datasets.Dataset, a Pool or a name, got a {type(pool).__name__}.")
        self._kept = None
        if output_dir is not None:
            selected = self.steps.into(output_dir).select(pool)
            self._kept = str(output_dir), pool
        else:
            with shared_temporary_folder() as folder:
                selected = self.steps.into(folder).select(pool)
        self.selection, self.card = selected.selection, selected.card
        return trainable_rows(pool, self.selection, config.system_prompt)

    def state(self) -> dict[str, Any]:
        """The callback's state for `trainer_state.json`: the card of the selection."""
        return {"args": {}, "attributes": {"card": self.card}}

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if args.restore_callback_states_from_checkpoint:
            raise ValueError(
                "`restore_callback_states_from_checkpoint` makes every callback anew from a checkpoint, and this selector would "
                "lose its selection. Leave it out: on a resume the selector itself compares its rows with the checkpoint's."
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.card is not None and state.is_world_process_zero:
            write_card(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / "selection.json", self.card)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._check_resumed(state)
        if self.card is None or not state.is_world_process_zero:
            return
        write_card(Path(str(args.output_dir)) / "selection.json", self.card)
        if self._kept is not None:
            mark_trained(self._kept[0], str(args.output_dir), self.card["rows"])
        if self._kept is not None and "wandb" in (args.report_to or []):
            from circuitseer_trl.selection.selection_panels import log_selection  # needs the extra `wandb`

            log_selection(*self._kept)  # the trainer's own W&B callback runs before this one, and starts the run

    def _check_resumed(self, state: TrainerState) -> None:
        """Raises if training resumes from a checkpoint that was trained on other rows."""
        states: Any = state.stateful_callbacks or {}  # annotated as a list, but a dict after it is read from a file
        saved = states.get(type(self).__name__)
        before = saved["attributes"]["card"] if isinstance(saved, dict) else None
        if state.global_step == 0 or self.card is None or before is None:
            return
        if before["uids"] != self.card["uids"]:
            raise ValueError(
                f"The checkpoint was trained on another selection (rows {before['uids']}: {before['num_selected']} by "
                f"{before['method']}, seed {before['seed']}) than this one (rows {self.card['uids']}: "
                f"{self.card['num_selected']} by {self.card['method']}, seed {self.card['seed']}). Select as before, or train "
                "from the start in another `output_dir`."
            )
