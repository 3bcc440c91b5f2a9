"""Which judged answers are graders measured on? Cases of the tests, and of a shared folder where there is one."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).parents[1] / "tests" / "grading"


@dataclass(frozen=True)
class Case:
    """A response with its reference, and whether it is right."""

    id: str
    gold: str
    response: str
    right: bool
    question: str | None = None
    choices: dict[str, str] | None = None


def case_sets() -> dict[str, list[Case]]:
    """All sets at hand, by name."""
    found = {"blind": _blind(), "judged by hand": judged_by_hand()}
    if shared := os.environ.get("CIRCUITSEER_SHARED"):
        folder = Path(shared) / "grading"
        found |= {
            "examples": [_case(row, "response", "expected") for row in _rows(folder / "examples.jsonl")],
            "harder": [
                _case(row | {"response": boxed(row["answer"])}, "response", "correct")
                for row in _rows(folder / "hard_examples.jsonl")
                if not row.get("debatable")
            ],
        }
    return found


def judged_by_hand() -> list[Case]:
    """Every row of `grading_cases.txt`: a reference, and answers to it."""
    gold, cases = "", list[Case]()
    for line in (_TESTS / "grading_cases.txt").read_text(encoding="utf-8").splitlines()[1:]:
        mark, _, text = line.partition(" ")
        if mark == "=":
            gold = text
        elif mark:
            cases.append(Case(f"hand-{len(cases):04d}", gold, boxed(text), mark == "+"))
    return cases


def boxed(answer: str) -> str:
    return rf"\boxed{{{answer}}}"


def _blind() -> list[Case]:
    rows = _rows(_TESTS / "blind_cases.jsonl")
    return [_case(row, "response", "correct") for row in rows if row["correct"] is not None]


def _case(row: dict[str, Any], response: str, right: str) -> Case:
    return Case(row["id"], row["gold"], row[response], row[right], row.get("question"), row.get("choices"))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())
