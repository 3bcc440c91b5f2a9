"""Bad input is refused in one line before work, or its rows are dropped and counted. It is never taken without a word."""

import json
from collections.abc import Callable, Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.trial import bad_files, bad_models, bad_pools, bad_settings
from tests.trial.bad_input import BadInput
from tests.trial.outcomes import GOOD, PRODUCTS, Outcome, judge_refusal, run
from tests.trial.tiny_run import Place

GROUPS = {
    "pool files": bad_pools.FILES,
    "recipes": bad_settings.RECIPES,
    "values": bad_settings.VALUES,
    "launches": bad_settings.LAUNCHES,
    "models": bad_models.MODELS,
    "benchmarks": bad_files.BENCHMARKS,
    "heads": bad_files.HEADS,
    "selections": bad_files.SELECTIONS,
    "answers": bad_files.ANSWERS,
    "readers": bad_files.READERS,
}
# Found by this trial and not mended yet.
KNOWN_FAULTS = ("values: select: sink_tokens 100",)


def _cases() -> Iterator[ParameterSet]:
    for group, cases in GROUPS.items():
        for case in cases:
            name = f"{group}: {case.name}"
            known = [pytest.mark.xfail(reason="a known fault")] if name in KNOWN_FAULTS else []
            yield pytest.param(group, case, id=name, marks=known)


Count = Callable[[str, Outcome], None]


@pytest.mark.parametrize(("group", "case"), _cases())
def test_bad_input_is_refused(group: str, case: BadInput, place: Place, count: Count):
    words = case.words(place)
    before = {path for path in place.folder.rglob("*") if path.name in PRODUCTS}
    ended = run(words)
    outcome = judge_refusal(ended, case.says)
    if outcome == "clear" and {path for path in place.folder.rglob("*") if path.name in PRODUCTS} != before:
        outcome = "after work"
    count(group, outcome)
    assert outcome in GOOD, f"{outcome}: status {ended.status}, {ended.errors}\n{ended.output}{ended.log}"


@pytest.mark.parametrize("name", bad_pools.ROWS)
def test_bad_rows_are_counted(name: str, place: Place, count: Count):
    ended = run(bad_pools.row_words(name, place))
    outcome: Outcome = "traceback" if ended.status is None else "unclear"
    if ended.status == 0:
        card = json.loads((place.folder / "selection" / "selection.json").read_text())
        [(reason, number)] = [*card["pool"]["dropped"].items(), ("", 0)][:1]
        counted = number == 1 and bad_pools.ROWS[name][1] in reason and "1 " in ended.output
        outcome = "counted" if counted else "silent"
    count("pool rows", outcome)
    assert outcome in GOOD, f"{outcome}: status {ended.status}, {ended.errors}\n{ended.output}{ended.log}"
