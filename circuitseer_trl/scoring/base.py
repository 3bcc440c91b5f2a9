"""What an example is worth: what every scorer does, and the runner that does the rest."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import fingerprint, library_versions, write_card
from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.distributed.shards import MAX_ERROR_SHARE, run_shards
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.diagnostics import diagnostics, nan_mean, quantiles

Row = dict[str, float | int | str | list[float] | list[float | None] | None]

ROWS_PER_SHARD = 1024
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
    """Maps examples to numbers. Fields are its parameters, which the card records.

    Subclasses say what they need (`uses_reference`, `uses_heads`; `uses_losses` for the model in the dtype of losses;
    `uses_gradients` where forwards do not tell how much memory it takes) and which columns they add to those of every table.
    """

    columns: ClassVar[dict[str, pa.DataType]] = {}
    uses_reference: ClassVar[bool] = True
    uses_heads: ClassVar[bool] = False
    uses_losses: ClassVar[bool] = False
    uses_gradients: ClassVar[bool] = False

    def check(self, pool: Pool) -> None:  # noqa: B027
        """Meets the whole pool before any work, in a dry run, too: raises where the scorer's own inputs do not belong to it."""

    def fit(self, pool: Pool, reference: Reference | None, output_dir: Path) -> None:  # noqa: B027
        """Looks at the whole pool before any row is scored, on every rank; most scorers have no need to.

        What it finds may only depend on the pool, the reference model and the parameters.
        """

    @abstractmethod
    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        """Scores examples; a row's result may not depend on the others.

        Returns:
            For each example its `score`, `status` (`ok`, `empty`, `truncated`, `error`, or the scorer's own reason to give
            none), `num_tokens` and the scorer's own columns. A row that cannot be scored has `score` None.
        """

    def parameters(self) -> dict[str, Any]:
        return asdict(self)

    def summary(self, table: pa.Table) -> dict[str, Any]:
        """What the card says besides, of the scorer's own columns."""
        return {}


@dataclass(frozen=True)
class ScoreTable:
    """The scores of a pool: the Parquet rows in the pool's order, and the card."""

    table: pa.Table
    card: dict[str, Any]

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
        pool: The pool.
        scorer: What to score by.
        name: The scorer's name for the card.
        reference: The model to look into, where the scorer needs one.
        heads: The heads to look at, where the scorer needs them.
        output_dir: Folder to write to.
    """
    started = time.monotonic()
    output_dir = Path(output_dir)
    schema = COLUMNS
    for column, kind in scorer.columns.items():
        schema = schema.append(pa.field(column, kind))

    def compute(shard: int) -> pa.Table:
        examples = pool.take(range(shard * ROWS_PER_SHARD, min((shard + 1) * ROWS_PER_SHARD, len(pool))))
        results = scorer.score_batch(examples, reference, heads)
        rows = [
            {"uid": example.uid, "row": example.row} | result for example, result in zip(examples, results, strict=True)
        ]
        return pa.Table.from_pylist(rows, schema=schema)

    scorer.check(pool)
    scorer.fit(pool, reference, output_dir)
    made_from = {
        "scorer": name,
        "parameters": scorer.parameters(),
        "pool": pool.fingerprint,
        "model": reference.describe(for_scores=not scorer.uses_losses)
        if reference is not None and scorer.uses_reference
        else None,
        "heads": [list(head) for head in heads.selected] if heads is not None else None,
    }
    num_shards = -(-len(pool) // ROWS_PER_SHARD)
    table = run_shards(output_dir / "scores", num_shards, made_from, compute, "Scores")
    check_scores(table)
    card = score_card(table, pool, made_from, scorer.summary(table)) | {"seconds": round(time.monotonic() - started, 2)}
    on_main_rank(lambda: write_card(output_dir / "scores.json", card))
    return ScoreTable(table, card)


def check_scores(table: pa.Table) -> None:
    """Raises where more rows than `MAX_ERROR_SHARE` could not be scored because of an error."""
    failed = [
        uid
        for uid, status in zip(table["uid"].to_pylist(), table["status"].to_pylist(), strict=True)
        if status == "error"
    ]
    if len(failed) > MAX_ERROR_SHARE * len(table):
        raise ValueError(
            f"{len(failed)} of {len(table)} rows have no finite score, for instance {failed[:3]}. Check the reference model "
            "(are its weights whole?); if its dtype is float16, set `reference_dtype: float32`."
        )


def score_card(
    table: pa.Table, pool: Pool, made_from: dict[str, Any], summary: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What `scores.json` says, without the seconds."""
    scores, tokens = table["score"].to_numpy(), table["num_tokens"].to_numpy()
    status = table["status"].to_pylist()
    card = {
        **made_from,
        "pool": pool.describe(),
        "counts": {key: status.count(key) for key in sorted(set(status))},
        "quantiles": quantiles(scores),
        **diagnostics(scores, tokens, pool.difficulty),
        "mean_sink_share": nan_mean(table["sink_share"].to_numpy()),
        **(summary or {}),
        "versions": library_versions(),
    }
    return card | {"fingerprint": fingerprint(card)}
