"""A write that fails, at any place of a run, leaves nothing that is taken for whole: the same command ends as without it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trial.damaged_runs import again, contents
from tests.trial.failed_writes import Fault, broken, failing_write, full, killed
from tests.trial.outcomes import Ended, Outcome, run
from tests.trial.tiny_run import Place, make_inputs

STEPS = ("select", "train", "evaluate")
QUICK = 4  # places of each step in `make test`
FAULTS: dict[str, Fault] = {"full": full, "broken": broken, "killed": killed}


class Steps:
    """A run, with copies of its folder before and after each step. Each case works at one place."""

    def __init__(self, folder: Path) -> None:
        self.place = make_inputs(folder / "ours")
        self.before: dict[str, Path] = {}
        self.after: dict[str, dict[str, Any]] = {}
        self.writes: dict[str, int] = {}
        for step in STEPS:
            self.before[step] = Path(shutil.copytree(self.place.folder, folder / step))
            with failing_write(full, -1) as writes:
                ended = run(self.words(step))
            assert ended.status == 0, (step, ended.errors, ended.log[-3000:])
            self.writes[step] = writes.number
            self.after[step] = contents(self.place.folder)

    def words(self, step: str) -> list[object]:
        return again(step)(self.place, None)  # type: ignore[arg-type]

    def start(self, step: str) -> Place:
        shutil.rmtree(self.place.folder)
        shutil.copytree(self.before[step], self.place.folder)
        return self.place


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    return Steps(tmp_path_factory.mktemp("steps"))


def fail(words: list[object], fault: str, place: int) -> Ended | None:
    """Runs a command whose write fails; None if it was killed. That is done in a process of its own."""
    if fault != "killed":
        with failing_write(FAULTS[fault], place):
            return run(words)
    child = os.fork()
    if child == 0:
        with failing_write(killed, place):
            run(words)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
    return None


def check(steps: Steps, step: str, fault: str, place: int) -> Outcome:
    steps.start(step)
    ended = fail(steps.words(step), fault, place)
    if ended is not None and (ended.status is None or "Traceback" in ended.log):
        return "traceback"
    if ended is not None and (ended.status != 2 or len(ended.errors) != 1):
        print(step, fault, place, ended.status, ended.errors)
        return "unclear"
    rest = run(steps.words(step))
    after = contents(steps.place.folder)
    wrong = [name for name in after | steps.after[step] if after.get(name) != steps.after[step].get(name)]
    if rest.status != 0 or wrong:
        print(step, fault, place, rest.status, rest.errors, wrong)
        return "silent" if rest.status == 0 else "unclear"
    return "made again"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_failed_write_is_made_again(step: str, fault: str, steps: Steps, count: Callable[[str, Outcome], None]):
    places = range(1, steps.writes[step] + 1)
    chosen = places[:: max(1, len(places) // QUICK)] if fault != "broken" else places[-1:]
    _check_places(step, fault, list(chosen), steps, count)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_every_write_may_fail(step: str, fault: str, steps: Steps, count: Callable[[str, Outcome], None]):
    _check_places(step, fault, list(range(1, steps.writes[step] + 1)), steps, count)


def _check_places(
    step: str, fault: str, places: list[int], steps: Steps, count: Callable[[str, Outcome], None]
) -> None:
    outcomes = {place: check(steps, step, fault, place) for place in places}
    for outcome in outcomes.values():
        count(f"writes: {step}", outcome)
    assert set(outcomes.values()) == {"made again"}, (outcomes, steps.writes)
