"""How are the scores of several methods combined? Reads them from their folders and adds them up: the method `combine`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from circuitseer_trl.checks import check_choice, is_number
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Row, Scorer
from circuitseer_trl.scoring.combination import Normalisation, weighted_scores
from circuitseer_trl.scoring.score_folder import read_score_folder


@dataclass(frozen=True)
class StoredScores:
    """The scores in a folder: the card, and by uid each row's score (NaN if it has none) and number of tokens."""

    card: dict[str, Any]
    scores: dict[str, float]
    num_tokens: dict[str, int | None]


def read_scores(folder: str) -> StoredScores:
    """Reads the scores in an output folder of `score-pool` or `select-data`: those in `scores/`, before any combination."""
    found = read_score_folder(folder)
    table, uids = found.table, found.table["uid"].to_pylist()
    return StoredScores(
        found.card,
        dict(zip(uids, table["score"].to_numpy().tolist(), strict=True)),
        dict(zip(uids, table["num_tokens"].to_pylist(), strict=True)),
    )


@dataclass
class StoredScorer(Scorer):
    """Scores a row by a weighted sum of its scores in other folders.

    A row without a score in one of the folders has the status `missing`. `scores` has the scores of the folders as they are;
    `num_tokens` is that of the first folder that has it.

    Attributes:
        folders: Output folders of `score-pool` or `select-data`, all of the same pool.
        weights: One weight for each folder; None is 1 for all. Use a weight below 0 if low scores are the good ones.
        normalise: `rank` adds ranks in (0, 1), where the highest score has the highest rank. `z_score` adds distances from the
            mean in standard deviations.
    """

    columns: ClassVar[dict[str, pa.DataType]] = {"scores": pa.list_(pa.float64())}

    folders: list[str] = field(default_factory=list)
    weights: list[float] | None = None
    normalise: Normalisation = "rank"

    def __post_init__(self) -> None:
        check_choice("normalise", self.normalise, Normalisation)
        if not isinstance(self.folders, list) or len(self.folders) < 2:
            raise ValueError(
                "`method: combine` needs at least two folders of scores. Set `method_args: {folders: [RUN, RUN]}`, got "
                f"{self.folders!r}."
            )
        if not isinstance(self.all_weights, list) or len(self.all_weights) != len(self.folders):
            raise ValueError(
                f"`weights` must be a list of {len(self.folders)} numbers, one for each folder, got {self.all_weights!r}."
            )
        for weight in self.all_weights:
            if not is_number(weight) or weight == 0:
                raise ValueError(f"`weights` must be numbers other than 0, got {weight!r}.")

    @property
    def all_weights(self) -> list[float]:
        return [1.0] * len(self.folders) if self.weights is None else self.weights

    @cached_property
    def stored(self) -> list[StoredScores]:
        """The scores in each folder."""
        stored = [read_scores(folder) for folder in self.folders]
        pools = [each.card["pool"]["fingerprint"] for each in stored]
        if len(set(pools)) > 1:
            of = ", ".join(f"{folder}: {pool}" for folder, pool in zip(self.folders, pools, strict=True))
            raise ValueError(
                f"The `folders` have scores of different pools (fingerprints: {of}). Give folders of one pool."
            )
        return stored

    @cached_property
    def combined(self) -> dict[str, float]:
        """The weighted sum of each row's scores, by uid."""
        uids = list(self.stored[0].scores)
        columns = [np.array([stored.scores.get(uid, np.nan) for uid in uids]) for stored in self.stored]
        combined = weighted_scores(columns, self.all_weights, self.normalise, self.folders)
        return dict(zip(uids, combined.tolist(), strict=True))

    def read_inputs(self) -> None:
        self.combined  # noqa: B018

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"scores_fingerprints": [stored.card["fingerprint"] for stored in self.stored]}

    def check(self, pool: Pool) -> None:
        made_from = self.stored[0].card["pool"]["fingerprint"]
        if made_from != pool.fingerprint:
            raise ValueError(
                f"The scores in {self.folders[0]} are of another pool (fingerprint {made_from}) than this one ({pool.name}, "
                f"{pool.fingerprint}). Use the data recipe that they were made with."
            )

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        rows: list[Row] = []
        for example in batch:
            score = self.combined.get(example.uid, np.nan)
            known = bool(np.isfinite(score))
            values = [stored.scores.get(example.uid, np.nan) for stored in self.stored]
            lengths = [stored.num_tokens.get(example.uid) for stored in self.stored]
            rows.append(
                {
                    "score": score if known else None,
                    "status": "ok" if known else "missing",
                    "num_tokens": next((length for length in lengths if length is not None), None),
                    "scores": [value if np.isfinite(value) else None for value in values],
                }
            )
        return rows
