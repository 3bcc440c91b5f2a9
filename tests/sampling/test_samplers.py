"""Samplers against exact probabilities, hand-worked cases and the contract that all of them keep."""

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from circuitseer_trl.sampling.base import Sampler, budget
from circuitseer_trl.sampling.soft import SoftSampler, hashed_uniform
from circuitseer_trl.sampling.top_k import TopKSampler
from circuitseer_trl.selection.methods import SAMPLERS
from circuitseer_trl.testing import check_sampler
from tests.helpers.inclusion import race_inclusion_probabilities
from tests.helpers.method_inputs import named_sampler

WEIGHTS = [1, 2, 3, 4, 6, 8, 11, 15]
UIDS = [f"uid-{index}" for index in range(len(WEIGHTS))]


def subset_probabilities(weights: list[int], size: int) -> dict[tuple[int, ...], float]:
    """Exact probability of each subset under successive sampling, by adding up all orders of drawing it."""
    result: dict[tuple[int, ...], Fraction] = Counter()
    for order in itertools.permutations(range(len(weights)), size):
        left, probability = Fraction(sum(weights)), Fraction(1)
        for index in order:
            probability *= weights[index] / left
            left -= weights[index]
        result[tuple(sorted(order))] += probability
    return {subset: float(probability) for subset, probability in result.items()}


def draws(weights: list[int], size: int, repeats: int) -> Counter[tuple[int, ...]]:
    sampler, scores = SoftSampler(), np.array(weights, dtype=np.float64)
    uids = [f"uid-{index}" for index in range(len(weights))]
    return Counter(tuple(sorted(sampler.choose(scores, uids, size, seed)[0].tolist())) for seed in range(repeats))


def test_exact_subset_probabilities_by_hand():
    exact = subset_probabilities([1, 2, 3], 2)
    assert exact == pytest.approx({(0, 1): 0.15, (0, 2): 4 / 15, (1, 2): 7 / 12})


@pytest.mark.thorough
def test_soft_sampling_has_the_exact_distribution_over_subsets():
    repeats = 20_000
    exact, found = subset_probabilities(WEIGHTS, 3), draws(WEIGHTS, 3, repeats)
    assert len(exact) == 56
    chi_square = sum((found[subset] - repeats * p) ** 2 / (repeats * p) for subset, p in exact.items())
    assert chi_square < 130  # 55 degrees of freedom: p of about 1e-7; wrong samplers give 1,600 and more
    for item in range(len(WEIGHTS)):
        p = sum(value for subset, value in exact.items() if item in subset)
        share = sum(count for subset, count in found.items() if item in subset) / repeats
        assert abs(share - p) < 5 * (p * (1 - p) / repeats) ** 0.5


def test_first_draw_is_proportional_to_the_score():
    repeats = 5000
    found = draws(WEIGHTS, 1, repeats)
    for item, weight in enumerate(WEIGHTS):
        p = weight / sum(WEIGHTS)
        assert abs(found[(item,)] / repeats - p) < 5 * (p * (1 - p) / repeats) ** 0.5


@pytest.mark.thorough
def test_inverse_sampling_prefers_low_scores():
    sampler = SoftSampler(inverse=True)
    found = Counter(int(sampler.choose(np.array([1.0, 4.0]), ["a", "b"], 1, seed)[0][0]) for seed in range(5000))
    assert found[0] / 5000 == pytest.approx(0.8, abs=0.02)  # weights 1 and 1/4


def test_subsets_are_nested_and_do_not_depend_on_order_or_scale():
    scores = np.random.default_rng(0).lognormal(size=500)
    uids = [f"row-{index}" for index in range(500)]
    small, large = (SoftSampler().choose(scores, uids, size, 7)[0] for size in (25, 50))
    assert large[:25].tolist() == small.tolist()
    order = np.random.default_rng(1).permutation(500)
    shuffled = SoftSampler().choose(scores[order] * 1e6, [uids[index] for index in order], 50, 7)[0]
    assert order[shuffled].tolist() == large.tolist()


def test_uniform_numbers_are_distinct_and_uniform():
    numbers = hashed_uniform([str(index) for index in range(100_000)], 3)
    assert len(np.unique(numbers)) == 100_000
    assert 0 < numbers.min() < numbers.max() < 1
    counts = np.histogram(numbers, bins=100, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 180  # 99 degrees of freedom: p of about 1e-6


def test_inclusion_probabilities_weight_the_chosen_rows_without_bias():
    """Each row, counted as 1 / p in the draws that contain it, counts as one row on average: the probabilities are exact."""
    uids, repeats = [f"row-{item}" for item in range(len(WEIGHTS))], 4000
    counted = np.zeros((repeats, len(WEIGHTS)))
    for seed in range(repeats):
        chosen, probabilities = SoftSampler().choose(np.array(WEIGHTS, float), uids, 3, seed)
        counted[seed, chosen] = 1 / probabilities
    error = counted.std(axis=0, ddof=1) / repeats**0.5
    assert (np.abs(counted.mean(axis=0) - 1) < 5 * error).all()
    assert (error < 0.1).all()


def test_inclusion_probabilities_are_near_those_of_a_race_and_the_exact_ones():
    rng = np.random.default_rng(0)
    weights, uids = rng.lognormal(size=20_000), [f"row-{index}" for index in range(20_000)]
    chosen, probabilities = SoftSampler().choose(weights, uids, 2000, 1)
    assert probabilities == pytest.approx(race_inclusion_probabilities(weights, 2000)[chosen], rel=0.1)
    exact = subset_probabilities(WEIGHTS, 3)  # the race itself, in a small pool
    race = race_inclusion_probabilities(np.array(WEIGHTS, float), 3)
    for item in range(len(WEIGHTS)):
        assert race[item] == pytest.approx(sum(p for s, p in exact.items() if item in s), abs=0.04)


def test_every_row_is_certain_where_all_that_can_be_drawn_are():
    chosen, probabilities = SoftSampler().choose(np.array([1.0, 0.0, 2.0]), list("abc"), 2, 0)
    assert sorted(chosen.tolist()) == [0, 2]
    assert probabilities.tolist() == [1, 1]


def test_zero_scores_are_never_drawn():
    sampler = SoftSampler()
    for seed in range(50):
        assert set(sampler.choose(np.array([0.0, 1.0, 2.0, 0.0]), list("abcd"), 2, seed)[0].tolist()) == {1, 2}
    with pytest.raises(ValueError, match="only 2 of 4 have a score above zero"):
        sampler.choose(np.array([0.0, 1.0, 2.0, 0.0]), list("abcd"), 3, 0)


def test_top_k_and_bottom_k_break_ties_by_uid():
    scores = np.array([1.0, 3.0, 3.0, 2.0])
    assert TopKSampler().choose(scores, list("acbd"), 3, 0)[0].tolist() == [2, 1, 3]
    assert TopKSampler(lowest=True).choose(scores, list("acbd"), 2, 0)[0].tolist() == [0, 3]


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_every_sampler_keeps_the_contract(name: str):
    columns = {"category": ["a", "b", "b", "c"] * 50, "similarities": np.random.default_rng(1).random((200, 7))}
    columns |= {"influences_correct": columns["similarities"], "influences_incorrect": columns["similarities"] ** 2}
    columns["difficulty"] = np.arange(200.0)
    sampler = named_sampler(name)
    first = check_sampler(sampler, columns=columns)
    assert len(first) == 30 or name == "reweight"
    assert np.isfinite(first.inclusion_probabilities).all()
    table = first.to_table()
    assert table["uid"].to_pylist() == first.uids
    assert table["row"].to_pylist() == first.rows.tolist()
    assert table["order"].to_pylist() == list(range(len(first)))
    scores, rows, uids = np.arange(200.0) + 1, np.arange(200), [f"row-{index}" for index in range(200)]
    scores[::10] = np.nan
    with pytest.raises(ValueError, match="only 180 of 200 have a score"):
        sampler.sample(scores, rows, uids, 181, 5, columns)
    with pytest.raises(ValueError, match="infinite"):
        sampler.sample(np.where(np.isnan(scores), np.inf, scores), rows, uids, 30, 5, columns)


class Careless(Sampler):
    """Breaks the contract in the way that its name says."""

    fault = "none"
    calls = 0

    @property
    def nested(self) -> bool:
        return self.fault == "nested"

    def choose(self, scores, uids, size, seed, columns=None):  # type: ignore[no-untyped-def]
        self.calls += 1
        rows = np.arange(len(scores))
        if self.fault == "budget":
            size -= 1
        if self.fault == "seed":
            rows = np.roll(rows, self.calls)
        if self.fault == "chances":
            return rows[:size], np.full(size, 2.0)
        if self.fault == "nested":
            rows = np.roll(rows, size)
        if self.fault == "columns":
            columns["x"][0][0] += 1
        return rows[:size], np.ones(size)


def test_the_contract_can_be_broken():
    for fault, message in [
        ("budget", "chooses 29 examples for a budget of 30"),
        ("seed", "chooses other rows with the same seed"),
        ("chances", "has probabilities outside"),
        ("nested", "has `nested` True, but is not nested"),
        ("columns", "changes the columns"),
    ]:
        sampler = Careless()
        sampler.fault = fault
        with pytest.raises(AssertionError, match=message):
            check_sampler(sampler, np.arange(100.0), {"x": [[0] for _ in range(100)]})
    check_sampler(Careless(), columns={"x": [[0]] * 200})


def test_negative_scores_need_another_sampler():
    with pytest.raises(ValueError, match="negative"):
        SoftSampler().choose(np.array([-1.0, 1.0]), ["a", "b"], 1, 0)


def test_budget_is_the_floor_of_the_exact_decimal():
    assert budget(100, 0.29) == 29  # 0.29 * 100 is 28.999... in binary
    assert budget(196_000, 0.1) == 19_600
    assert budget(15, 0.1) == 1
    assert budget(10, 0.1, size=7) == 7
    with pytest.raises(ValueError, match="less than one row"):
        budget(9, 0.1)
