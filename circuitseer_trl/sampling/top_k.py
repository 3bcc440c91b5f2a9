"""The highest or the lowest scores, without randomness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitseer_trl.sampling.base import Sampler


@dataclass
class TopKSampler(Sampler):
    """Takes the highest scores, or with `lowest` the lowest scores. Ties go to the smaller uid. The seed has no effect."""

    lowest: bool = False

    @property
    def nested(self) -> bool:
        return True

    @property
    def merges(self) -> bool:
        return True

    def choose(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        order = np.lexsort((np.asarray(uids), scores if self.lowest else -scores))[:size]
        return order, np.ones(size)
