"""The numbers of a study: means over seeds and differences to the baseline, worked out by hand."""

from typing import Any

import numpy as np
import pytest

from circuitseer_trl.evaluation.crossed_intervals import crossed_mean
from circuitseer_trl.pages.study_table import study_table
from circuitseer_trl.studies.study_results import compared


def point(method: str, selection: int | None, training: int | None, **more: Any) -> dict[str, Any]:
    name = f"{method}.{selection}.{training}"
    own = {"model": "m", "reference_model": None, "budget": None} | more
    return {"name": name, "method": method, "selection_seed": selection, "training_seed": training} | own


def values(*right: float, benchmark: str = "b") -> dict[str, Any]:
    return {"pass_at_1": {benchmark: {str(n): each for n, each in enumerate(right)}}, "majority_at_n": {}}


def study(points: list[dict[str, Any]], seeds: list[tuple[int, int]], joined: bool) -> dict[str, Any]:
    return {"study": "x", "baseline": "random", "seeds_joined": joined, "seeds": seeds, "points": points}


def test_joined_seeds_are_paired():
    points = [point(method, seed, seed) for seed in (0, 1) for method in ("random", "top")] + [
        point("zero_shot", None, None)
    ]
    found = compared(
        study(points, [(0, 0), (1, 1)], True),
        {
            "random.0.0": values(0, 1, 0, 0),
            "top.0.0": values(1, 1, 0, 0),
            "random.1.1": values(1, 1, 0, 0),
            "top.1.1": values(1, 1, 1, 1),
            "zero_shot.None.None": values(0, 0, 0, 1),
        },
    )
    means = {each["method"]: (each["mean"], each["by_seed"]) for each in found["means"]}
    assert means == {
        **{"random": (0.375, [0.25, 0.5]), "top": (0.75, [0.5, 1.0])},
        "zero_shot": (0.25, [0.25]),
    }
    top, base = found["differences"]
    assert (top["method"], top["mean"], top["by_seed"]) == ("top", 0.375, [0.25, 0.5])
    assert (base["method"], base["mean"], base["by_seed"]) == ("zero_shot", -0.125, [0.0, -0.25])
    assert top["varied"] == ["seeds", "problems"]
    by_hand = crossed_mean([np.array([[[1, 0, 0, 0]], [[0, 0, 1, 1]]])])
    assert top["interval"] == by_hand.interval
    larger, smaller = sorted([top["p_value"], base["p_value"]], reverse=True)
    by_holm = [min(1, 2 * smaller), max(larger, min(1, 2 * smaller))]
    assert sorted([top["p_holm"], base["p_holm"]]) == pytest.approx(by_holm)


def test_crossed_seeds_are_a_grid():
    grid = [(0, 5), (0, 6), (1, 5), (1, 6)]
    points = [point(method, s, t) for s, t in grid for method in ("random", "top")]
    points += [point("full", None, t) for t in (5, 6)]
    right = {f"random.{s}.{t}": values(0, 0) for s, t in grid}
    right |= {f"top.{s}.{t}": values(s, float(t == 6)) for s, t in grid}
    right |= {"full.None.5": values(1, 0), "full.None.6": values(1, 1)}
    found = compared(study(points, grid, False), right)
    top, full = found["differences"]
    assert top["by_seed"] == [0, 0.5, 0.5, 1]
    assert top["varied"] == ["selection seeds", "training seeds", "problems"]
    array = np.array([[[0, 0], [0, 1]], [[1, 0], [1, 1]]])
    assert (top["mean"], top["interval"]) == (0.5, crossed_mean([array]).interval)
    assert (full["mean"], full["by_seed"]) == (0.75, [0.5, 1, 0.5, 1])
    right.pop("top.1.6")
    less = compared(study(points, grid, False), right)
    assert less["differences"][0]["seeds"] == [[0, 5], [1, 5]]  # training seed 6 has no whole column
    assert less["not_compared"][0]["reason"] == "1 of 4 pairs of seeds do not have results of both"


def test_only_what_is_alike_is_compared():
    points = [point(method, 0, 0, budget=budget) for budget in ("10pct", "20pct") for method in ("random", "top")]
    points[0]["name"], points[1]["name"], points[2]["name"], points[3]["name"] = "r1", "t1", "r2", "t2"
    points.append(point("full", None, 0))
    right = {
        "r1": values(0, 0),
        "t1": values(0, 1),
        "r2": values(1, 0),
        "t2": values(1, 1),
        "full.None.0": values(1, 1),
    }
    found = compared(study(points, [(0, 0)], True), right)
    shown = {(each["method"], each["budget"], each["baseline_budget"]): each["mean"] for each in found["differences"]}
    assert shown == {
        **{("top", "10pct", "10pct"): 0.5, ("top", "20pct", "20pct"): 0.5},
        **{("full", None, "10pct"): 1.0, ("full", None, "20pct"): 0.5},
    }
    table = study_table({**found, "num_finished": 5, "num_points": 5, "baseline": "random", "overlaps": []})
    assert "10pct" in table
    assert "+100.0" in table


def test_other_problems_are_named():
    points = [point("random", 0, 0), point("top", 0, 0)]
    right = {"random.0.0": values(0, 0), "top.0.0": values(0, 1, 1)}
    found = compared(study(points, [(0, 0)], True), right)
    assert found["differences"] == []
    assert found["not_compared"][0]["reason"] == "not all points have the same problems of b"


def test_an_average_says_over_how_many_benchmarks_it_is():
    points = [point(method, 0, 0) for method in ("random", "top")]
    benchmarks = {"a": {"0": 0, "1": 1}, "b": {"0": 1, "1": 1}, "c": {"0": 0, "1": 0}}
    voted = {name: benchmarks[name] for name in ("a", "b")}
    right = {name: {"pass_at_1": benchmarks, "majority_at_n": voted} for name in ("random.0.0", "top.0.0")}
    table = study_table(shown(compared(study(points, [(0, 0)], True), right)))
    assert table.count("average of 3 benchmarks") == 2
    assert table.count("average over 2 of 3 benchmarks") == 2
    right["top.0.0"] = right["top.0.0"] | {"pass_at_1": benchmarks | {"c": {"0": 0, "9": 0}}}
    table = study_table(shown(compared(study(points, [(0, 0)], True), right)))
    assert table.count("+0.0 (average over 2 of 3 benchmarks)") == 1  # its means are of three


def shown(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "num_finished": 2, "num_points": 2, "baseline": "random", "overlaps": []}
