"""Which evaluations are compared? Their folders, names and results."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from circuitseer_trl.evaluation.paired import PairedComparison, compare_runs
from circuitseer_trl.evaluation.result_files import read_results

Runs = Mapping[str, dict[str, Any]]  # content of results.json by the run's name


def compare_with(baseline: str, runs: Runs, folders: Mapping[str, Path]) -> dict[str, PairedComparison]:
    """Compares every other run with the baseline. The keys are the runs' names."""
    return {
        name: compare_runs(folders[name], run, folders[baseline], runs[baseline])
        for name, run in runs.items()
        if name != baseline
    }


def run_folder(path: str | Path) -> Path:
    """Returns the folder of a run. `path` is the folder or its results.json."""
    path = Path(path)
    return (path.parent if path.name == "results.json" else path).resolve()


def read_runs(paths: Iterable[str | Path]) -> tuple[dict[str, dict[str, Any]], dict[str, Path]]:
    """Reads the results and the folders of runs, by short names for tables."""
    folders = [run_folder(path) for path in paths]
    results = {folder: read_results(folder) for folder in folders}
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(set(folders)):
        depth += 1
    named = {"/".join(folder.parts[-depth:]): folder for folder in folders}
    return {name: results[folder] for name, folder in named.items()}, named


def find_baseline(asked: str | None, folders: Mapping[str, Path]) -> str:
    """Returns the name of the run that `--baseline` gives as a name or a folder; the first run if it gives none."""
    if asked is None:
        return next(iter(folders))
    for name, folder in folders.items():
        if asked == name or folder == run_folder(asked):
            return name
    raise ValueError(f"`--baseline` {asked} is not one of the runs: {', '.join(folders)}.")
