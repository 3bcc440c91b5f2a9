"""Which metrics follow from verdicts? Pass@1, pass@k, Majority@n, and their intervals."""

from collections import Counter
from collections.abc import Hashable, Sequence
from math import comb, sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np

TieRule = Literal["expected", "first"]
Interval = tuple[float, float]


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
            `first` takes the class that comes first, as the paper's evaluation does.
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


def wilson_interval(num_right: int, total: int) -> Interval:
    """95% interval of a share (Wilson 1927). It has a width even if none or all are right."""
    z, share = NormalDist().inv_cdf(0.975), num_right / total
    middle, half = share + z * z / (2 * total), z * sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    scale = 1 + z * z / total
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def mean_interval(values: Sequence[float]) -> Interval:
    """95% interval of the mean over problems: Wilson's if every value is 0 or 1, otherwise the bootstrap's."""
    if all(value in (0.0, 1.0) for value in values):
        return wilson_interval(round(sum(values)), len(values))
    return bootstrap_interval(values)


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


def average_interval(benchmarks: Sequence[Sequence[float]], *, seed: int = 0, num_resamples: int = 10_000) -> Interval:
    """95% interval of the unweighted mean over benchmarks. The problems of each benchmark are resampled separately.

    A single benchmark has its own interval, as in `mean_interval`.
    """
    if len(benchmarks) == 1:
        return mean_interval(benchmarks[0])
    rng = np.random.default_rng(seed)
    means = np.zeros(num_resamples)
    for values in benchmarks:
        array = np.asarray(values, dtype=np.float64)
        resampled = [
            rng.choice(array, size=(rows, len(array))).mean(axis=1) for rows in _blocks(num_resamples, len(array))
        ]
        means += np.concatenate(resampled) / len(benchmarks)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
