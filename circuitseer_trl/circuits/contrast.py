"""Which heads do hard rows need, and easy rows not? The importance of heads by contrast (ours)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitseer_trl.configs import PartBy
from circuitseer_trl.pool.rows import Example

# Nats per token. A head that easy rows need less than this counts as if they needed it this much: a ratio to nearly nothing says
# nothing.
FLOOR_NATS = 0.01
MIN_THIRD = 2  # rows of a third, for a standard error
SETTLING_DRAWS = 100
SETTLED_OVERLAP = 0.9


@dataclass(frozen=True)
class Contrast:
    """How a probe is parted, and heads are compared over its parts.

    Attributes:
        part_by: What parts the probe into thirds: `loss`, its base loss, or `difficulty`, the pool's `difficulty_column`.
        floor_nats: The smallest mean rise on the easiest third that counts, in nats per token.
    """

    part_by: PartBy = "loss"
    floor_nats: float = FLOOR_NATS

    def check_probe(self, probe: Sequence[Example]) -> None:
        """Raises if a probe cannot be parted, as far as that is known before its losses are."""
        if self.part_by == "difficulty":
            check_parts(marked_difficulty(probe), "difficulty")
        else:
            check_parts(np.arange(len(probe)), "loss")

    def values(self, increases: np.ndarray, difficulty: np.ndarray) -> np.ndarray:
        """The mean rise of the loss on the hardest third of a probe over that on its easiest third, for each head.

        Args:
            increases (`np.ndarray` of shape `(E, H)`): Loss increase of each head on each example, in nats per token.
            difficulty (`np.ndarray` of shape `(E,)`): As in `easy_and_hard`.

        Returns:
            `np.ndarray` of shape `(H,)`: A ratio, without a unit.
        """
        easy, hard = easy_and_hard(difficulty)
        return increases[hard].mean(axis=0) / np.maximum(increases[easy].mean(axis=0), self.floor_nats)

    def standard_error(self, increases: np.ndarray, difficulty: np.ndarray) -> np.ndarray:
        """Standard error of `values` to first order (the delta method): the parts of the probe are given, their rows vary.

        Where the floor is the divisor, it does not vary.
        """
        easy, hard = (increases[part] for part in easy_and_hard(difficulty))
        divisor = easy.mean(axis=0)
        of_hard, of_easy = (part.var(axis=0, ddof=1) / len(part) for part in (hard, easy))
        ratio = self.values(increases, difficulty)
        of_divisor = np.where(divisor > self.floor_nats, ratio**2 * of_easy, 0.0)
        return np.sqrt(of_hard + of_divisor) / np.maximum(divisor, self.floor_nats)

    def card(self, increases: np.ndarray, difficulty: np.ndarray, size: int, grid: tuple[int, int]) -> dict[str, Any]:
        """Makes the entry `contrast` of `heads.json`, for `size` selected heads."""
        easy, hard = easy_and_hard(difficulty)
        return {
            "part_by": self.part_by,
            "floor_nats": self.floor_nats,
            "num_easy": len(easy),
            "num_hard": len(hard),
            "difficulty_easy": float(difficulty[easy].mean()),
            "difficulty_hard": float(difficulty[hard].mean()),
            "values": self.values(increases, difficulty).reshape(grid).tolist(),
            "standard_error": self.standard_error(increases, difficulty).reshape(grid).tolist(),
            "settling": self._settling(increases, difficulty, size),
        }

    def _settling(self, increases: np.ndarray, difficulty: np.ndarray, size: int) -> dict[str, Any]:
        """At which size of the probe do the heads settle? Mean overlap of smaller probes' heads with those of the whole.

        The smaller probes are drawn from the whole one without replacement. So the sizes near it overlap by construction.
        """
        rng, whole = np.random.default_rng(0), _top(self.values(increases, difficulty), size)
        overlaps = {}
        for eighths in range(2, 8):
            number = len(increases) * eighths // 8
            if number // 3 < 1 or number in overlaps:
                continue
            draws = (rng.choice(len(increases), number, replace=False) for _ in range(SETTLING_DRAWS))
            shares = [len(whole & _top(self.values(increases[d], difficulty[d]), size)) / size for d in draws]
            overlaps[number] = round(float(np.mean(shares)), 3)
        settled = [number for number, share in overlaps.items() if share >= SETTLED_OVERLAP]
        return {
            "meaning": f"mean overlap of the heads of {SETTLING_DRAWS} smaller probes, drawn from this one, with its own",
            "overlap": {str(number): share for number, share in overlaps.items()},
            "num_probe_settled": min(settled, default=None),
        }


def marked_difficulty(probe: Sequence[Example]) -> np.ndarray:
    """The difficulties of a probe's rows by the pool's `difficulty_column`; NaN for a row without one."""
    return np.array([math.nan if example.difficulty is None else example.difficulty for example in probe])


def check_parts(difficulty: np.ndarray, part_by: str) -> None:
    """Raises if a probe cannot be parted into an easy and a hard third."""
    if missing := int((~np.isfinite(difficulty)).sum()):
        raise ValueError(
            f"{missing} of {len(difficulty)} probe examples have no {part_by}, so they are neither easy nor hard. Set "
            "`difficulty_column`, or `part_by: loss`."
        )
    easy, hard = easy_and_hard(difficulty)
    if len(easy) < MIN_THIRD:
        raise ValueError(
            f"The probe has {len(difficulty)} examples, and `criterion: contrast` compares thirds of it. Raise `probe_size` to "
            f"{3 * MIN_THIRD} at the least; the heads of small probes are unstable."
        )
    if difficulty[easy].max() >= difficulty[hard].min():
        raise ValueError(
            f"The easiest and the hardest third of the probe have the same {part_by} ({difficulty[hard].min():g}), so they "
            "cannot be told apart. Set `part_by: loss`, or raise `probe_size`."
        )


def easy_and_hard(difficulty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the easiest and of the hardest third of a probe, each of the floor of a third of its rows.

    Args:
        difficulty (`np.ndarray` of shape `(E,)`): The base loss of each example, or another mark of difficulty. Ties go to the
            earlier example.
    """
    size = len(difficulty) // 3
    order = np.argsort(difficulty, kind="stable")
    return order[:size], order[len(order) - size :]


def _top(values: np.ndarray, size: int) -> set[int]:
    return set(np.argsort(-values, kind="stable")[:size].tolist())
