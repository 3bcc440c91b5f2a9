"""From a pool to the rows to train on: the steps of a selection, and their face for training scripts."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger

from circuitseer_trl.artifacts import read_json, read_table, write_card, write_table
from circuitseer_trl.circuits.heads import HeadSet, find_heads, undetected_heads
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.modeling.memory import default_batch_tokens
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.sampling.base import Selection, budget
from circuitseer_trl.scoring.base import Scorer, ScoreTable, score_pool
from circuitseer_trl.scoring.combination import control_length
from circuitseer_trl.selection.budget import check_nested, sample_tokens, tokens_kept, training_tokens
from circuitseer_trl.selection.card import length_warning, selection_card
from circuitseer_trl.selection.methods import Parts, get_method

logger = get_logger(__name__)


def reference_from_config(config: SelectionConfig) -> Reference:
    if config.reference_model is None:
        raise ValueError(
            f"`method: {config.method}` looks into a model: set `reference_model` to a Hub id or a folder."
        )
    return Reference(
        config.reference_model, config.reference_revision, config.reference_dtype, config.reference_max_length
    )


def batch_tokens(config: SelectionConfig) -> int:
    return config.max_batch_tokens or default_batch_tokens()


def detect_heads(config: SelectionConfig, system_prompt: str, pool: Pool, reference: Reference) -> HeadSet:
    """Finds the reasoning heads as the recipe says."""
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
        max_batch_tokens=batch_tokens(config),
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
        asdict(config) | {"system_prompt": system_prompt, "max_batch_tokens": batch_tokens(config)},
        config.sampling,
        arguments,
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
