"""How does a pool become the rows to train on? The steps of a selection."""

import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from accelerate.logging import get_logger

from circuitseer_trl.artifacts import write_card, write_table
from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.circuits.contrast import Contrast
from circuitseer_trl.circuits.head_card import first_layer_warning
from circuitseer_trl.circuits.heads import HeadSet, find_heads, undetected_heads
from circuitseer_trl.circuits.probe import Probe
from circuitseer_trl.circuits.retrieval import RetrievalProbes
from circuitseer_trl.circuits.retrieval_heads import find_retrieval_heads
from circuitseer_trl.circuits.retrieval_list import heads_to_score_with
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.distributed.only_writer import only_writer
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.sampling.base import Sampler, Selection, budget
from circuitseer_trl.scoring.base import Scorer, ScoreTable, score_pool
from circuitseer_trl.scoring.diagnostics import solution_correlation
from circuitseer_trl.scoring.token_views import write_token_views
from circuitseer_trl.selection.budget import TokenBudget, check_nested, token_budget
from circuitseer_trl.selection.card import selection_card
from circuitseer_trl.selection.choosing import choose
from circuitseer_trl.selection.noise import noise_card, noise_seed
from circuitseer_trl.selection.noise_filter import NoiseFilter, noise_filter, noise_losses
from circuitseer_trl.selection.parts import Parts, check_signs, make_parts
from circuitseer_trl.selection.trained_on import check_not_trained_on

logger = get_logger(__name__)

Result = TypeVar("Result")


def reference_from_config(config: SelectionConfig, chat: ChatSettings) -> Reference:
    """Makes the reference model of a recipe, with the settings that it reads examples with."""
    if config.reference_model is None:
        raise ValueError(
            "`budget_tokens` counts with the reference model's tokenizer: set `reference_model`."
            if config.budget_tokens is not None
            else "`noise_filter_ratio` reads losses as the reference model does: set `reference_model`."
            if config.noise_filter_ratio is not None
            else f"`method: {config.method}` needs a reference model: set `reference_model` to a Hub id or a folder."
        )
    return Reference(
        config.reference_model,
        config.reference_revision,
        config.reference_dtype,
        config.reference_max_length,
        config.probe_format,
        chat.system_prompt,
        config.max_batch_tokens,
        chat.chat_date,
    )


def detect_heads(config: SelectionConfig, pool: Pool, reference: Reference) -> HeadSet:
    """Finds the reasoning heads with the settings of the recipe."""
    assert config.probe_strategy is not None  # the config has set it
    probe = Probe(config.probe_strategy, config.probe_size, config.probe_candidates, config.head_seed)
    contrast = Contrast(config.part_by, config.contrast_floor) if config.criterion == "contrast" else None
    with only_writer(config.output_dir):
        if config.criterion == "retrieval":
            probes = RetrievalProbes(config.probe_size, seed=config.head_seed)
            return find_retrieval_heads(pool, reference, config.output_dir, probes, config.head_ratio)
        settings = config.head_ratio, config.head_detection, contrast, config.ablation
        return find_heads(pool, reference, config.output_dir, probe, *settings)


@dataclass(frozen=True)
class Selected:
    """The result of a selection: the rows, the content of `selection.json`, and the scores of the whole pool."""

    selection: Selection
    card: dict[str, Any]
    scores: ScoreTable


def _as_only_writer(work: "Callable[[SelectionSteps, Pool], Result]") -> "Callable[[SelectionSteps, Pool], Result]":
    """A step that no other run does at the same time in the same output folder."""

    @functools.wraps(work)
    def locked(steps: "SelectionSteps", pool: Pool) -> Result:
        with only_writer(steps.config.output_dir):
            return work(steps, pool)

    return locked


@dataclass(frozen=True)
class SelectionSteps:
    """A selection recipe that is ready to run: its parts are made and the scorer's files are read, but no pool is read.

    Attributes:
        config: The recipe.
        parts: Scorer, combination and sampler.
        reference: The reference model; None if neither the scorer nor the budget needs one.
    """

    config: SelectionConfig
    parts: Parts
    reference: Reference | None

    @classmethod
    def from_config(
        cls,
        config: SelectionConfig,
        chat: ChatSettings,
        scorer: Scorer | None = None,
        sampler: Sampler | None = None,
    ) -> "SelectionSteps":
        """Makes the parts and the reference that the recipe names. Raises if the recipe is wrong.

        Args:
            scorer: Your own scorer, in place of the recipe's.
            sampler: Your own sampler, in place of the recipe's.
        """
        parts = make_parts(config, scorer, sampler)
        check_signs(config, parts)
        parts.scorer.read_inputs()
        if config.budget_tokens is not None:
            check_nested(parts.sampler)
        needed = (
            parts.scorer.needs != "text" or config.budget_tokens is not None or config.noise_filter_ratio is not None
        )
        return cls(config, parts, reference_from_config(config, chat) if needed else None)

    def into(self, output_dir: str | Path) -> "SelectionSteps":
        """Returns the same steps with another output folder."""
        return replace(self, config=replace(self.config, output_dir=str(output_dir)))

    @property
    def needs_detection(self) -> bool:
        """Whether the heads must be found before scoring."""
        return self.parts.scorer.needs == "heads" and self.config.head_set == "detected" and not self.config.heads_file

    def heads(self, pool: Pool) -> HeadSet | None:
        """Returns the heads to score with: those of `heads_file`, newly detected ones, or for an ablation all or random heads."""
        config, reference = self.config, self.reference
        if self.parts.scorer.needs != "heads" or reference is None:
            return None
        detected = heads_to_score_with(config.heads_file, reference, config.head_ratio) if config.heads_file else None
        if config.head_set != "detected":
            size = len(detected.selected) if detected is not None else None
            return undetected_heads(reference, config.head_set, size, config.head_ratio, config.head_seed)
        return detected or detect_heads(config, pool, reference)

    def noise_filter(self, pool: Pool) -> NoiseFilter | None:
        """The filter of the recipe, from stored losses or newly computed ones; None if the recipe has none."""
        config = self.config
        if config.noise_filter_ratio is None or self.reference is None:
            return None
        losses, model = noise_losses(pool, self.reference, config.noise_filter_model, config.output_dir)
        return noise_filter(losses, config.noise_filter_ratio, model)

    def check(self, pool: Pool) -> None:
        """Raises if the scorer cannot score the pool, as far as that is known before anything is computed."""
        self.parts.scorer.attach(self.reference, None).check(pool)

    @_as_only_writer
    def score(self, pool: Pool) -> ScoreTable:
        """Scores the pool, and finds the heads first if they are needed."""
        scorer = self.parts.scorer
        if scorer.needs == "heads":
            self.check(pool)  # raises before the heads are found; `bind` checks again
        try:
            heads = self.heads(pool)
            scores = score_pool(pool, scorer, self.parts.method, self.reference, heads, self.config.output_dir)
            self.noise_filter(pool)  # its losses are made with the scores, so that a study shares them
            read = scorer.attach(self.reference, heads)
            on_main_rank(lambda: write_token_views(read, pool, scores, self.config.output_dir))
            return scores
        finally:
            if self.reference is not None:
                self.reference.free()

    @_as_only_writer
    def select(self, pool: Pool) -> Selected:
        """Scores the pool and chooses the rows. Every rank gets the same rows.

        It writes `selection.parquet` and `selection.json` to the output folder, beside the files of the earlier steps.
        """
        config = self.config
        size = budget(len(pool), config.budget_ratio, config.budget_size) if config.budget_tokens is None else 0
        if size > len(pool):
            raise ValueError(
                f"Cannot choose {size} examples: the pool has only {len(pool)} usable rows. Lower `budget_size`."
            )
        output_dir = Path(config.output_dir)
        tokens = None
        if config.budget_tokens is not None and self.reference is not None:
            # raises before the expensive scores
            tokens = token_budget(config.budget_tokens, pool, self.reference, output_dir)
        scores = self.score(pool)
        noise = self.noise_filter(pool)

        def write() -> tuple[Selection, dict[str, Any]]:
            selection, card = self._choose(pool, scores, size, tokens, noise)
            check_not_trained_on(output_dir, card["rows"])
            write_table(output_dir / "selection.parquet", selection.to_table())
            pool.write_dropped(output_dir / "dropped.parquet")
            write_card(output_dir / "selection.json", card)
            return selection, card

        selection, card = on_main_rank(write)
        for warning in card["warnings"]:
            if not (self.needs_detection and warning == first_layer_warning(scores.card["heads"])):
                logger.warning(warning)  # finding the heads has warned of them
        return Selected(selection, card, scores)

    def _choose(
        self, pool: Pool, scores: ScoreTable, size: int, tokens: TokenBudget | None, noise: NoiseFilter | None
    ) -> tuple[Selection, dict[str, Any]]:
        """Chooses the rows and makes the card."""
        config, combination, sampler = self.config, self.parts.combination, self.parts.sampler
        seed = noise_seed(config, self.parts)
        chosen = choose(config, self.parts, pool, scores, size, tokens, noise, seed)
        by_solution = (
            solution_correlation(chosen.values, pool.figures.solution_characters, "characters")
            if tokens is None
            else solution_correlation(chosen.values, tokens.solutions, "tokens")
        )
        settings = {
            "method": self.parts.method,
            "length_control": config.length_control,
            "sampling": self.parts.sampling,
            "combination": None if combination is None else asdict(combination),
            "sampler": asdict(sampler),
            "training_tokens": chosen.training_tokens,
            "seed": config.selection_seed,
            **({"noise_filter": noise.card} if noise is not None else {}),
            "noise": noise_card(config, seed, chosen.selection),
            "rank_correlation_with_solution_length": by_solution,
        }
        return chosen.selection, selection_card(pool, scores, chosen, settings, sampler)


@contextmanager
def shared_temporary_folder() -> Iterator[str]:
    """Makes a temporary folder that all ranks of a node can read, and deletes it at the end."""
    folder = on_main_rank(tempfile.mkdtemp)
    try:
        yield folder
    finally:
        on_main_rank(lambda: shutil.rmtree(folder, ignore_errors=True))
