"""Which references are wrong? Their corrections are optional, since published results use the files as they are."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from circuitseer_trl.evaluation.benchmarks import Problem

ERRATA_FILE = Path(__file__).with_name("errata.json")


def with_errata(problems: Sequence[Problem]) -> list[Problem]:
    """Replaces wrong references by those of `errata.json`. A reference that a copy has corrected already is kept."""
    errata = json.loads(ERRATA_FILE.read_text(encoding="utf-8"))
    return [
        replace(problem, gold=entry["gold"], erratum=problem.gold)
        if (entry := errata.get(problem.id)) is not None and entry["was"] == problem.gold
        else problem
        for problem in problems
    ]
