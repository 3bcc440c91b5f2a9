"""Which runs are one method with several seeds? `NAME=FOLDER,FOLDER`, compared as the points of a study are."""

from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from circuitseer_trl.drawing.exhibit_html import exhibit_html
from circuitseer_trl.drawing.html_pages import html_page
from circuitseer_trl.evaluation.result_files import read_results
from circuitseer_trl.evaluation.run_folders import run_folder
from circuitseer_trl.pages.answers import answers_section
from circuitseer_trl.pages.study_views.answer_sentences import answer, sentences_of
from circuitseer_trl.pages.study_views.result_views import benchmark_exhibits, difference_exhibits, result_exhibits
from circuitseer_trl.pages.study_views.study_files import StudyFiles
from circuitseer_trl.studies.study_results import compared, problem_values

Groups = Mapping[str, Sequence[Path]]


def read_groups(words: Sequence[str]) -> dict[str, list[Path]]:
    """The folders of each group, from words `NAME=FOLDER`, `NAME=FOLDER,FOLDER` or `NAME=PATTERN`; a pattern may have `*`.

    Raises:
        ValueError: A word has no name, or a name or a run of a group stands twice.
        FileNotFoundError: A pattern fits no folder.
    """
    groups: dict[str, list[Path]] = {}
    for word in words:
        name, _, places = word.partition("=")
        if not name or not places:
            raise ValueError(f"Runs with names are written NAME=FOLDER or NAME=FOLDER,FOLDER, got {word!r}.")
        if name in groups:
            raise ValueError(f"The name {name!r} stands twice. Write its runs as {name}=FOLDER,FOLDER.")
        found = [sorted(glob(place)) if "*" in place else [place] for place in places.split(",")]
        groups[name] = [run_folder(each) for several in found for each in several]
        if twice := [each for each in groups[name] if groups[name].count(each) > 1]:
            raise ValueError(f"The group {name!r} has the run {twice[0]} twice, but a run is one seed. Leave one out.")
        if not groups[name]:
            raise FileNotFoundError(f"No folder fits {places!r}.")
    return groups


def compare_groups(groups: Groups, baseline: str) -> StudyFiles:
    """Compares groups with the baseline. The runs of two groups are paired in their order; a single run is paired with each.

    Raises:
        ValueError: There is no group of the baseline's name.
    """
    if baseline not in groups:
        raise ValueError(f"`--baseline` {baseline} is not one of {', '.join(groups)}.")
    number = max(map(len, groups.values()))
    plan: dict[str, Any] = {"study": "groups", "baseline": baseline, "seeds_joined": True, "points": []}
    plan["seeds"] = [(seed, seed) for seed in range(number)]
    values = {}
    for name, folders in groups.items():
        for place, folder in enumerate(folders):
            seed = place if len(folders) > 1 else None
            point: dict[str, Any] = {
                "name": f"{name}.{place}",
                "method": name,
                "selection_method": name,
                "folder": str(folder),
            }
            point |= {
                "model": "",
                "reference_model": None,
                "budget": None,
                "selection_seed": seed,
                "training_seed": seed,
            }
            plan["points"].append(point)
            values[point["name"]] = problem_values(folder, read_results(folder))
    found = {"baseline": baseline, "num_points": len(values), "num_finished": len(values), "overlaps": []}
    return StudyFiles(Path(), plan, plan["points"], found | compared(plan, values))


def groups_page(study: StudyFiles, page: Path) -> str:
    """The page as HTML: the answer, the means with every run as a dot, the differences, and all answers."""
    texts = "".join(f"<p>{text}</p>" for text in [*answer(study), *sentences_of(study.found)])
    exhibits = [*result_exhibits(study), *difference_exhibits(study), *benchmark_exhibits(study)]
    runs = {point["name"]: Path(point["folder"]) for point in study.points}
    body = f"<h2>Answer</h2>{texts}{''.join(exhibit_html(each, level=2) for each in exhibits)}"
    return html_page("CircuitSeer report", body + answers_section(runs, page))
