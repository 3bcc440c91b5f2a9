"""A process that stays and does the tasks of a study. It imports everything once; each task runs in a copy of it.

    python -m circuitseer_trl.studies.worker SESSION_FILE

A copy begins as a fresh process does after its imports: no random state, no joined launch, no engine and no tracker of an
earlier task. So a task gives the same bytes as its command alone.
"""

import importlib
import os
import sys
from pathlib import Path

from circuitseer_trl.children import run_fork
from circuitseer_trl.command_line import run_command
from circuitseer_trl.studies.task_loop import Session, TaskLoop
from circuitseer_trl.studies.tasks import Task

# All that the commands import while they run. Importing it starts no threads and looks for no device.
PRELOADED = (
    "circuitseer_trl.selection.cost",
    "circuitseer_trl.selection.examples",
    "circuitseer_trl.selection.steps",
    "circuitseer_trl.tracking",
    "circuitseer_trl.training.run",
    "circuitseer_trl.evaluation.run",
)


def in_copy(task: Task, log: Path) -> int:
    """Does a task in a copy of this process, with its output in a file."""

    def work() -> int:
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        return run_command(task.main(), task.arguments)  # type: ignore[arg-type]

    return run_fork(work)


def main(arguments: list[str]) -> int:
    session = Session.read(Path(arguments[0]))
    for name in PRELOADED:
        importlib.import_module(name)
    return 0 if TaskLoop(session, in_copy).run() else 1


if __name__ == "__main__":
    sys.exit(run_command(main))
