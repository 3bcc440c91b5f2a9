"""Corrections of wrong references, used only where asked for: published results are of the files as they are."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from circuitseer_trl.evaluation.benchmarks import Problem

ERRATA_FILE = Path(__file__).with_name("errata.json")


def with_errata(problems: Sequence[Problem]) -> tuple[list[Problem], int]:
    """The problems with the references of `errata.json` in place of wrong ones, and how many were replaced.

    A reference that is not the wrong one any more, in a copy that was mended, stays as it is.
    """
    errata = json.loads(ERRATA_FILE.read_text(encoding="utf-8"))
    corrected = [
        replace(problem, gold=entry["gold"])
        if (entry := errata.get(problem.id)) is not None and entry["was"] == problem.gold
        else problem
        for problem in problems
    ]
    return corrected, sum(new is not old for new, old in zip(corrected, problems, strict=True))
