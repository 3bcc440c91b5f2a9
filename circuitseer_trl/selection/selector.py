"""From a pool to the rows to train on: the steps of a selection, and their face for training scripts."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import datasets
from accelerate.logging import get_logger
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from circuitseer_trl.artifacts import read_json, read_table, write_card, write_table
from circuitseer_trl.circuits.heads import HeadSet, find_heads, undetected_heads
from circuitseer_trl.configs import PoolConfig, SelectionConfig, default_batch_tokens
from circuitseer_trl.data import Pool
from circuitseer_trl.models import Reference
from circuitseer_trl.sampling.base import Selection, budget
from circuitseer_trl.scoring.base import Scorer, ScoreTable, score_pool
from circuitseer_trl.scoring.combine import control_length
from circuitseer_trl.selection.budget import check_nested, sample_tokens, tokens_kept, training_tokens
from circuitseer_trl.selection.card import length_warning, selection_card
from circuitseer_trl.selection.methods import Parts, get_method
from circuitseer_trl.selection.pool import pool_from_config, pool_from_dataset, trainable_rows
from circuitseer_trl.selection.tracking import log_selection
from circuitseer_trl.sharding import on_main_rank

logger = get_logger(__name__)

SELECTION_FILES = ("selection.parquet", "selection.json")


def reference_from_config(config: SelectionConfig) -> Reference:
    if config.reference_model is None:
        raise ValueError(
            f"`method: {config.method}` looks into a model: set `reference_model` to a Hub id or a folder."
        )
    return Reference(
        config.reference_model, config.reference_revision, config.reference_dtype, config.reference_max_length
    )


def detect_heads(config: SelectionConfig, system_prompt: str, pool: Pool, reference: Reference) -> HeadSet:
    """Finds the reasoning heads as the recipe says."""
    assert config.max_batch_tokens is not None  # set by the config
    return find_heads(
        pool,
        reference,
        config.output_dir,
        probe_strategy=config.probe_strategy,
        probe_size=config.probe_size,
        probe_candidates=config.probe_candidates,
        probe_format=config.probe_format,
        head_ratio=config.head_ratio,
        head_detection=config.head_detection,
        head_seed=config.head_seed,
        system_prompt=system_prompt,
        max_batch_tokens=config.max_batch_tokens or default_batch_tokens(),
    )


def heads_to_score_with(config: SelectionConfig, system_prompt: str, pool: Pool, reference: Reference) -> HeadSet:
    """The heads of `heads_file`, or newly detected ones; or for an ablation all heads, or a random draw."""
    detected = HeadSet.read(config.heads_file) if config.heads_file else None
    if detected is not None:
        detected.check_model(reference)
    if config.head_set != "detected":
        size = len(detected.selected) if detected is not None else None
        return undetected_heads(reference, config.head_set, size, config.head_ratio, config.head_seed)
    return detected or detect_heads(config, system_prompt, pool, reference)


def make_parts(config: SelectionConfig, system_prompt: str) -> Parts:
    """The method's parts with the recipe's parameters; raises where the recipe names others, before any work."""
    arguments = config.method_args or {}
    assert isinstance(arguments, dict)  # parsed by the config
    parts = get_method(config.method).make(
        asdict(config) | {"system_prompt": system_prompt}, config.sampling, arguments
    )
    if config.budget_tokens is not None:
        check_nested(parts.sampler)
        if config.reference_model is None:
            raise ValueError("`budget_tokens` counts by the reference model's tokenizer: set `reference_model`.")
    return parts


def make_scorer(config: SelectionConfig, system_prompt: str) -> Scorer:
    return make_parts(config, system_prompt).scorer


def compute_scores(config: SelectionConfig, system_prompt: str, pool: Pool) -> ScoreTable:
    """Scores the pool as the recipe says; finds the heads first where they are missing."""
    scorer = make_scorer(config, system_prompt)
    reference = reference_from_config(config) if scorer.uses_reference else None
    heads = None
    if scorer.uses_heads:
        assert reference is not None
        heads = heads_to_score_with(config, system_prompt, pool, reference)
    try:
        return score_pool(pool, scorer, config.method, reference, heads, config.output_dir)
    finally:
        if reference is not None:
            reference.free()


def select_rows(config: SelectionConfig, system_prompt: str, pool: Pool) -> Selection:
    """Scores the pool and chooses the rows; every rank gets the same ones.

    `selection.parquet` and `selection.json` are in the output folder, beside what the earlier steps wrote.
    """
    parts = make_parts(config, system_prompt)
    size = budget(len(pool), config.budget_ratio, config.budget_size) if config.budget_tokens is None else 0
    if size > len(pool):
        raise ValueError(
            f"Cannot choose {size} examples: the pool has only {len(pool)} usable rows. Lower `budget_size`."
        )
    scores = compute_scores(config, system_prompt, pool)
    output_dir = Path(config.output_dir)
    values = scores.scores if parts.combination is None else parts.combination.combine(scores.table, pool.difficulty)
    controlled = control_length(config.length_control, values, scores.table["num_tokens"].to_numpy())

    tokens = None
    if config.budget_tokens is not None:
        tokens = training_tokens(pool, reference_from_config(config), output_dir)

    def sample() -> None:
        columns: dict[str, Any] = {
            name: column.to_numpy()
            for name, column in zip(scores.table.column_names, scores.table.columns, strict=True)
        }
        if "category" not in columns and any(pool.examples["category"]):
            columns["category"] = pool.examples["category"]
        if pool.difficulty is not None:
            columns["difficulty"] = pool.difficulty
        seed = config.selection_seed
        if tokens is None or config.budget_tokens is None:
            selection = parts.sampler.sample(controlled, pool.rows, pool.uids, size, seed, columns)
        else:
            selection = sample_tokens(parts.sampler, controlled, tokens, pool, config.budget_tokens, seed, columns)
        card = selection_card(
            pool,
            scores,
            controlled,
            selection,
            method=config.method,
            length_control=config.length_control,
            sampling=config.sampling or get_method(config.method).sampling,
            seed=seed,
            parameters={
                "combination": None if parts.combination is None else asdict(parts.combination),
                "sampler": asdict(parts.sampler),
                "training_tokens": None if tokens is None else tokens_kept(selection, tokens, pool),
            },
        )
        write_table(output_dir / "selection.parquet", selection.to_table())
        pool.write_dropped(output_dir / "dropped.parquet")
        write_card(output_dir / "selection.json", card)

    on_main_rank(sample)
    if warning := length_warning(read_json(output_dir / "selection.json")["rank_correlation_with_length"]):
        logger.warning(warning)
    return read_selection(output_dir)


def read_selection(path: str | Path) -> Selection:
    """Reads the selection of a folder, or a `selection.parquet`."""
    path = Path(path)
    path = path / "selection.parquet" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. `python -m circuitseer_trl.scripts.select_data` writes it.")
    return Selection.from_table(read_table(path))


@contextmanager
def shared_temporary_folder() -> Iterator[str]:
    """A temporary folder that all ranks of a node see, and that is gone afterwards."""
    folder = on_main_rank(tempfile.mkdtemp)
    try:
        yield folder
    finally:
        on_main_rank(lambda: shutil.rmtree(folder, ignore_errors=True))


class CircuitSeerDataSelector(TrainerCallback, ExportableState):
    """Selects training data before a trainer is made, and tells the trainer's checkpoints and trackers what was selected.

        selector = CircuitSeerDataSelector(reference_model="Qwen/Qwen2.5-Math-1.5B-Instruct", budget_ratio=0.1, seed=42)
        dataset = selector.select(pool, output_dir="runs/x")
        trainer = SFTTrainer(model="Qwen/Qwen2.5-Math-7B", args=args, train_dataset=dataset, callbacks=[selector])

    Selection cannot wait for the trainer: TRL tokenises and packs in its constructor, and callbacks are given no dataset.
    Give the trainer its model by name, so that the reference model is gone before the target is loaded.

    Args:
        reference_model: Hub id or folder of the model to look into.
        budget_ratio: Share of the usable rows to keep.
        seed: Seed of the draw.
        method: A key of `METHODS`.
        system_prompt: As in `PoolConfig`.
        options: Any other key of `PoolConfig` (the columns) or `SelectionConfig`.
    """

    def __init__(
        self,
        reference_model: str | None = None,
        *,
        budget_ratio: float = 0.1,
        seed: int = 42,
        method: str = "circuitseer",
        **options: Any,
    ) -> None:
        columns = {item.name for item in fields(PoolConfig)}
        selecting = {item.name for item in fields(SelectionConfig)} - {"output_dir"}
        if unknown := sorted(set(options) - columns - selecting):
            raise TypeError(f"Unknown options {unknown}. Options are the keys of `PoolConfig` and `SelectionConfig`.")
        self.pool_options = {key: value for key, value in options.items() if key in columns}
        self.selection_options = {
            "reference_model": reference_model,
            "budget_ratio": budget_ratio,
            "selection_seed": seed,
            "method": method,
        } | {key: value for key, value in options.items() if key in selecting}
        self.card: dict[str, Any] | None = None
        self.selection: Selection | None = None
        self._kept: tuple[str, Pool] | None = None  # the selection's folder and its pool, for the panels
        get_method(method)
        # Checks the values now, not after the pool was read.
        make_parts(SelectionConfig(output_dir="", **self.selection_options), "")

    def select(self, pool: datasets.Dataset | Pool | str, output_dir: str | Path | None = None) -> datasets.Dataset:
        """Selects rows; to be called by every process of a launch.

        Args:
            pool: A dataset, a `Pool`, or the name of a dataset as in `PoolConfig`.
            output_dir: Folder for heads, scores and selection; without one they are not kept, nor logged to W&B.

        Returns:
            The chosen rows, in the pool's order and with all of its columns. Where the dataset is not in a form that TRL can
            train on, it has conversational `prompt` and `completion` columns besides.
        """
        config = PoolConfig(**({"dataset_name": pool if isinstance(pool, str) else "dataset"} | self.pool_options))
        if isinstance(pool, str):
            pool = pool_from_config(config)
        elif isinstance(pool, datasets.Dataset):
            pool = pool_from_dataset(pool, config)
        elif not isinstance(pool, Pool):
            raise TypeError(f"`pool` must be a datasets.Dataset, a Pool or a name, got a {type(pool).__name__}.")
        self._kept = None
        if output_dir is not None:
            self._select_into(str(output_dir), pool, config.system_prompt)
            self._kept = str(output_dir), pool
        else:
            with shared_temporary_folder() as folder:
                self._select_into(folder, pool, config.system_prompt)
        assert self.selection is not None
        return trainable_rows(pool, self.selection, config.system_prompt)

    def _select_into(self, output_dir: str, pool: Pool, system_prompt: str) -> None:
        self.selection = select_rows(
            SelectionConfig(output_dir=output_dir, **self.selection_options), system_prompt, pool
        )
        self.card = read_json(Path(output_dir) / "selection.json")

    def state(self) -> dict[str, Any]:
        """What `trainer_state.json` keeps of the selection."""
        return {"args": {}, "attributes": {"card": self.card}}

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.card is not None and state.is_world_process_zero:
            write_card(Path(args.output_dir) / f"checkpoint-{state.global_step}" / "selection.json", self.card)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._check_resumed(state)
        if self.card is None or not state.is_world_process_zero:
            return
        write_card(Path(args.output_dir) / "selection.json", self.card)
        if self._kept is not None and "wandb" in args.report_to:
            log_selection(*self._kept)  # the trainer's own callback came first, and has started the run

    def _check_resumed(self, state: TrainerState) -> None:
        """Raises where training goes on from a checkpoint that saw other rows."""
        saved = (state.stateful_callbacks or {}).get(type(self).__name__)
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
