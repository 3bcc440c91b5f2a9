import numpy as np
import pytest
from scipy.stats import binomtest

from circuitseer_trl.evaluation.metrics import (
    average_interval,
    bootstrap_interval,
    combined_interval,
    difference_interval,
    majority,
    mean_interval,
    pass_at_k,
    wilson_interval,
)


def test_pass_at_k_by_hand():
    assert pass_at_k(16, 4, 1) == pytest.approx(4 / 16)
    assert pass_at_k(4, 1, 2) == pytest.approx(1 / 2)  # of six pairs, three hold the right one
    assert pass_at_k(4, 0, 4) == 0
    assert pass_at_k(4, 3, 2) == 1
    with pytest.raises(ValueError, match="pass@5"):
        pass_at_k(4, 1, 5)


@pytest.mark.parametrize(
    ("classes", "correct", "expected", "first"),
    [
        ([0, 0, 1], [True, True, False], 1.0, 1.0),
        ([0, 1, 1], [True, False, False], 0.0, 0.0),
        ([0, 1, 1, 0], [False, True, True, False], 0.5, 0.0),  # a tie
        ([0, 1, 2], [True, False, False], 1 / 3, 1.0),
        ([None, None, 3], [False, False, True], 1.0, 1.0),  # no answer has no vote
        ([None, None], [False, False], 0.0, 0.0),
    ],
)
def test_majority_by_hand(classes: list, correct: list[bool], expected: float, first: float):
    assert majority(classes, correct) == pytest.approx(expected)
    assert majority(classes, correct, ties="first") == first


def test_bootstrap_is_the_binomial_for_single_verdicts():
    low, high = bootstrap_interval([1.0] * 50 + [0.0] * 50)
    assert low == pytest.approx(0.40, abs=0.015)  # 0.5 +- 1.96 * 0.05
    assert high == pytest.approx(0.60, abs=0.015)
    assert bootstrap_interval([1.0] * 30) == (1.0, 1.0)
    assert bootstrap_interval([0.0, 1.0, 1.0]) == bootstrap_interval([0.0, 1.0, 1.0])


def test_right_or_wrong_has_wilsons_interval():
    for total in (1, 3, 40, 500):
        for num_right in {0, 1, total // 2, total}:
            expected = binomtest(num_right, total).proportion_ci(method="wilson")
            assert wilson_interval(num_right, total) == pytest.approx((expected.low, expected.high), abs=1e-12)
    # None of 40 is no proof that none is ever right: z^2 / (n + z^2) = 3.8415 / 43.8415.
    assert mean_interval([0.0] * 40) == pytest.approx((0, 0.08762), abs=1e-5)
    assert mean_interval([1.0] * 3 + [0.0]) == wilson_interval(3, 4)
    shares = [0.0, 1.0, 0.5, 0.25]
    assert mean_interval(shares) == bootstrap_interval(shares)
    assert average_interval([[1.0, 0.0]]) == wilson_interval(1, 2)


def test_average_weighs_benchmarks_alike():
    mixed = [0.0, 1.0] * 500
    low, high = average_interval([[1.0, 0.0] * 250, mixed])
    # Half-widths of 1.96 sqrt(1/4 / n) each: sqrt(0.0438^2 + 0.0310^2) / 2.
    assert (low, high) == pytest.approx((0.5 - 0.0268, 0.5 + 0.0268), abs=2e-4)
    # Five of five is no proof: Wilson's lower end is 5 / (5 + 3.8415) = 0.5655, and its distance of 0.4345 counts by half.
    low, high = average_interval([[1.0] * 5, mixed])
    assert (low, high) == pytest.approx((0.75 - (0.4345**2 + 0.031**2) ** 0.5 / 2, 0.75 + 0.031 / 2), abs=2e-4)


def test_an_average_of_nothing_right_has_a_width():
    # Each benchmark has Wilson's [0, 3.8415 / 43.8415]; of two of them the root of the squares, by half: 0.08762 / sqrt(2).
    assert average_interval([[0.0] * 40] * 2) == pytest.approx((0, 0.06196), abs=1e-5)
    assert average_interval([[1.0] * 40] * 2) == pytest.approx((1 - 0.06196, 1), abs=1e-5)
    assert combined_interval([0.25], [(0.125, 0.5)]) == (0.125, 0.5)
    # Half of the samples right on every problem: the bootstrap would say that it is always so.
    assert mean_interval([0.5] * 30) == wilson_interval(15, 30)


@pytest.mark.parametrize(
    ("rates", "sizes"),
    [((0.02, 0.02, 0.02), (30, 30, 40)), ((0.0, 0.01, 0.5), (30, 30, 100)), ((0.97, 0.99), (40, 60))],
)
def test_the_averages_interval_holds_for_rare_successes(rates: tuple[float, ...], sizes: tuple[int, ...]):
    """How often it has the truth, over drawn verdicts: less than 95% where next to nothing is right, as Wilson's own."""
    generator, truth, held, draws = np.random.default_rng(0), sum(rates) / len(rates), 0, 1000
    for _ in range(draws):
        values = [
            (generator.random(size) < rate).astype(float).tolist() for rate, size in zip(rates, sizes, strict=True)
        ]
        low, high = average_interval(values)
        held += low <= truth <= high
    assert held / draws > 0.9


def test_a_difference_of_nothing_has_a_width():
    # 88 problems without a difference, and half a problem of each kind: sqrt(1) / 90.
    low, high = difference_interval([0.0] * 88)
    assert (low, high) == pytest.approx((-1.96 / 90, 1.96 / 90), abs=1e-6)
    # Three of three won: 3 / 5, and the root of (4 - 9/5) / 25.
    low, high = difference_interval([1.0] * 3)
    assert (low, high) == pytest.approx((0.6 - 1.96 * 0.088**0.5, 1.0), abs=1e-4)
    assert difference_interval([0.0, 1.0, 1.0]) == bootstrap_interval([0.0, 1.0, 1.0])
