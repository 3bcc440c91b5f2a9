"""What will the selections of a study cost? Times each kind of score on a few rows, as `select-data --dry_run` does."""

import importlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from circuitseer_trl.children import run_fork
from circuitseer_trl.command_line import run_command
from circuitseer_trl.studies.study_plan import StudyPlan
from circuitseer_trl.studies.tasks import Task


def select_data() -> Callable[[list[str]], int | None]:
    """The function of the command; this package is below the commands and does not import them."""
    return importlib.import_module("circuitseer_trl.scripts.select_data").main


def print_selection_costs(plan: StudyPlan, todo: Sequence[Task]) -> int:
    """Prints the estimated cost of each table of scores that is to be made, with that of the heads that it needs.

    Returns:
        The exit status of the first estimate that failed; 0 if none did.
    """
    for task in todo:
        if task.kind != "score-pool":
            continue
        users = [point.name for point in plan.points if point.shared.get("scores") == task.folder]
        named = ", ".join(users[:3]) + (" and others" if len(users) > 3 else "")
        print(f"\nThe cost of {task.name}, timed on a few rows, for {named}:", flush=True)
        recipe = plan.recipes[Path(task.arguments[task.arguments.index("--config") + 1])]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "recipe.yaml"
            path.write_text(recipe, encoding="utf-8")
            words = ["--config", str(path), "--output_dir", str(Path(folder) / "out"), "--dry_run", "true"]
            # In a copy: it loads the reference model, and the next estimate may need another one.
            if status := run_fork(lambda words=words: run_command(select_data(), words)):  # type: ignore[misc]
                return status
    return 0
