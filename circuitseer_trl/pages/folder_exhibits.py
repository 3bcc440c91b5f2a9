"""Which tables and figures do folders have? Those of a study, or those of runs and their selections."""

from collections.abc import Sequence
from pathlib import Path

from circuitseer_trl.drawing.exhibits import Exhibit
from circuitseer_trl.evaluation.run_folders import compare_with, read_runs
from circuitseer_trl.pages.run_exhibits import run_exhibits
from circuitseer_trl.pages.selection_exhibits import selection_exhibits
from circuitseer_trl.pages.study_page import study_sections
from circuitseer_trl.pages.study_views.study_files import is_study, read_study_files


def folder_exhibits(folders: Sequence[Path]) -> list[Exhibit]:
    """The exhibits of one study, or of runs, the first of which is the baseline."""
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"There is no folder {folder}. `circuitseer study` and `circuitseer evaluate` write one."
            )
    if not any(map(is_study, folders)):
        return _of_runs(folders)
    if len(folders) > 1:
        raise ValueError(f"A study is exported alone, got {len(folders)} folders.")
    return [each for section in study_sections(read_study_files(folders[0])) for each in section.exhibits]


def _of_runs(folders: Sequence[Path]) -> list[Exhibit]:
    runs, named = read_runs(folders)
    baseline = next(iter(runs))
    return [*run_exhibits(runs, named, baseline, compare_with(baseline, runs, named)), *selection_exhibits(named)]
