"""Which metrics follow from verdicts? Pass@1, pass@k, Majority@n, and their intervals."""

from collections import Counter
from collections.abc import Hashable, Sequence
from math import comb, sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np

TieRule = Literal["expected", "first"]
Interval = tuple[float, float]
# How each vote breaks a tie. Select2Reason's evaluation code votes over raw strings and takes the first.
TIE_RULES: dict[str, TieRule] = {"classes": "expected", "raw": "first"}
_Z = NormalDist().inv_cdf(0.975)


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Probability that one of k samples, drawn without replacement from `num_samples`, is right (Chen et al. 2021)."""
    if not 1 <= k <= num_samples or not 0 <= num_correct <= num_samples:
        raise ValueError(f"Cannot compute pass@{k} from {num_correct} right of {num_samples} samples.")
    return 1 - comb(num_samples - num_correct, k) / comb(num_samples, k)


def majority(classes: Sequence[Hashable | None], correct: Sequence[bool], ties: TieRule = "expected") -> float:
    """Whether the most frequent answer is right.

    Args:
        classes: Class of each sample's answer. None is no answer, which has no vote.
        correct: Verdict on each sample. The verdict on a class is that on its first sample.
        ties: `expected` is the share of right classes among the most frequent ones, the expectation of a fair draw.
            `first` takes the class that comes first, as Select2Reason's evaluation does.
    """
    votes = Counter(name for name in classes if name is not None)
    if not votes:
        return 0.0
    verdict_of: dict[Hashable, bool] = {}
    for name, right in zip(classes, correct, strict=True):
        verdict_of.setdefault(name, right)
    most = max(votes.values())
    leaders = [name for name, count in votes.items() if count == most]
    if ties == "first":
        return float(verdict_of[leaders[0]])
    return sum(verdict_of[name] for name in leaders) / len(leaders)


def wilson_interval(num_right: float, total: int) -> Interval:
    """95% interval of a share of `total` problems (Wilson 1927). It has a width even if none or all are right."""
    share = num_right / total
    middle, half = share + _Z * _Z / (2 * total), _Z * sqrt(share * (1 - share) / total + (_Z / (2 * total)) ** 2)
    scale = 1 + _Z * _Z / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def mean_interval(values: Sequence[float]) -> Interval:
    """95% interval of the mean over problems.

    It is Wilson's if every value is 0 or 1, or if all are equal, where the bootstrap has no width. A share of right samples
    varies less than a single verdict, so Wilson's interval is then rather too wide. Otherwise it is the bootstrap's.
    """
    if len(set(values)) == 1 or all(value in (0.0, 1.0) for value in values):
        return wilson_interval(sum(values), len(values))
    return bootstrap_interval(values)


def difference_interval(differences: Sequence[float]) -> Interval:
    """95% interval of the mean difference over problems: the bootstrap's, or Agresti and Min's (2005) if all are equal.

    Theirs is the normal interval after one problem more of each kind, with a weight of half: won, lost, right twice, wrong twice.
    """
    if len(set(differences)) > 1:
        return bootstrap_interval(differences)
    total, added = sum(differences), len(differences) + 2
    squares = sum(each * each for each in differences) + 1
    middle, half = total / added, _Z * sqrt(squares - total * total / added) / added
    return max(-1.0, middle - half), min(1.0, middle + half)


def combined_interval(means: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """95% interval of the mean of independent means, from their own intervals (Zou and Donner 2008).

    Its distance from the mean is the root of the summed squares of their distances, on each side. So it has a width wherever
    they have one, and for one mean it is the mean's own interval.
    """
    middle, number = sum(means) / len(means), len(means)
    below = sqrt(sum((mean - low) ** 2 for mean, (low, _) in zip(means, intervals, strict=True))) / number
    above = sqrt(sum((high - mean) ** 2 for mean, (_, high) in zip(means, intervals, strict=True))) / number
    return middle - below, middle + above


def bootstrap_interval(values: Sequence[float], *, seed: int = 0, num_resamples: int = 10_000) -> Interval:
    """95% interval of the mean over problems. Whole problems are resampled, since samples of one problem are correlated."""
    rng = np.random.default_rng(seed)
    array = np.asarray(values, dtype=np.float64)
    means = np.concatenate(
        [rng.choice(array, size=(rows, len(array))).mean(axis=1) for rows in _blocks(num_resamples, len(array))]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _blocks(total: int, width: int) -> list[int]:
    rows = max(1, 1_000_000 // width)
    return [min(rows, total - start) for start in range(0, total, rows)]


def average_interval(benchmarks: Sequence[Sequence[float]]) -> Interval:
    """95% interval of the unweighted mean over benchmarks, from the interval of each."""
    means = [sum(values) / len(values) for values in benchmarks]
    return combined_interval(means, [mean_interval(values) for values in benchmarks])
