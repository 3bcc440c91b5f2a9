"""On which answers do the grader and Math-Verify disagree? Lines with both verdicts and the rule."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from circuitseer_trl.grading.second_opinion import second_opinions

_NOT_ASKED = ("empty_gold", "no_answer")


@dataclass(frozen=True)
class Graded:
    """A graded answer.

    Attributes:
        id: What names it: of an evaluation `id`, `greedy` and `sample`.
    """

    id: Mapping[str, Any]
    gold: str
    extracted: str | None
    verdict: bool
    reason: str
    undecided: bool


@dataclass(frozen=True)
class Disagreements:
    """What a second grader found.

    Attributes:
        lines: The answers with another verdict.
        num_silent: How many answers Math-Verify could not decide.
    """

    lines: list[dict[str, Any]]
    num_silent: int = 0

    def text(self) -> str:
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self.lines)


def disagreements(answers: Iterable[Graded], num_workers: int | None = None, timeout: float = 5.0) -> Disagreements:
    """Asks Math-Verify about each answer, and keeps those where its verdict is another one."""
    asked = [each for each in answers if each.extracted is not None and each.reason not in _NOT_ASKED]
    opinions = second_opinions(_pairs(asked), num_workers, timeout)
    lines = []
    for each, opinion in zip(asked, opinions, strict=True):
        if opinion.verdict is not None and opinion.verdict != each.verdict:
            ours = {"gold": each.gold, "extracted": each.extracted, "verdict": each.verdict, "reason": each.reason}
            lines.append({**each.id, **ours, "undecided": each.undecided, "math_verify": opinion.verdict})
    return Disagreements(lines, sum(opinion.verdict is None for opinion in opinions))


def _pairs(answers: Sequence[Graded]) -> list[tuple[str, str]]:
    return [(each.gold, each.extracted) for each in answers if each.extracted is not None]
