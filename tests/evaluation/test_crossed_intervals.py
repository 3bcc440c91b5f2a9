"""Intervals over seeds and problems: by hand, by slow sums, and by how often they cover the truth."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from bench.coverage import coverage
from circuitseer_trl.evaluation.crossed_intervals import crossed_mean, detectable_difference, holm


def test_two_seeds_and_two_problems_by_hand():
    # Seeds' means 2 and 5, problems' means 2 and 5, grand mean 3.5; residuals 1/2, -1/2, -1/2, 1/2... with values 1 3 / 3 7.
    values = np.array([[[1.0, 3.0]], [[3.0, 7.0]]])  # two selection seeds, one training seed, two problems
    estimate = crossed_mean([values])
    # Mean squares: seeds 2 (1.5^2 + 1.5^2) = 9; problems 9; residual 4 * 0.5^2 = 1. Variance (9 + 9 - 1) / 4.
    variance = 17 / 4
    degrees = variance**2 / ((9 / 4) ** 2 + (9 / 4) ** 2 + (1 / 4) ** 2)
    assert estimate.mean == 3.5
    assert estimate.standard_error == pytest.approx(variance**0.5)
    assert estimate.degrees_of_freedom == pytest.approx(degrees)
    assert estimate.varied == ("selection seeds", "problems")


def slow_variance(benchmarks: list[np.ndarray]) -> float:
    """Inclusion and exclusion over variances of means, each by plain loops over cells."""

    def variance_of_means(values: np.ndarray, axes: tuple[int, ...]) -> float:
        cells = {key: [] for key in product(*(range(values.shape[axis]) for axis in axes))}
        for place in np.ndindex(values.shape):
            cells[tuple(place[axis] for axis in axes)].append(values[place])
        means = {key: sum(cell) / len(cell) for key, cell in cells.items()}

        def marginal(key: tuple[int, ...], kept: tuple[int, ...]) -> float:
            same = [mean for other, mean in means.items() if all(other[i] == key[i] for i in kept)]
            return sum(same) / len(same)

        total = 0.0
        for key in means:
            subsets = product([False, True], repeat=len(axes))
            effect = sum(
                (-1) ** (len(axes) - sum(subset)) * marginal(key, tuple(i for i, inside in enumerate(subset) if inside))
                for subset in subsets
            )
            total += effect**2
        return total / np.prod([values.shape[axis] - 1 for axis in axes]) / len(means)

    number = len(benchmarks)
    averaged = sum(values.mean(axis=2, keepdims=True) for values in benchmarks) / number
    variance = sum(variance_of_means(averaged, (axis,)) for axis in (0, 1)) - variance_of_means(averaged, (0, 1))
    for values in benchmarks:
        mains = variance_of_means(values, (2,))
        pairs = variance_of_means(values, (0, 2)) + variance_of_means(values, (1, 2))
        variance += (mains - pairs + variance_of_means(values, (0, 1, 2))) / number**2
    return variance


def test_three_factors_and_two_benchmarks_by_loops():
    rng = np.random.default_rng(0)
    selection, training = rng.normal(size=(3, 1, 1)), rng.normal(size=(1, 2, 1))  # shared by the benchmarks
    benchmarks = [
        selection + training + rng.normal(size=(1, 1, size)) + rng.normal(size=(3, 2, size)) for size in (4, 5)
    ]
    estimate = crossed_mean(benchmarks)
    assert estimate.standard_error**2 == pytest.approx(slow_variance(benchmarks))
    assert estimate.mean == pytest.approx(np.mean([values.mean() for values in benchmarks]))
    assert estimate.varied == ("selection seeds", "training seeds", "problems")


def test_problems_alone_give_the_t_interval():
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0, -1.0])
    low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    estimate = crossed_mean([values[None, None]])
    assert estimate.interval == pytest.approx((low, high))
    assert estimate.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert estimate.varied == ("problems",)


def test_equal_values_have_no_empty_interval():
    low, high = crossed_mean([np.zeros((3, 1, 100))]).interval
    # A kind of problem with a share of 2.95% stays out of 100 problems with a chance of 5%.
    assert high == -low == pytest.approx(1 - 0.05 ** (1 / 100))


@pytest.mark.parametrize("value", [1 / 3, 0.1, 0.7])
@pytest.mark.parametrize("shape", [(1, 1, 30), (3, 1, 300), (3, 2, 40)])
def test_equal_fractions_have_no_empty_interval(value: float, shape: tuple[int, int, int]):
    """Their mean is rounded, so they differ from it in the last digits."""
    estimate = crossed_mean([np.full(shape, value)])
    low, high = estimate.interval
    assert (high - low) / 2 == pytest.approx(1 - 0.05 ** (1 / shape[2]))
    assert estimate.standard_error == 0


def test_small_values_that_differ_have_their_own_interval():
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0, -1.0])[None, None]
    assert crossed_mean([1e-9 * values]).interval == pytest.approx(
        [1e-9 * end for end in crossed_mean([values]).interval]
    )


def test_interval_covers_where_one_over_problems_does_not():
    both, problems = coverage(5, (0.06, 0.3, 0.5), 300, 400, seed=2)
    assert both >= 0.92  # 0.93, less two standard errors
    assert problems < 0.88


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [3, 5, 12])
@pytest.mark.parametrize(
    ("sds", "num_problems"),
    [
        ((0.0, 0.3, 0.5), 300),
        ((0.01, 0.3, 0.5), 300),
        ((0.03, 0.3, 0.5), 300),
        ((0.06, 0.3, 0.5), 300),
        ((0.03, 0.0, 0.5), 300),
        ((0.03, 0.1, 0.5), 90),
        ((0.03, 0.3, 0.5), 30),
    ],
)
def test_coverage(num_seeds, sds, num_problems):
    assert coverage(num_seeds, sds, num_problems, 4000, seed=3)[0] >= 0.93


def test_detectable_difference_is_found_with_its_power():
    # Known error 1 and normal quantiles: 1.96 + 0.84.
    assert detectable_difference(1.0, np.inf) == pytest.approx(2.8016, abs=1e-4)


def test_holm_by_hand():
    # 3 x 0.01; then 2 x 0.03; then 0.04, but not below the one before.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.zeros((2, 3))], "must have the shape"),
        ([np.zeros((2, 1, 3)), np.zeros((3, 1, 3))], "must have the shape"),
        ([np.full((2, 1, 3), np.nan)], "not finite"),
        ([np.zeros((2, 1, 1))], "fewer than two problems"),
    ],
)
def test_wrong_values(values, message):
    with pytest.raises(ValueError, match=message):
        crossed_mean(values)
