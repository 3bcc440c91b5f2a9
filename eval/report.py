"""`python -m eval.report RUN...`: tables of several runs and of how they differ, and a page that needs no network."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import read_json, write_text
from eval.paired import Comparison, compare_runs
from eval.report_page import report_page
from eval.tables import Runs, differences_text, results_table


def compare_with(baseline: str, runs: Runs, folders: Mapping[str, Path]) -> dict[str, Comparison]:
    """Every other run against the baseline, by its name."""
    return {
        name: compare_runs(folders[name], run, folders[baseline], runs[baseline])
        for name, run in runs.items()
        if name != baseline
    }


def run_folder(path: str | Path) -> Path:
    """The folder of a run that is given by it or by its results.json."""
    path = Path(path)
    return (path.parent if path.name == "results.json" else path).resolve()


def read_runs(paths: Iterable[str | Path]) -> tuple[dict[str, dict[str, Any]], dict[str, Path]]:
    """Results and folders of runs, by names short enough for a table."""
    folders = [run_folder(path) for path in paths]
    for folder in folders:
        if not (folder / "results.json").is_file():
            raise FileNotFoundError(
                f"{folder} has no results.json. `python -m eval.run --output_dir {folder} ...` writes it."
            )
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(set(folders)):
        depth += 1
    named = {"/".join(folder.parts[-depth:]): folder for folder in folders}
    return {name: read_json(folder / "results.json") for name, folder in named.items()}, named


def find_baseline(asked: str | None, folders: Mapping[str, Path]) -> str:
    """The name of the run that `--baseline` gives by its name or folder; by default the first."""
    if asked is None:
        return next(iter(folders))
    for name, folder in folders.items():
        if asked == name or folder == run_folder(asked):
            return name
    raise ValueError(f"`--baseline` {asked} is none of the runs: {', '.join(folders)}.")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m eval.report",
        description="Compares runs: results with intervals, differences on the same problems, and a page of both.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output_dir of an evaluation, or its results.json")
    parser.add_argument("--baseline", metavar="RUN", help="the run that others are compared with (default: the first)")
    parser.add_argument(
        "--selection_dir",
        action="append",
        default=[],
        help="folder with heads.json, scores.json, selection.json; RUN and RUN/selection are looked at anyway",
    )
    parser.add_argument("--output", default="report.html", help="page to write (default: report.html)")
    options = parser.parse_args(arguments)
    paths = options.runs
    if options.baseline and run_folder(options.baseline).is_dir():
        given = [run_folder(path) for path in paths]
        paths = paths if run_folder(options.baseline) in given else [options.baseline, *paths]
    runs, folders = read_runs(paths)
    baseline = find_baseline(options.baseline, folders)
    comparisons = compare_with(baseline, runs, folders)
    print(results_table(runs))
    if comparisons:
        print(f"\n{differences_text(baseline, comparisons)}")
    write_text(options.output, report_page(runs, folders, baseline, comparisons, options.selection_dir))
    print(f"\nPage: {options.output}")


if __name__ == "__main__":
    main()
