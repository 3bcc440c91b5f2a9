"""Each query takes its most similar row in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from circuitseer_trl.sampling.base import Sampler


@dataclass
class RoundRobinSampler(Sampler):
    """Lets each query in turn take the most similar row that no query has taken yet (RDS+, Ivison et al. 2025).

    Queries take turns in their order. Ties go to the smaller uid. The seed has no effect.
    """

    needs: ClassVar[tuple[str, ...]] = ("similarities",)

    @property
    def nested(self) -> bool:
        return True

    def choose(
        self, scores: np.ndarray, uids: Sequence[str], size: int, seed: int, columns: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        assert columns is not None
        similarities, names = np.stack([np.asarray(row) for row in columns["similarities"]]), np.asarray(uids)
        # The first `size` of a query are enough: the others can take at most `size` - 1 of them.
        queues = [iter(np.lexsort((names, -column))[:size].tolist()) for column in similarities.T]
        taken: dict[int, None] = {}
        while len(taken) < size:
            for queue in queues:
                taken[next(row for row in queue if row not in taken)] = None
                if len(taken) == size:
                    break
        return np.array(list(taken)), np.ones(size)
