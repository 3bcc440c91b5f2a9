"""How sure is a mean if seeds and problems vary? Intervals that cover all of them.

A difference between two methods is measured for every selection seed, training seed and problem. All three are random draws:
other seeds and other problems would give another mean. An interval over problems alone, or over seeds alone, is too short.

The variance of the mean comes from the analysis of variance of crossed random effects (Searle, Casella and McCulloch, Variance
Components, 1992, chapter 4), the degrees of freedom from Satterthwaite (Biometrics Bulletin 2, 1946).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

# A selection seeds, T training seeds, P problems, B benchmarks
FACTORS = ("selection seeds", "training seeds", "problems")
PROBLEMS = 2  # the axis that differs between benchmarks
ROUNDING = 1e-12  # equal values such as 1/3 differ from their rounded mean by less than this share of them


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty.

    Attributes:
        mean: The unweighted mean over benchmarks.
        interval: Its confidence interval.
        p_value: Of the hypothesis that the true mean is 0, two-sided.
        standard_error: Of the mean.
        degrees_of_freedom: Of the t distribution behind interval and p-value.
        varied: What the interval covers: the factors of `FACTORS` with more than one value.
    """

    mean: float
    interval: tuple[float, float]
    p_value: float
    standard_error: float
    degrees_of_freedom: float
    varied: tuple[str, ...]


@dataclass(frozen=True)
class _Term:
    """A mean square over the number of values: one summand of the variance of the mean."""

    axes: tuple[int, ...]
    value: float
    degrees_of_freedom: int


def _term(values: np.ndarray, axes: tuple[int, ...], weight: float) -> _Term:
    """The term of a main effect or interaction.

    Args:
        values (`np.ndarray` of shape `(A, T, P)`): Values of one benchmark, or their means with `P` = 1.
        axes: Axes of the effect.
    """
    effect = values.mean(axis=tuple(set(range(values.ndim)) - set(axes)), keepdims=True)
    for axis in axes:
        effect = effect - effect.mean(axis=axis, keepdims=True)
    degrees = math.prod(values.shape[axis] - 1 for axis in axes)
    cells = math.prod(values.shape[axis] for axis in axes)
    return _Term(axes, weight * float((effect**2).sum()) / degrees / cells, degrees)


def crossed_mean(benchmarks: Sequence[np.ndarray], level: float = 0.95) -> Estimate:
    """The unweighted mean over benchmarks, for selection seeds, training seeds and problems that are random draws.

    Args:
        benchmarks (`B` `np.ndarray` of shape `(A, T, P)`): Values of each benchmark, such as differences between two methods
            for the same seeds and problems. `A` and `T` are the same for all benchmarks.
        level: Of the interval.

    Raises:
        ValueError: Shapes do not fit, a value is not finite, or a benchmark has fewer than two problems.
    """
    arrays = [np.asarray(values, dtype=np.float64) for values in benchmarks]
    if len({values.shape[:PROBLEMS] for values in arrays}) != 1 or any(values.ndim != 3 for values in arrays):
        shapes = ", ".join(str(values.shape) for values in arrays)
        raise ValueError(f"Values must have the shape (selection seeds, training seeds, problems), got {shapes}.")
    if not all(np.isfinite(values).all() for values in arrays):
        raise ValueError("A value is not finite. Each seed needs a value for each problem.")
    if min(values.shape[PROBLEMS] for values in arrays) < 2:
        raise ValueError("A benchmark has fewer than two problems, which leave their variance unknown.")
    seeds = np.mean([values.mean(axis=PROBLEMS, keepdims=True) for values in arrays], axis=0)  # (A, T, 1)
    varied = tuple(axis for axis in range(3) if axis == PROBLEMS or seeds.shape[axis] > 1)
    terms = []
    for size in range(1, len(varied) + 1):
        for axes in combinations(varied, size):
            if PROBLEMS in axes:  # problems of different benchmarks are different draws
                terms += [_term(values, axes, 1 / len(arrays) ** 2) for values in arrays]
            else:
                terms.append(_term(seeds, axes, 1.0))
    # Each interaction is in the mean squares of all of its main effects; signs alternate so that it counts once.
    variance = sum(term.value * (-1) ** (len(term.axes) - 1) for term in terms)
    # By chance the difference can be too small, or negative. It is no smaller than the largest main effect.
    mains = [sum(term.value for term in terms if term.axes == (axis,)) for axis in varied]
    variance = max(variance, *mains)
    mean = float(seeds.mean())
    names = tuple(FACTORS[axis] for axis in varied)
    if math.sqrt(variance) <= ROUNDING * max(float(abs(values).max()) for values in arrays):
        half = _unseen([values.shape[PROBLEMS] for values in arrays], level)
        return Estimate(mean, (mean - half, mean + half), 1.0 if mean == 0 else 0.0, 0.0, math.inf, names)
    degrees = variance**2 / sum(term.value**2 / term.degrees_of_freedom for term in terms)
    error = math.sqrt(variance)
    half = float(stats.t.ppf((1 + level) / 2, degrees)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, degrees))
    return Estimate(mean, (mean - half, mean + half), p_value, error, float(degrees), names)


def _unseen(num_problems: list[int], level: float) -> float:
    """Half the width of an interval where no value differs from another.

    A share of problems that none of `P` shows is at most 1 - (1 - level)^(1/P) (Clopper and Pearson, Biometrika 26, 1934);
    such a problem could change a share by 1.
    """
    return sum(1 - (1 - level) ** (1 / number) for number in num_problems) / len(num_problems)


def detectable_difference(standard_error: float, degrees_of_freedom: float, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided test at 5% finds with this power, in the unit of the error."""
    quantiles = stats.t.ppf([0.975, power], degrees_of_freedom)
    return float(quantiles.sum()) * standard_error


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values that hold for all hypotheses together (Holm, Scandinavian Journal of Statistics 6, 1979), in their order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted
