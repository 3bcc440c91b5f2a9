"""Compares evaluations: results with intervals, and differences on the same problems, as tables and as a page.

circuitseer report runs/a runs/b
circuitseer report random=runs/r0,runs/r1,runs/r2 'top=runs/t*'     # several seeds each; the first are paired, and so on
circuitseer report runs/study                                        # the page of a study
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.command_line import CommandParser, run_command


def main(args: Sequence[str] | None = None) -> None:
    parser = CommandParser(prog="circuitseer report", description=__doc__)
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="`output_dir` of an evaluation, or its results.json; or one study's folder.",
    )
    parser.add_argument("--baseline", metavar="RUN", help="Run to compare the others with (the first).")
    parser.add_argument(
        "--selection_dir",
        action="append",
        default=[],
        metavar="DIR",
        help="Another folder with heads.json, scores.json or selection.json, beside RUN and RUN/selection.",
    )
    parser.add_argument("--output", type=Path, help="The page to write (report.html; of a study, that in its folder).")
    options = parser.parse_args(args)
    from circuitseer_trl.artifacts import write_text
    from circuitseer_trl.drawing.text_tables import text_table
    from circuitseer_trl.evaluation.run_folders import compare_with, find_baseline, read_runs, run_folder
    from circuitseer_trl.pages.contamination_table import contamination_text
    from circuitseer_trl.pages.overlap_tables import OVERLAP_HEADING, OVERLAP_TITLE, overlap_rows
    from circuitseer_trl.pages.report import report_page
    from circuitseer_trl.pages.result_tables import differences_text, results_table
    from circuitseer_trl.pages.selection_exhibits import run_overlaps
    from circuitseer_trl.pages.study_views.study_files import is_study

    if any("=" in run and not Path(run).exists() for run in options.runs):
        report_groups(options.runs, options.output or Path("report.html"), options.baseline)
        return
    if any(is_study(Path(run)) for run in options.runs):
        report_study([Path(run) for run in options.runs], options.output, options.baseline)
        return
    paths = options.runs
    if options.baseline and run_folder(options.baseline).is_dir():
        given = [run_folder(path) for path in paths]
        paths = paths if run_folder(options.baseline) in given else [options.baseline, *paths]
    runs, folders = read_runs(paths)
    baseline = find_baseline(options.baseline, folders)
    comparisons = compare_with(baseline, runs, folders)
    print(results_table(runs) + contamination_text(runs))
    if comparisons:
        print(f"\n{differences_text(baseline, comparisons)}")
    if rows := overlap_rows(run_overlaps(folders, options.selection_dir)):
        print(f"\n{OVERLAP_TITLE}\n{text_table(OVERLAP_HEADING, rows)}")
    page = options.output or Path("report.html")
    write_text(page, report_page(runs, folders, baseline, comparisons, page, options.selection_dir))
    print(f"\nPage: {page}")


def report_groups(words: list[str], page: Path, baseline: str | None) -> None:
    """Compares runs with names, some of them with several seeds."""
    from circuitseer_trl.artifacts import write_text
    from circuitseer_trl.pages.run_groups import compare_groups, groups_page, read_groups
    from circuitseer_trl.pages.study_table import study_table
    from circuitseer_trl.pages.study_views.answer_sentences import answer

    groups = read_groups(words)
    study = compare_groups(groups, baseline or next(iter(groups)))
    print("\n".join([study_table(study.found), "", *answer(study)]))
    write_text(page, groups_page(study, page))
    print(f"\nPage: {page}")


def report_study(folders: list[Path], page: Path | None, baseline: str | None) -> None:
    """Draws the page of a study again, from the files that `circuitseer study` wrote."""
    from circuitseer_trl.artifacts import read_json, write_text
    from circuitseer_trl.pages.study_page import study_page
    from circuitseer_trl.pages.study_table import study_table
    from circuitseer_trl.studies.tasks import PAGE

    if len(folders) > 1 or baseline is not None:
        raise ValueError(
            "A study is reported alone, and its file has the baseline. Give its folder, without other runs."
        )
    [root] = folders
    page = page or root / PAGE
    text = study_page(root, page)
    print(study_table(read_json(root / "differences.json")))
    write_text(page, text)
    print(f"\nPage: {page}")


if __name__ == "__main__":
    sys.exit(run_command(main))
