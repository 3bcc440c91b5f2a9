"""`python -m eval.report RUN...`: tables of several runs and of how they differ, and a page that needs no network."""

import argparse

from circuitseer_trl.artifacts import write_text
from circuitseer_trl.evaluation.run_folders import compare_with, find_baseline, read_runs, run_folder
from circuitseer_trl.pages.report import report_page
from circuitseer_trl.pages.result_tables import differences_text, results_table


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
