"""Compares evaluations: results with intervals, and differences on the same problems, as tables and as a page."""

import sys
from collections.abc import Sequence

from circuitseer_trl.command_line import CommandParser, run_command


def main(args: Sequence[str] | None = None) -> None:
    parser = CommandParser(prog="circuitseer report", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="`output_dir` of an evaluation, or its results.json.")
    parser.add_argument("--baseline", metavar="RUN", help="Run to compare the others with (the first).")
    parser.add_argument(
        "--selection_dir",
        action="append",
        default=[],
        metavar="DIR",
        help="Another folder with heads.json, scores.json or selection.json, beside RUN and RUN/selection.",
    )
    parser.add_argument("--output", default="report.html", help="The page to write.")
    options = parser.parse_args(args)
    from circuitseer_trl.artifacts import write_text
    from circuitseer_trl.evaluation.run_folders import compare_with, find_baseline, read_runs, run_folder
    from circuitseer_trl.pages.report import report_page
    from circuitseer_trl.pages.result_tables import differences_text, results_table

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
    sys.exit(run_command(main))
