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
    from circuitseer_trl.drawing.text_tables import text_table
    from circuitseer_trl.evaluation.run_folders import compare_with, find_baseline, read_runs, run_folder
    from circuitseer_trl.pages.overlap_tables import OVERLAP_HEADING, OVERLAP_TITLE, overlap_rows
    from circuitseer_trl.pages.report import report_page
    from circuitseer_trl.pages.result_tables import differences_text, results_table
    from circuitseer_trl.pages.selection_exhibits import run_overlaps

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
    if rows := overlap_rows(run_overlaps(folders, options.selection_dir)):
        print(f"\n{OVERLAP_TITLE}\n{text_table(OVERLAP_HEADING, rows)}")
    write_text(options.output, report_page(runs, folders, baseline, comparisons, options.selection_dir))
    print(f"\nPage: {options.output}")


if __name__ == "__main__":
    sys.exit(run_command(main))
