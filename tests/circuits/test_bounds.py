"""Bounds of a whole probe's mean from a part of it, against every order in which the examples can come."""

from itertools import permutations

import numpy as np
import pytest

from circuitseer_trl.circuits.bounds import highest_means, lowest_means, mean_guesses, weighted_order

WEIGHTS = np.array([1.0, 2.0, 4.0, 1.0, 3.0, 0.5])


def every_order():
    """All orders, each with its probability: the next example is drawn in proportion to its weight."""
    for order in permutations(range(len(WEIGHTS))):
        chance, left = 1.0, WEIGHTS.sum()
        for index in order:
            chance *= WEIGHTS[index] / left
            left -= WEIGHTS[index]
        yield list(order), chance


def values_and_limits():
    """Columns of which most values are small, and one or two as large as they may be: the hardest to foresee."""
    columns = [
        [0, 0, 0, 0, 0, 6],
        [0, 0, 6, 0, 0, 0],
        [1, 1, 1, 6, 1, 6],
        [6, 0, 6, 0, 6, 0],
        [-3, 0, 0, 0, 0, 1],
        [2] * 6,
    ]
    values = np.array(columns, dtype=float).T
    return values, np.maximum(6.0, values)


@pytest.mark.parametrize("error", [0.3, 0.1])
def test_bounds_are_wrong_at_any_time_with_at_most_the_stated_probability(error: float):
    values, limits = values_and_limits()
    limits[:, 2] = 4 * WEIGHTS + 4  # not the same for every example
    wrong = np.zeros(values.shape[1])
    tight = 0.0
    for order, chance in every_order():
        for n in range(1, len(order) + 1):
            high = highest_means(values[order[:n]], limits[order], WEIGHTS[order], error)
            low = lowest_means(-values[order[:n]], limits[order], WEIGHTS[order], error)
            assert low == pytest.approx(-high)
            tight += chance * (high < limits.mean(axis=0) - 0.5).mean() / len(order)
        # The bound after n draws is the lowest of all up to n; with all drawn it is the mean.
        high = highest_means(values[order[:-1]], limits[order], WEIGHTS[order], error)
        wrong += chance * (high < values.mean(axis=0) - 1e-12)
        assert highest_means(values[order], limits[order], WEIGHTS[order], error) == pytest.approx(values.mean(axis=0))
    assert wrong.max() <= error
    assert tight > 0.5, "the bounds say no more than the limits, so the test shows nothing"


def test_what_is_certain_needs_no_chance():
    # 5 + 1 + at most 0.5 + 0 more, by 4 examples; at least 6 - 1 - 1.
    values, weights = np.array([[5.0], [1.0]]), np.ones(4)
    assert highest_means(values, np.array([[9.0], [9.0], [0.5], [0.0]]), weights, 1e-9).tolist() == [6.5 / 4]
    assert lowest_means(values, np.array([[9.0], [9.0], [1.0], [1.0]]), weights, 1e-9).tolist() == [1.0]


def test_guesses_are_right_on_average():
    values, _ = values_and_limits()
    expected = sum(chance * mean_guesses(values[order], WEIGHTS[order]) for order, chance in every_order())
    assert expected == pytest.approx(np.tile(values.mean(axis=0), (len(WEIGHTS), 1)))


def test_the_next_example_is_drawn_by_its_weight():
    rng = np.random.default_rng(0)
    orders = np.array([weighted_order(np.array([1.0, 2.0, 5.0]), rng) for _ in range(4000)])
    assert np.bincount(orders[:, 0]) / 4000 == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.03)
    second = orders[orders[:, 0] == 2, 1]
    assert np.bincount(second) / len(second) == pytest.approx([1 / 3, 2 / 3], abs=0.04)
