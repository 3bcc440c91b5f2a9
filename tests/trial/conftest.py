"""The inputs of the trial's cases, and the finished runs that cases damage."""

from collections.abc import Callable
from pathlib import Path

import pytest

from circuitseer_trl.command_line import DEBUG_VARIABLE
from tests.trial.outcomes import Outcome
from tests.trial.table import record
from tests.trial.tiny_run import Place, make_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def place(inputs: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A folder for one case, which is also the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DEBUG_VARIABLE, "1")  # undone at the end of the test, whoever sets it meanwhile
    monkeypatch.delenv(DEBUG_VARIABLE)
    return Place(tmp_path, inputs.model, inputs.pool, inputs.benchmarks)


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Callable[[str, Outcome], None]:
    """Counts an outcome in the table of a group."""
    return lambda group, outcome: record(request, group, outcome)
