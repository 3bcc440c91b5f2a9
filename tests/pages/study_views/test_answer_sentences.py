"""The answer of a study, for differences made by hand: it claims no more than they show."""

from pathlib import Path
from typing import Any

import pytest

from circuitseer_trl.pages.study_views.answer_sentences import answer
from circuitseer_trl.pages.study_views.study_files import StudyFiles

KINDS = {"top": "circuitseer", "soft": "circuitseer"}


def entry(method: str, points: float = 0.0, half: float = 3.0, p: float = 0.5, **more: Any) -> dict[str, Any]:
    """A difference to random in percentage points, with the detectable difference 3.5 points."""
    own = {"model": "m", "reference_model": None, "budget": None, "baseline": "random", "baseline_budget": None}
    own |= {"measure": "pass_at_1", "benchmark": "average", "num_benchmarks": 9, "detectable": 0.035, "p_holm": p}
    own |= {"varied": ["seeds", "problems"], "seeds": [[seed, seed] for seed in range(5)]} | more
    return own | {"method": method, "mean": points / 100, "interval": [(points - half) / 100, (points + half) / 100]}


def study(differences: list[dict[str, Any]], methods: list[str] | None = None, **more: Any) -> StudyFiles:
    names = ["random", *dict.fromkeys(each["method"] for each in differences)] if methods is None else methods
    places = {(each["model"], each["reference_model"], each["budget"]) for each in differences} or {("m", None, None)}
    points = [
        dict(zip(("model", "reference_model", "budget"), place, strict=True))
        | {"method": name, "selection_method": KINDS.get(name, name)}
        for name in names
        for place in sorted(places, key=str)
    ]
    means = [{"method": name, "benchmark": f"b{n}", "num_benchmarks": 1} for name in names for n in range(9)]
    found = {"num_points": 20, "num_finished": 20, "differences": differences, "means": means, "not_compared": []}
    plan = {"baseline": "random", "seeds_joined": more.pop("seeds_joined", True), "points": points}
    return StudyFiles(Path(), plan, points, found | more)


def first(*differences: dict[str, Any], **more: Any) -> str:
    return answer(study(list(differences), **more))[0]


def test_a_difference_that_is_not_shown_is_not_claimed():
    assert first(entry("top", 1.2)) == (
        "No difference to random could be shown: 5 seeds can show 3.5 points (Pass@1, average of 9 benchmarks). "
        "Measured: top +1.2 [-1.8, +4.2]."
    )


def test_a_method_that_is_better():
    others = [entry(name) for name in ("soft", "full")]
    text = first(entry("top", 4.2, p=0.02), *others)
    assert text.startswith(
        "top beats random by 4.2 points [+1.2, +7.2], p 0.020 (Holm over 3 methods; Pass@1, average of 9 benchmarks). "
        "No difference to random could be shown"
    )
    assert "Measured: soft +0.0" in text


def test_a_method_that_is_worse_comes_before_what_is_not_shown():
    text = first(entry("soft", 0.5), entry("top", -4.2, p=0.0001))
    assert text.startswith(
        "No selection beats random. top is worse than random by 4.2 points [-7.2, -1.2], p < 0.001 (Holm over 2 methods; Pass@1"
    )
    assert "Measured: soft" in text


def test_training_on_all_rows_is_no_selection_that_wins():
    text = first(entry("full", 9.0, p=0.001), entry("top", 1.0))
    assert text.startswith("No difference to random could be shown")
    assert "full beats random by 9.0 points" in text


def test_a_control_that_is_not_beaten_comes_first():
    text = first(entry("top", 4.0, p=0.01), entry("length", 5.0, p=0.01))
    assert text.startswith("top does not beat the control length: its mean is 1.0 points below. ")
    assert "top beats random by 4.0 points" in text


def test_a_control_with_a_lower_mean_is_not_said_to_be_beaten():
    text = first(entry("top", 4.0, p=0.01), entry("length", 1.0))
    assert text.startswith("top beats random")
    assert "Whether top beats the control length is not tested here (its mean is 3.0 points above)" in text
    assert "`baseline: length` tests it." in text


def test_heads_that_were_not_found_are_a_control():
    files = study([entry("top", 4.0, p=0.01), entry("random-heads", 4.5, p=0.01)])
    files.plan["points"][2]["settings"] = {"selection": {"head_set": "random"}}
    assert answer(files)[0].startswith("top does not beat the control random-heads: its mean is 0.5 points below.")


def test_one_seed_shows_nothing():
    text = first(entry("top", 9.0, p=0.001, varied=["problems"], seeds=[[0, 0]], num_benchmarks=1, benchmark="gsm8k"))
    assert text == (
        "No difference to random could be shown: one seed says nothing about others. With it, in points: top +9.0 "
        "[+6.0, +12.0] (Pass@1, gsm8k, 1 of 9 benchmarks); these intervals cover problems alone."
    )


def test_an_interval_with_zero_is_no_difference_whatever_p_is():
    assert first(entry("top", 2.0, half=40.0, p=0.0)).startswith("No difference to random could be shown")


def test_crossed_seeds_are_counted_each():
    grid = [[s, t] for s in range(3) for t in range(2)]
    assert "3 selection seeds and 2 training seeds can show" in first(entry("top", seeds=grid), seeds_joined=False)


def test_benchmarks_that_are_missing_are_counted():
    assert "average over 7 of 9 benchmarks" in first(entry("top", num_benchmarks=7))


def test_values_that_never_vary():
    assert "5 seeds can show nothing, since all seeds and problems have the same difference" in first(
        entry("top", detectable=None)
    )


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"num_finished": 0, "methods": []}, "There is no answer so far: none of 20 points is finished."),
        (
            {"methods": ["random"]},
            "There is nothing to compare: random, the baseline, is the only method with results.",
        ),
        ({"methods": ["top"]}, "Nothing is compared so far: random, the baseline, has no results."),
        (
            {"methods": ["random", "top"]},
            "Nothing is compared so far: no method has the seeds of random, the baseline.",
        ),
        (
            {"methods": ["random", "top"], "not_compared": [{"reason": "not all points have the same problems of b"}]},
            "Nothing could be compared with random: not all points have the same problems of b.",
        ),
    ],
)
def test_nothing_to_compare(more: dict[str, Any], text: str):
    assert first(**more) == text


def test_a_part_of_the_points_is_named():
    assert answer(study([entry("top")], num_finished=12))[-1] == "12 of 20 points are finished."


def test_each_model_and_budget_has_a_sentence():
    files = study([entry("top", 4.2, p=0.02, budget="10pct"), entry("top", 1.2, budget="20pct")])
    text = answer(files)[0]
    assert text.startswith("10pct: top beats random by 4.2 points [+1.2, +7.2], p 0.020 (Pass@1")
    assert " 20pct: No difference to random could be shown" in text


def test_the_whole_pool_against_two_budgets():
    each = [entry("full", 4.2, p=0.02, baseline_budget=budget) for budget in ("10pct", "20pct")]
    files = study([*each, entry("top", 1.0, budget="10pct"), entry("top", 1.0, budget="20pct")])
    assert "full (against random at 20pct) beats random" in answer(files)[0]


def test_many_models_are_counted():
    differences = [entry("top", 4.2, p=0.02 if n < 3 else 0.9, model=f"m{n}") for n in range(8)]
    differences += [entry("soft", -4.2, p=0.02 if n < 2 else 0.9, model=f"m{n}") for n in range(8)]
    text = first(*differences)
    assert text.startswith(
        "top beats random in 3 of 8 comparisons, is worse in 0, and in 5 no difference could be shown"
    )
    assert "soft does not beat random in any of 8 comparisons, is worse in 2, and in 6" in text


def test_the_average_is_preferred_to_its_benchmarks():
    parts = [entry("top", 9.0, p=0.001, benchmark=f"b{n}", num_benchmarks=1) for n in range(9)]
    assert first(*parts, entry("top", 1.0)).startswith("No difference")


def test_the_vote_has_its_own_sentences():
    sentences = answer(study([entry("top"), entry("top", 5.0, p=0.01, measure="majority_at_n")]))
    assert sentences[1].startswith("top beats random by 5.0 points")
    assert "Majority@n" in sentences[1]
