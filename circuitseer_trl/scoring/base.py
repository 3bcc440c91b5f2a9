"""How is an example scored? The interface of all scorers, and the function that scores a pool with one."""

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from transformers import PreTrainedModel

from circuitseer_trl.artifacts import library_versions, sealed, write_card
from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.distributed.shard_folders import ShardFolder
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.row_shards import run_row_shards
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.diagnostics import (
    diagnostics,
    nan_mean,
    quantiles,
    solution_correlation,
    what_scores_follow,
)
from circuitseer_trl.scoring.score_figures import ScoreFigures, score_figures

Row = dict[str, float | int | str | list[float] | list[float | None] | None]

Needs = Literal["text", "model", "losses", "gradients", "heads"]

COLUMNS = pa.schema(
    [
        ("uid", pa.string()),
        ("row", pa.int64()),
        ("score", pa.float64()),
        ("status", pa.string()),
        ("num_tokens", pa.int64()),
        ("sink_share", pa.float64()),
        ("score_without_sink", pa.float64()),
    ]
)


@dataclass
class Scorer(ABC):
    """Maps examples to numbers.

    The fields are the scorer's parameters. The card records them, and the constructor only checks them. `bind` returns a copy
    that can score: its files are read and its fit is done. A bound scorer can be pickled. The pickle leaves out each
    `cached_property`, which is computed again on its next use.

    Attributes:
        needs: The inputs that `bind` must get. `text`: no model. `model`: the reference model, in the dtype of scores.
            `losses`: the reference model, in the dtype of losses. `gradients`: as `model`, but the memory of a forward pass
            does not show how much memory scoring takes. `heads`: the reference model and its reasoning heads.
        columns: The scorer's own columns, beside those of every score table.
        reads_with: Settings of the reference that the results depend on. The card records them.
        signed: Whether scores may be below 0. Soft sampling is then refused before any work.
        not_in_noise: Parameters that do not change the noise of a draw: where inputs are, and limits of memory.
    """

    needs: ClassVar[Needs] = "text"
    columns: ClassVar[dict[str, pa.DataType]] = {}
    reads_with: ClassVar[tuple[str, ...]] = ("probe_format", "system_prompt", "chat_date", "max_batch_tokens")
    signed: ClassVar[bool] = False
    not_in_noise: ClassVar[tuple[str, ...]] = ()

    _is_bound: bool = field(default=False, init=False, repr=False, compare=False)
    _reference: Reference | None = field(default=None, init=False, repr=False, compare=False)
    _heads: HeadSet | None = field(default=None, init=False, repr=False, compare=False)

    def read_inputs(self) -> None:  # noqa: B027
        """Reads the scorer's own files, and raises if they cannot be used. It is called before the pool is read."""

    def check(self, pool: Pool) -> None:  # noqa: B027
        """Raises if the scorer cannot score the pool, for instance since its own inputs are of another one.

        It must be quick, since a dry run calls it. It may use the reference's tokenizer, and no heads, which are found later.
        """

    def fit(self, pool: Pool, output_dir: Path) -> None:  # noqa: B027
        """Prepares for a whole pool, on every rank.

        The result may depend on the pool, the reference and the parameters alone. It is written to `output_dir`. Another rank,
        a later run and an unpickled copy read it there.
        """

    @abstractmethod
    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        """Scores examples of the pool. The result of an example must not depend on the others in the batch.

        Returns:
            For each example its `score`, `status`, `num_tokens` and the scorer's own columns. `status` is `ok`, `empty`,
            `truncated`, `error`, or the scorer's own reason for a missing score. An example that cannot be scored has
            `score` None.
        """

    def summary(self, table: pa.Table) -> dict[str, Any]:
        """Further entries for the card, computed from the scorer's own columns."""
        return {}

    def bind(self, pool: Pool, reference: Reference | None, heads: HeadSet | None, output_dir: str | Path) -> Self:
        """Returns a copy of the scorer that can score the rows of the pool.

        Args:
            reference: The reference model; None if the scorer needs none.
            heads: The reasoning heads; None if the scorer needs none.
            output_dir: Folder of the run. The results of `fit` are written there.
        """
        bound = self.attach(reference, heads)
        bound.check(pool)
        bound.fit(pool, Path(output_dir))
        return bound

    def attach(self, reference: Reference | None, heads: HeadSet | None) -> Self:
        """Returns a copy of the scorer with its inputs read. `bind` calls `check` and `fit` on it next."""
        bound = copy.copy(self)
        if not self._is_bound:
            vars(bound).update(vars(self))  # inputs that are already read; a bound scorer has values of another pool
        bound._is_bound = True
        bound._reference = reference if self.needs != "text" else None
        bound._heads = heads if self.needs == "heads" else None
        bound.read_inputs()
        return bound

    def __getstate__(self) -> dict[str, Any]:
        return {
            key: value
            for key, value in vars(self).items()
            if not isinstance(getattr(type(self), key, None), cached_property)
        }

    @property
    def reference(self) -> Reference:
        """The reference of a bound scorer."""
        if self._reference is None:
            raise ValueError(self._unbound("reference model", self.needs != "text"))
        return self._reference

    @property
    def model(self) -> PreTrainedModel:
        """The reference model of a bound scorer, in the dtype that `needs` asks for."""
        return self.reference.model(for_scores=not self.reads_losses)

    @property
    def reads_losses(self) -> bool:
        """Whether the scorer reads `losses/`. Its model is then in the dtype of losses, so that all losses are comparable."""
        return self.needs == "losses"

    @property
    def heads(self) -> HeadSet:
        """The reasoning heads of a bound scorer."""
        if self._heads is None:
            raise ValueError(self._unbound("heads", self.needs == "heads"))
        return self._heads

    def stored_passes(self) -> dict[str, Any]:
        """The passes over the pool that `fit` stores, which other scorers with the same settings read: folder and settings."""
        return {"losses": {}} if self.reads_losses else {}

    def _unbound(self, what: str, needed: bool) -> str:
        name = type(self).__name__
        if needed:
            return f"{name} has no {what}. Score with what `bind(pool, reference, heads, output_dir)` returns."
        return f"{name} has no {what}, because its class has `needs = {self.needs!r}`. Change `needs`."

    def parameters(self) -> dict[str, Any]:
        """The parameters of a bound scorer for the card: its fields, and the settings named in `reads_with`."""
        reading = self.reference.reading() if self.needs != "text" else {}
        read = {name: reading[name] for name in self.reads_with if name in reading}
        return read | {item.name: getattr(self, item.name) for item in fields(self) if item.init}


@dataclass(frozen=True)
class ScoreTable:
    """The scores of a pool: the shards of their table, in the pool's order; what cards say of them; and the card."""

    shards: ShardFolder
    figures: ScoreFigures
    card: dict[str, Any]

    @cached_property
    def table(self) -> pa.Table:
        """All rows, in memory."""
        return self.shards.read_all()

    @property
    def scores(self) -> np.ndarray:
        return self.table["score"].to_numpy()


def score_pool(
    pool: Pool,
    scorer: Scorer,
    name: str,
    reference: Reference | None,
    heads: HeadSet | None,
    output_dir: str | Path,
) -> ScoreTable:
    """Scores every usable row of the pool, in shards, into `scores/` and `scores.json`.

    Args:
        scorer: The scorer; this function binds it.
        name: The scorer's name on the card.
        reference: The reference model; None if the scorer needs none.
        heads: The reasoning heads; None if the scorer needs none.
        output_dir: Folder to write to.
    """
    started = time.monotonic()
    output_dir = Path(output_dir)
    bound = scorer.bind(pool, reference, heads, output_dir)
    schema = score_schema(bound)
    made_from = {
        "scorer": name,
        "parameters": bound.parameters(),
        "pool": pool.fingerprint,
        "model": bound.reference.describe(for_scores=not bound.reads_losses) if bound.needs != "text" else None,
        "heads": [list(head) for head in bound.heads.selected] if bound.needs == "heads" else None,
    }

    compute = partial(scored, scorer=bound)
    shards = run_row_shards(pool, output_dir / "scores", made_from, compute, "Scores", columns=schema)
    figures = score_figures(shards.tables(), len(pool))
    figures.check()
    own = bound.summary(shards.read_all()) if type(bound).summary is not Scorer.summary else {}
    card = score_card(figures, pool, made_from, own) | {"seconds": round(time.monotonic() - started, 2)}
    on_main_rank(lambda: write_card(output_dir / "scores.json", card))
    return ScoreTable(shards, figures, card)


def score_schema(scorer: Scorer) -> pa.Schema:
    """The columns of a scorer's table: those of every table, and its own."""
    schema = COLUMNS
    for column, kind in scorer.columns.items():
        schema = schema.append(pa.field(column, kind))
    return schema


def scored(examples: Sequence[Example], scorer: Scorer) -> pa.Table:
    """Scores examples with a bound scorer: their rows of `scores/`."""
    return score_table(examples, scorer.score_batch(examples), score_schema(scorer))


def score_table(examples: Sequence[Example], results: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Makes rows of `scores/` from examples and their results.

    Raises:
        ValueError: A result has a column that the scorer's class does not declare.
    """
    if unknown := sorted({name for result in results for name in result} - set(schema.names)):
        raise ValueError(
            f"The scorer gives columns that its class does not declare in `columns`: {', '.join(unknown)}."
        )
    rows = [
        {"uid": example.uid, "row": example.row} | result for example, result in zip(examples, results, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def score_card(
    figures: ScoreFigures, pool: Pool, made_from: dict[str, Any], summary: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Makes the content of `scores.json`, without the seconds."""
    scores, rows = figures.scores, pool.figures
    card = {
        **made_from,
        "pool": pool.describe(),
        "counts": figures.counts,
        "quantiles": quantiles(scores),
        **diagnostics(scores, figures.num_tokens, rows.difficulty),
        "rank_correlation_with_solution_length": solution_correlation(scores, rows.solution_characters, "characters"),
        "rank_correlations": what_scores_follow(
            scores, rows.problem_characters, rows.solution_characters, rows.solution_steps
        ),
        "mean_sink_share": nan_mean(figures.sink_share),
        **(summary or {}),
        **rows.sample(),
        "versions": library_versions(),
    }
    return sealed(card)
