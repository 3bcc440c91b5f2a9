"""The ledger: its statistics against scipy and by hand, and its text from rows made here."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.bed.differences import Family, holm_together, paired_difference, read_families, with_differences
from bench.bed.grid import Grid, needed
from bench.bed.ledger import DOCS, PLANS, claim, claims_of, family_table, method_table, strictest, verdict, write_ledger
from bench.bed.plan import Plan, read_plan
from circuitseer_trl.drawing.exhibits import Number
from circuitseer_trl.evaluation.crossed_intervals import detectable_difference


def row(method: str, replicate: int, exact: float, loss: float, **changes: object) -> dict:
    values = {"base": "demo", "kind": "clean", "budget": "tokens:9", "method": method, "replicate": replicate}
    truth = {"num_rows": 3, "mean_steps": 2.0, "right_ratio": 1.0, "rho": None, "seconds": 2.0, "status": "ok"}
    return values | truth | {"exact": exact, "loss": loss} | changes


EXACT = {"a": [0.60, 0.62, 0.58, 0.66], "b": [0.55, 0.57, 0.54, 0.60], "c": [0.60, 0.61, 0.60, 0.65]}
LOSS = {"a": [0.04, 0.05, 0.03, 0.04], "b": [0.06, 0.07, 0.05, 0.07], "c": [0.03, 0.05, 0.04, 0.04]}
ROWS = [row(name, number, EXACT[name][number], LOSS[name][number]) for number in range(4) for name in EXACT]
FAMILY = Family("small", "A beats b and c.", "plan", {}, "a", ["b", "c"], {"exact": {"b": 0.02}}, 4)


def test_differences_are_paired_and_scipys():
    found = paired_difference(reversed(ROWS), "a", "b", "log_loss")
    logs = [np.log(LOSS[name]) for name in "ab"]
    expected = stats.ttest_rel(*logs)
    assert (found.num, found.mean) == (4, pytest.approx(np.mean(logs[0] - logs[1])))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_a_replicate_without_its_pair_is_left_out():
    failed = [
        each | {"status": "ValueError: x"} if (each["method"], each["replicate"]) == ("b", 2) else each for each in ROWS
    ]
    found = paired_difference([*failed, row("a", 9, 0.1, 0.1)], "a", "b", "exact")
    assert found.num == 3
    assert found.mean == pytest.approx(np.mean([0.05, 0.05, 0.06]))
    alone = paired_difference(ROWS[:3], "a", "b", "exact")
    assert (alone.num, alone.interval, alone.p) == (1, None, None)
    assert math.isnan(paired_difference([], "a", "b", "exact").mean)


def test_a_win_needs_both_measures():
    family = with_differences(FAMILY, ROWS)
    p = [paired_difference(ROWS, "a", name, measure).p for name in "bc" for measure in ("exact", "log_loss")]
    assert min(each.p_holm for each in family.differences) == pytest.approx(4 * min(p))  # of four comparisons
    assert family.beaten == ["b"]
    assert family.num == 4
    worse = with_differences(FAMILY, [each | ({"loss": 1.0} if each["method"] == "a" else {}) for each in ROWS])
    assert worse.beaten == []
    assert claim(family, "b").startswith("`a` beat `b` (exact match +5.0 [")
    assert claim(family, "b").endswith("; n = 4).")
    assert claim(family, "c").startswith("`a` are not shown to beat `c` (exact match +0.0 [-2.3, +2.3]")
    said = verdict([family])
    assert said.startswith("Of 2 declared comparisons with all their replicates, `a` win 1 on both measures.")
    assert said.endswith("They do not always beat `c`.")
    both = with_differences(
        FAMILY, [each | ({"loss": 1 + each["loss"]} if each["method"] == "a" else {}) for each in ROWS]
    )
    assert claim(both, "b").startswith("`a` are better in exact match, and worse in log of the loss, than `b`")
    assert claim(both, "c").startswith("`a` are worse in log of the loss than `c`")
    assert "In 2 they are worse on one or both." in verdict([both])
    explored = Family(**vars(family) | {"explored": True})
    assert claims_of(explored) == ["explored, so nothing is claimed; its table is below."]
    assert verdict([explored, family]) == said
    unfinished = Family(**vars(family) | {"num_replicates": 9})
    assert claims_of(unfinished) == ["4 of 9 replicates so far. Nothing is claimed before the last."]
    assert claims_of(family) == [claim(family, name) for name in "bc"]
    assert not any(
        cell.strong for line in family_table(unfinished, 1).rows for cell in line if isinstance(cell, Number)
    )
    assert any(cell.strong for line in family_table(family, 1).rows for cell in line if isinstance(cell, Number))
    assert verdict([unfinished]) == "No declared hypothesis has all of its replicates yet."


def test_families_are_adjusted_as_one():
    family = with_differences(FAMILY, ROWS)
    together = holm_together([family, family])
    smallest = min(each.p for each in family.differences)
    assert together[0].differences[0].p == family.differences[0].p
    assert min(each.p_holm for each in together[0].differences) == pytest.approx(8 * smallest)
    assert strictest([family]) == "Comparisons that hold with the 4 tests of all these families adjusted as one: 1."


def grid(num_replicates: int) -> Grid:
    """A grid of two methods: `longest` adds 2 to 5 points to random rows, and `contrast` nothing on average."""
    methods = [{"name": "random", "method": "random"}, {"name": "longest", "method": "longest"}]
    methods += [{"name": "contrast", "method": "circuitseer", "sampling": "top_k", "heads": "contrast"}]
    plan = Plan("grid", methods, [{"rows": 3}, {"tokens": 9}], num_replicates)
    added = {"random": [0, 0, 0], "longest": [0.049, 0.05, 0.051], "contrast": [-0.01, 0.01, 0.001]}
    rho = {"steps": 0.5, "steps_given_problem_length": None, "steps_given_solution_length": -0.25}
    rows = [
        row(name, number, 0.5 + 0.1 * number + more, 0.04 + 0.01 * number, budget=budget, rho=rho)
        for name, each in added.items()
        for number, more in enumerate(each)
        for budget in ("rows:3", "tokens:9")
    ]
    return Grid(plan, rows)


def test_the_grid_compares_each_method_with_random_rows():
    whole = grid(3)
    longest = whole.differences["clean", "tokens:9"]["longest", "exact"]
    # Two of the four tests have a p value: the loss does not vary between methods.
    assert longest.p_holm == pytest.approx(2 * stats.ttest_1samp([0.049, 0.05, 0.051], 0).pvalue)
    signals, exact, _ = whole.tables()
    assert [cell if isinstance(cell, str) else cell.text for cell in signals.rows[1]] == [
        "contrast",
        "forward + sweep",
        "83",
        "+0.50",
        "",
        "-0.25",
    ]
    assert [cell.strong for line in exact.rows for cell in line[1:]] == [True, True, False, False]
    assert exact.rows[0][1].text == "+5.0 [+4.8, +5.2]"
    assert [line.label for line in whole.figure("exact").groups[0][1]] == ["longest", "contrast"]
    assert whole.state.startswith("3 replicates. Explored, not confirmed")


def test_an_unfinished_grid_claims_nothing():
    part = grid(12)
    assert part.state == "Unfinished: 3 of 12 replicates, nothing is claimed."
    for table in part.tables():
        assert table.note.startswith(part.state)
        assert not any(cell.strong for line in table.rows for cell in line if isinstance(cell, Number))
    assert Grid(part.plan, []).state.startswith("Unfinished: 0 of 12")
    assert Grid(part.plan, []).tables()


def test_what_the_methods_of_the_grid_need():
    plan = read_plan(PLANS / "grid.yaml")
    found = {str(method["name"]): needed(method) for method in plan.methods}
    assert found["longest"] == found["longest solution"] == "text"
    assert found["max loss"] == found["all heads"] == found["random heads"] == "forward"
    assert found["circuitseer"] == "forward + sweep"
    assert found["filter + dependence"] == "forward + ablated forward + sweep"
    assert found["filter + random"] == "text + forward"
    assert found["true steps"] == "the truth"


def test_power_is_that_of_simulated_studies():
    family = Family(**vars(FAMILY) | {"num_replicates": 24})
    found = family.detectable("b", "exact")
    assert found == pytest.approx(detectable_difference(0.02 / math.sqrt(24), 23))
    assert family.detectable("c", "exact") is None
    draws = np.random.default_rng(0).normal(found, 0.02, (4000, 24))
    assert (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.03)


def test_families_of_each_kind(tmp_path: Path):
    (tmp_path / "h.yaml").write_text(
        "families: [{name: pools, plan: p, says: S., method: a, against: [b], each: kind}, "
        "{name: later, plan: q, says: S., method: a, against: [b], each: kind}]"
    )
    rows = [*ROWS, *(each | {"kind": "noisy", "exact": 0.5} for each in ROWS if each["replicate"] < 2)]
    families = read_families({"p": rows}, {"p": 4, "q": 4}, tmp_path / "h.yaml")
    assert [(family.name, family.num) for family in families] == [("pools: clean", 4), ("pools: noisy", 2)]


def test_every_run_is_in_the_table():
    rows = [*ROWS, {"method": "b", "replicate": 4, "status": "ValueError: x"}]
    table = method_table("x", rows, ["b", "c"])
    line = dict(zip(table.heading, (getattr(cell, "text", cell) for cell in table.rows[0]), strict=True))
    shown = [line[key] for key in ("n", "failed", "rows", "exact match", "seconds")]
    assert shown == ["4", "1", "3", "0.565", "2"]


def test_the_text_is_what_the_rows_say(tmp_path: Path):
    pytest.importorskip("matplotlib")
    (tmp_path / "images").mkdir()
    write_ledger(tmp_path)
    for name in ("evidence.md", "evidence.html"):
        assert (tmp_path / name).read_text() == (DOCS / name).read_text(), "run `python -m bench.bed ledger`"
    for path in (tmp_path / "images").iterdir():
        assert (DOCS / "images" / path.name).is_file()
