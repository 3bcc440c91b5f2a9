"""What does a study's folder say? Reads the files that `circuitseer study` wrote, for the views of its page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.studies.study_results import DIFFERENCES_FILE, POINTS_FILE

PLAN_FILE = "study.json"
Record = Mapping[str, Any]


@dataclass(frozen=True)
class StudyFiles:
    """The files of a study.

    Attributes:
        root: Its folder.
        plan: Content of `study.json`.
        points: Entries of `points.json`, in the order of the plan.
        found: Content of `differences.json`.
    """

    root: Path
    plan: Record
    points: Sequence[Record]
    found: Record

    @property
    def baseline(self) -> str:
        return str(self.plan["baseline"])

    @property
    def methods(self) -> list[str]:
        """The methods, in the order of the study's file; a method's place is the number of its colour."""
        return list(dict.fromkeys(point["method"] for point in self.points))

    def varies(self, key: str) -> bool:
        """Whether the points differ in the model, the reference model or the budget, beside those that have none."""
        return len({point[key] for point in self.points} - {None}) > 1

    def label(self, about: Record) -> str:
        """A method's name, with its reference model where the study compares several."""
        reference = about["reference_model"] if self.varies("reference_model") else None
        return f"{about['method']} ({reference})" if reference else str(about["method"])

    def place(self, about: Record) -> str:
        """The model and the budget of a group of methods, where the study compares several."""
        return ", ".join(str(about[key]) for key in ("model", "budget") if self.varies(key) and about[key])

    def sharers(self, kind: str) -> dict[str, list[Record]]:
        """The points that share a folder of heads or scores, by that folder."""
        found: dict[str, list[Record]] = {}
        for point in self.points:
            if kind in point["shared"]:
                found.setdefault(point["shared"][kind], []).append(point)
        return found


def is_study(folder: Path) -> bool:
    return (folder / PLAN_FILE).is_file()


def read_study_files(root: Path) -> StudyFiles:
    """Reads the files of a study.

    Raises:
        FileNotFoundError: The study has not been run to its end.
        ValueError: A file is broken.
    """
    contents = {}
    for name, key in ((PLAN_FILE, "baseline"), (POINTS_FILE, "points"), (DIFFERENCES_FILE, "differences")):
        path = root / name
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no {path}. `circuitseer study` writes it at the end of a run without --only."
            )
        contents[name] = read_json(path)
        if not isinstance(contents[name], dict) or key not in contents[name]:
            raise ValueError(
                f"{path} has no {key!r}, so it is not of a study. Run `circuitseer study` again, which writes it."
            )
    return StudyFiles(root, contents[PLAN_FILE], contents[POINTS_FILE]["points"], contents[DIFFERENCES_FILE])
