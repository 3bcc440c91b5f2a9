"""A damaged file of a finished run is named or made again, by the step that wrote it and by all that read it."""

from collections.abc import Callable, Iterator

import pytest
from _pytest.mark import ParameterSet

from tests.helpers.damage import DAMAGE
from tests.trial.damaged_runs import FILES, READERS, Runs
from tests.trial.outcomes import GOOD, Outcome

# Parts of a run may be copied: what is not there is not shown. The answers of a file alone have no settings.
MAY_BE_MISSING = {
    *((f"selection/{name}", reader) for name in ("heads.json", "examples.json") for reader in ("compare", "report")),
    *((f"selection/{name}", "report") for name in ("scores.json", "selection.json")),
    ("evaluation/settings.json", "replay"),
}
QUICK = ("select again", "evaluate again", "compare", "report")


def _cases() -> Iterator[ParameterSet]:
    for file, readers in FILES.items():
        for reader in readers:
            for damage in DAMAGE:
                if damage == "deleted" and (file, reader) in MAY_BE_MISSING:
                    continue
                slow = [] if damage == "flipped" and reader in QUICK else [pytest.mark.slow]
                yield pytest.param(file, reader, damage, marks=slow)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(("file", "reader", "damage"), _cases())
def test_a_damaged_file_is_named_or_made_again(
    file: str, reader: str, damage: str, runs: Runs, count: Callable[[str, Outcome], None], monkeypatch
):
    monkeypatch.chdir(runs.whole.parent)
    outcome, ended = runs.judge(file, damage, reader, READERS[reader])
    count(f"damage: {reader}", outcome)
    assert outcome in GOOD, f"{outcome}: status {ended.status}, {ended.errors}\n{ended.output}{ended.log}"
