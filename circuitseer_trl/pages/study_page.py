"""What does the page of a study show? The answer first, then results, selections, heads, trainings, cost, and all answers."""

from pathlib import Path

from circuitseer_trl.drawing.html_pages import html_page
from circuitseer_trl.pages.answers import answers_section
from circuitseer_trl.pages.sections import Section, section_html
from circuitseer_trl.pages.study_views.answer_sentences import answer, sentences_of
from circuitseer_trl.pages.study_views.head_views import head_exhibits
from circuitseer_trl.pages.study_views.paper_views import paper_exhibits
from circuitseer_trl.pages.study_views.provenance_views import commands, provenance_exhibits
from circuitseer_trl.pages.study_views.result_views import benchmark_exhibits, difference_exhibits, result_exhibits
from circuitseer_trl.pages.study_views.selection_views import (
    overlap_exhibits,
    score_exhibits,
    selection_exhibits,
    token_exhibits,
)
from circuitseer_trl.pages.study_views.study_files import StudyFiles, read_study_files
from circuitseer_trl.pages.study_views.training_views import cost_exhibits, training_exhibits


def study_sections(study: StudyFiles) -> list[Section]:
    """The parts of the page but for the browser of answers; without those that have nothing to show."""
    found = [
        Section("answer", "Answer", answer(study)),
        Section("results-section", "Results", exhibits=result_exhibits(study)),
        Section("differences-section", "Differences", sentences_of(study.found), difference_exhibits(study)),
        Section("benchmarks-section", "Benchmarks", exhibits=benchmark_exhibits(study)),
        Section("paper-section", "In the paper's form", exhibits=paper_exhibits(study)),
        Section("selections-section", "Selections", exhibits=[*overlap_exhibits(study), *selection_exhibits(study)]),
        Section("scores-section", "Scores", exhibits=[*score_exhibits(study), *token_exhibits(study)]),
        Section("heads-section", "Heads", exhibits=head_exhibits(study)),
        Section("training-section", "Training", exhibits=training_exhibits(study)),
        Section("cost-section", "Cost", exhibits=cost_exhibits(study)),
        Section("provenance-section", "Provenance", exhibits=provenance_exhibits(study), commands=commands(study)),
    ]
    return [section for section in found if not section.empty]


def study_page(root: Path, page: Path) -> str:
    """The page as HTML.

    Args:
        root: Folder of the study.
        page: Where the page will be written; the answers of a large study go to a folder beside it.
    """
    study = read_study_files(root)
    sections = study_sections(study)
    finished = {point["name"]: root / point["folder"] for point in study.points if point["finished"]}
    answers = answers_section(finished, page)
    contents = [(section.name, section.title) for section in sections] + ([("answers", "Answers")] if answers else [])
    body = "".join(map(section_html, sections)) + answers
    return html_page(f"Study {study.plan['study']}", body, contents=contents)
