"""What does a card say of a table of scores? Found in one pass over its shards."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from circuitseer_trl.distributed.shards import MAX_ERROR_SHARE
from circuitseer_trl.pool.figures import sampled


@dataclass(frozen=True)
class ScoreFigures:
    """What cards say of scores. The arrays have one value for each sampled row, as those of `PoolFigures`.

    Attributes:
        counts: Number of rows of each status in the whole table.
        failed: uids of the first rows that ended in an error.
        scores: NaN for a row without a score.
        num_tokens: Length of the text that was scored; NaN if it is not known.
        sink_share: Share of attention on the first token; NaN without attention.
    """

    counts: dict[str, int]
    failed: list[str]
    scores: np.ndarray
    num_tokens: np.ndarray
    sink_share: np.ndarray

    def check(self) -> None:
        """Raises if the share of rows with an error is above `MAX_ERROR_SHARE`."""
        failed, total = self.counts.get("error", 0), sum(self.counts.values())
        if failed > MAX_ERROR_SHARE * total:
            raise ValueError(
                f"{failed} of {total} rows have no finite score, for instance {self.failed}. Check the reference model "
                "(are its weights complete?). If its dtype is float16, set `reference_dtype: float32`."
            )


def score_figures(tables: Iterable[pa.Table], num_rows: int) -> ScoreFigures:
    """Makes the figures of a table of scores.

    Args:
        tables: Its shards, in the pool's order.
        num_rows: Number of all rows.
    """
    counts: Counter[str] = Counter()
    failed: list[str] = []
    columns: dict[str, list[np.ndarray]] = {"score": [], "num_tokens": [], "sink_share": []}
    start = 0
    for table in tables:
        status = table["status"].to_pylist()
        counts.update(status)
        if len(failed) < 3 and "error" in status:
            failed += [uid for uid, each in zip(table["uid"].to_pylist(), status, strict=True) if each == "error"]
        mask = sampled(start, start + len(table), num_rows)
        start += len(table)
        for name, parts in columns.items():
            parts.append(table[name].to_numpy()[mask])
    values = {name: np.concatenate(parts) for name, parts in columns.items()}
    return ScoreFigures(
        dict(sorted(counts.items())), failed[:3], values["score"], values["num_tokens"], values["sink_share"]
    )
