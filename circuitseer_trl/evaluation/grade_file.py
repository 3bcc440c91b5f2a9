"""Which responses in a JSONL file are right? The work of `circuitseer grade`."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from circuitseer_trl.answers import json_lines
from circuitseer_trl.artifacts import atomic_path, write_text
from circuitseer_trl.checks import check_choice, check_count, check_positive
from circuitseer_trl.evaluation.disagreements import Graded, disagreements
from circuitseer_trl.grading.grader import Grader, Question
from circuitseer_trl.grading.second_opinion import SecondGrader

logger = logging.getLogger(__name__)
_CHUNK = 2000  # lines in memory at a time


@dataclass
class GradeConfig:
    """The keys of `circuitseer grade`."""

    input: str = field(
        metadata={
            "help": "JSONL with `response` and `gold`, optionally `id`, `question`, and `choices`: texts by letter, or a list of "
            "texts, whose letters start at A."
        }
    )
    output: str = field(
        metadata={
            "help": "JSONL to write, in the same order: `id`, `verdict`, `extracted`, `reason`, `undecided` (no rule could "
            "decide, and the verdict is false), `seconds`."
        }
    )
    num_workers: int | None = field(
        default=None, metadata={"help": "Number of grading processes. By default one for each core, at most 4."}
    )
    timeout_seconds: float = field(
        default=5.0, metadata={"help": "Time limit of one comparison. After it the answer counts as wrong."}
    )
    second_grader: SecondGrader | None = field(
        default=None,
        metadata={
            "help": "Also grade with math_verify, and list the answers where it disagrees in a file beside the output, "
            "`NAME.disagreements.jsonl`. The verdicts stay."
        },
    )

    def __post_init__(self) -> None:
        if not Path(self.input).is_file():
            raise FileNotFoundError(f"There is no file {self.input}. Give a JSONL of responses as `--input`.")
        check_positive("timeout_seconds", self.timeout_seconds)
        if self.second_grader is not None:
            check_choice("second_grader", self.second_grader, SecondGrader)
        if self.num_workers is not None:
            check_count("num_workers", self.num_workers)

    @property
    def disagreements_file(self) -> Path:
        return Path(self.output).with_suffix(".disagreements.jsonl")


def _read(path: str) -> Iterator[dict[str, Any]]:
    for place, row in json_lines(path):
        for name in ("response", "gold"):
            if not isinstance(row.get(name), str):
                raise ValueError(f"{place}: `{name}` must be text, got {row.get(name)!r}.")
        if not isinstance(row.get("question"), str | None):
            raise ValueError(f"{place}: `question` must be text, got {row['question']!r}.")
        row["choices"] = _choices(place, row.get("choices"))
        yield row


def _choices(place: str, given: Any) -> dict[str, str] | None:
    choices = dict(zip(ascii_uppercase, given, strict=False)) if isinstance(given, list) else given
    if choices is not None and not (
        isinstance(choices, dict)
        and len(choices) == len(given)
        and all(isinstance(text, str) for text in choices.values())
    ):
        raise ValueError(f"{place}: `choices` must be texts by letter, or a list of texts, got {given!r}.")
    return choices


@dataclass(frozen=True)
class GradedFile:
    """How many lines of a file were graded, and with which verdicts.

    Attributes:
        num_disagreements: How many have another verdict of the second grader; None without one.
    """

    num_lines: int
    num_right: int
    num_undecided: int
    num_disagreements: int | None = None


def grade_file(config: GradeConfig) -> GradedFile:
    """Grades the file, and counts the verdicts."""
    num_lines = num_right = num_undecided = 0
    rows = _read(config.input)
    graded: list[Graded] = []
    with (
        atomic_path(config.output) as temporary,
        open(temporary, "w", encoding="utf-8", errors="replace") as output,
        Grader(config.num_workers, config.timeout_seconds) as grader,
    ):
        while chunk := list(islice(rows, _CHUNK)):
            items = [(row["response"], Question(row["gold"], row["choices"], row.get("question"))) for row in chunk]
            for row, verdict in zip(chunk, grader.grade(items), strict=True):
                line = {
                    "id": row.get("id", num_lines),
                    "verdict": verdict.correct,
                    "extracted": verdict.extracted,
                    "reason": verdict.reason,
                    "undecided": verdict.undecided,
                    "seconds": round(verdict.seconds, 6),
                }
                output.write(json.dumps(line, ensure_ascii=False) + "\n")
                if config.second_grader is not None:
                    about = (verdict.extracted, verdict.correct, verdict.reason, verdict.undecided)
                    graded.append(Graded({"id": line["id"]}, row["gold"], *about))
                num_lines += 1
                num_right += verdict.correct
                num_undecided += verdict.undecided
        if num_lines == 0:
            raise ValueError(f"{config.input} has no lines to grade.")
    if config.second_grader is None:
        return GradedFile(num_lines, num_right, num_undecided)
    found = disagreements(graded, config.num_workers, config.timeout_seconds)
    write_text(config.disagreements_file, found.text())
    return GradedFile(num_lines, num_right, num_undecided, len(found.lines))
