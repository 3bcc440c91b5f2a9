"""The smallest difference that a design detects, against simulated studies."""

import numpy as np
import pytest

from circuitseer_trl.evaluation.crossed_intervals import crossed_mean
from circuitseer_trl.studies.study_power import LEFT_BY_PAIRING, SD_OF_SEEDS, SD_ON_A_PROBLEM, smallest_difference


def test_one_seed_shows_nothing():
    assert smallest_difference(1, [300]) is None


def test_more_seeds_and_problems_show_smaller_differences():
    assert smallest_difference(5, [300]) > smallest_difference(12, [300]) > smallest_difference(12, [300, 300])


@pytest.mark.parametrize("num_seeds", [3, 5, 12])
def test_power_in_simulation(num_seeds: int):
    """With this true difference about 80% of studies find it; the rule's degrees of freedom make it cautious with few seeds."""
    rng = np.random.default_rng(0)
    true, found, runs = smallest_difference(num_seeds, [300]), 0, 400
    for _ in range(runs):
        seeds = rng.normal(0, np.sqrt(2) * LEFT_BY_PAIRING * SD_OF_SEEDS, (num_seeds, 1, 1))
        problems = rng.normal(0, SD_ON_A_PROBLEM, (1, 1, 300))
        noise = rng.normal(0, 0.01, (num_seeds, 1, 300))
        found += crossed_mean([true + seeds + problems + noise]).p_value < 0.05
    assert 0.72 <= found / runs <= 1.0
