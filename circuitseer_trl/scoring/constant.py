"""What does a random draw give? The control that every method has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass

from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.base import Row, Scorer


@dataclass
class ConstantScorer(Scorer):
    """Scores every example 1, so that soft sampling is a uniform draw: the baseline `random`."""

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        return [{"score": 1.0, "status": "ok"} for _ in batch]
