import pytest
from scipy.stats import binomtest

from circuitseer_trl.evaluation.metrics import (
    average_interval,
    bootstrap_interval,
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
    low, high = average_interval([[1.0] * 5, [0.0, 1.0] * 500])
    assert low == pytest.approx(0.75 - 1.96 * 0.5 * 0.0158, abs=0.003)
    assert high == pytest.approx(0.75 + 1.96 * 0.5 * 0.0158, abs=0.003)
