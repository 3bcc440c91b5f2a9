"""The smallest difference that a design detects, against simulated studies."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuitseer_trl.evaluation.crossed_intervals import crossed_mean
from circuitseer_trl.studies.study_file import Choice, Study
from circuitseer_trl.studies.study_power import (
    PILOT,
    Variances,
    _seeds,
    power_sentence,
    smallest_difference,
    variances_of,
)
from tests.helpers.evaluation_folders import write_run


def test_one_seed_shows_nothing():
    assert smallest_difference(PILOT, 1, [300]) is None


def test_more_seeds_and_problems_show_smaller_differences():
    found = [smallest_difference(PILOT, *each) for each in ((5, [300]), (12, [300]), (12, [300, 300]))]
    assert found == sorted(found, reverse=True)


def simulated(rng: np.random.Generator, variances: Variances, num_seeds: int, num_problems: int) -> np.ndarray:
    seeds = rng.normal(0, np.sqrt(variances.of_seeds), (num_seeds, 1, 1))
    return seeds + rng.normal(0, np.sqrt(variances.of_problems), (1, 1, num_problems))


@pytest.mark.parametrize("num_seeds", [3, 5, 12])
def test_power_in_simulation(num_seeds: int):
    """With this true difference about 80% of studies find it, and half of it is found much less often."""
    rng, runs = np.random.default_rng(0), 400
    true = smallest_difference(PILOT, num_seeds, [300])
    for share, low, high in ((1.0, 0.72, 0.88), (0.5, 0.1, 0.45)):
        values = [share * true + simulated(rng, PILOT, num_seeds, 300) for _ in range(runs)]
        assert low <= np.mean([crossed_mean([each]).p_value < 0.05 for each in values]) <= high


def entry(values: np.ndarray, **more: Any) -> dict[str, Any]:
    """As an entry of `differences.json`."""
    estimate = crossed_mean([values])
    own = {"measure": "pass_at_1", "num_benchmarks": 1, "varied": ["seeds", "problems"]}
    own |= {"standard_error": estimate.standard_error, "by_seed": values.mean(axis=2).ravel().tolist()}
    return own | {"points": [f"top.{seed}" for seed in range(len(values))]} | more


def test_variances_of_finished_points_are_those_of_the_simulation():
    rng, true = np.random.default_rng(0), Variances(0.05**2, 0.4**2, "")
    found = variances_of([entry(simulated(rng, true, 4, 200)) for _ in range(300)], [200])
    assert found.of_seeds == pytest.approx(true.of_seeds, rel=0.1)
    assert found.of_problems == pytest.approx(true.of_problems, rel=0.1)
    assert "finished points (300 differences, with 4 or more seeds)" in found.source


def test_the_same_design_again_detects_what_it_detected():
    values = simulated(np.random.default_rng(1), Variances(0.05**2, 0.4**2, ""), 4, 200)
    estimate = crossed_mean([values])
    again = smallest_difference(variances_of([entry(values)], [200]), 4, [200])
    ratio = again / estimate.standard_error
    assert 2.8 < ratio < 4.0  # of normal quantiles, and of t with three degrees of freedom


@pytest.mark.parametrize(
    "more",
    [
        {"measure": "held_out_loss"},
        {"num_benchmarks": 2},
        {"varied": ["selection seeds", "training seeds", "problems"]},  # crossed
        {"points": ["zero_shot"] * 4},  # one point for all seeds
        {"by_seed": [0.1, 0.2], "points": ["top.0", "top.1"]},
    ],
)
def test_other_differences_say_nothing(more: dict[str, Any]):
    values = simulated(np.random.default_rng(2), PILOT, 4, 50)
    assert variances_of([entry(values, **more)], [50]) is PILOT


@pytest.mark.parametrize(
    ("pairs", "joined", "expected"),
    [
        ([(0, 0), (1, 1), (2, 2)], True, (3, "3 seeds")),
        ([(s, t) for s in range(3) for t in range(4)], False, (3, "3 x 4 seeds (reckoned as 3)")),
        ([(s, 42) for s in range(5)], False, (5, "5 seeds")),
        ([(0, 0)], True, (1, "one seed")),
    ],
)
def test_crossed_seeds_are_fewer_than_their_pairs(
    pairs: list[tuple[int, int]], joined: bool, expected: tuple[int, str]
):
    lists: list[list[Choice]] = [[], [], [], []]
    assert _seeds(Study({}, {}, {}, {}, *lists, pairs, joined, "random")) == expected


def test_the_sentence_is_of_finished_points_where_there_are_three_seeds(tmp_path: Path):
    (tmp_path / "quiz").mkdir()
    lines = "".join(json.dumps({"problem": f"What is {n}?", "answer": str(n)}) + "\n" for n in range(4))
    (tmp_path / "quiz" / "test.jsonl").write_text(lines)
    right = {"random": ("+-+-", "++--", "+---"), "top": ("++++", "+++-", "+-+-")}
    points = []
    for method, words in right.items():
        for seed, marks in enumerate(words):
            about = {"name": f"{method}.s{seed}", "method": method, "folder": f"points/{method}.s{seed}"}
            about |= {"model": "m", "reference_model": None, "budget": None}
            points.append(about | {"selection_seed": seed, "training_seed": seed})
            write_run(tmp_path / about["folder"], {"quiz": list(marks)})
    pairs = [(seed, seed) for seed in range(5)]
    plan = {"baseline": "random", "seeds_joined": True, "seeds": pairs, "points": points}
    evaluation = {"benchmarks": ["quiz"], "benchmarks_dir": str(tmp_path)}
    study = Study({}, {}, evaluation, {}, [], [], [], [], pairs, True, "random")
    names = [point["name"] for point in points]
    said = power_sentence(study, tmp_path, plan, names)
    assert "Reckoned from the study's finished points (1 difference, with 3 or more seeds)" in said
    # The seeds' differences are 1/2, 1/4, 1/4: their variance is 1/48. What is left of the mean's variance is of problems.
    values = np.array([[[0, 1, 0, 1]], [[0, 0, 1, 0]], [[0, 0, 1, 0]]], dtype=float)
    error = crossed_mean([values]).standard_error
    of_problems = 4 * max(0.0, error**2 - 1 / 48 / 3)
    expected = smallest_difference(Variances(1 / 48, of_problems, ""), 5, [4])
    assert f"5 seeds and 4 problems can show a difference of about {100 * expected:.1f} points" in said
    assert "Reckoned from a pilot" in power_sentence(
        study, tmp_path, plan, [each for each in names if "s2" not in each]
    )
