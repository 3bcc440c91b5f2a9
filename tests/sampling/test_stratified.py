"""Quotas of categories by hand, and which rows of each."""

import numpy as np
import pytest

from circuitseer_trl.sampling.stratified import StratifiedSampler, draw_s1, equal_quotas, proportional_quotas

COUNTS = np.array([10, 6, 2, 1])
PRIORITY = np.array([0.9, 0.1, 0.5, 0.3])
CATEGORIES = [name for name, count in zip("abcd", COUNTS.tolist(), strict=True) for _ in range(count)]
UIDS = [f"{category}-{index}" for index, category in enumerate(CATEGORIES)]


@pytest.mark.parametrize(
    ("size", "quotas"),
    [
        (1, [0, 1, 0, 0]),  # the lowest priority first
        (4, [1, 1, 1, 1]),
        (8, [2, 3, 2, 1]),  # d is exhausted after one; its rest makes a third of b
        (9, [3, 3, 2, 1]),
        (12, [4, 5, 2, 1]),
        (19, [10, 6, 2, 1]),
    ],
)
def test_equal_quotas_by_hand(size: int, quotas: list[int]):
    assert equal_quotas(COUNTS, size, PRIORITY).tolist() == quotas


def test_proportional_quotas_by_hand():
    # 10 of 19: 5.263, 3.158, 1.053, 0.526. One is left over and goes to the largest remainder.
    assert proportional_quotas(COUNTS, 10, PRIORITY).tolist() == [5, 3, 1, 1]
    assert proportional_quotas(np.array([2, 2]), 1, np.array([0.2, 0.1])).tolist() == [0, 1]
    assert proportional_quotas(COUNTS, 19, PRIORITY).tolist() == COUNTS.tolist()


@pytest.mark.parametrize("allocation", ["equal", "proportional", "s1"])
def test_rows_do_not_depend_on_their_order(allocation: str):
    columns = {"category": CATEGORIES, "trace_length": [len(uid) * 7 % 5 for uid in UIDS]}
    sampler = StratifiedSampler(allocation=allocation)  # type: ignore[arg-type]
    straight = sampler.sample(np.ones(19), np.arange(19), UIDS, 9, 3, columns)
    backwards = {name: values[::-1] for name, values in columns.items()}
    turned = sampler.sample(np.ones(19), np.arange(19)[::-1], UIDS[::-1], 9, 3, backwards)
    assert len(set(straight.uids)) == 9
    assert straight.uids == turned.uids
    assert straight.rows.tolist() == turned.rows.tolist()
    assert sampler.sample(np.ones(19), np.arange(19), UIDS, 9, 4, columns).uids != straight.uids


def test_equal_budgets_are_nested():
    smaller, larger = (
        StratifiedSampler().sample(np.ones(19), np.arange(19), UIDS, size, 0, {"category": CATEGORIES})
        for size in (5, 11)
    )
    assert larger.uids[:5] == smaller.uids
    assert larger.inclusion_probabilities.sum() <= 11


def test_within_a_category_by_score():
    scores = np.array([0.0, 0.0, 1.0] * 2)
    names = [f"row {index}" for index in range(6)]
    sampler = StratifiedSampler(within="scores")
    chosen = sampler.sample(scores, np.arange(6), names, 2, 0, {"category": ["a"] * 3 + ["b"] * 3})
    assert sorted(chosen.rows.tolist()) == [2, 5]


def test_s1_draws_categories_uniformly_and_ranks_by_two_to_the_minus_rank():
    members = [[0, 1, 2], [3]]
    draws = [draw_s1(members, 1, np.random.default_rng(seed))[0] for seed in range(4000)]
    shares = np.bincount(draws, minlength=4) / 4000
    # One half for each category; inside the first 4/7, 2/7, 1/7. Four standard errors are 0.03.
    assert shares == pytest.approx([2 / 7, 1 / 7, 1 / 14, 1 / 2], abs=0.03)
    assert sorted(draw_s1(members, 4, np.random.default_rng(0))) == [0, 1, 2, 3]
    assert members == [[0, 1, 2], [3]]


def test_s1_needs_trace_lengths():
    with pytest.raises(ValueError, match="ranks rows by `trace_length`"):
        StratifiedSampler(allocation="s1").sample(np.ones(19), np.arange(19), UIDS, 2, 0, {"category": CATEGORIES})
