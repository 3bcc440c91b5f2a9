"""Which responses in a JSONL file are right? The work of `circuitseer grade`."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from circuitseer_trl.answers import json_lines
from circuitseer_trl.artifacts import atomic_path
from circuitseer_trl.grading.grader import Grader, Question

logger = logging.getLogger(__name__)
_CHUNK = 2000  # lines in memory at a time


@dataclass
class GradeConfig:
    """The keys of `circuitseer grade`."""

    input: str = field(
        metadata={"help": "JSONL with `response` and `gold`, optionally `id`, `choices` and `question`."}
    )
    output: str = field(
        metadata={"help": "JSONL to write, in the same order: `id`, `verdict`, `extracted`, `reason`, `seconds`."}
    )
    num_workers: int | None = field(
        default=None, metadata={"help": "Number of grading processes. By default one for each core, at most 4."}
    )
    timeout_seconds: float = field(
        default=5.0, metadata={"help": "Time limit of one comparison. After it the answer counts as wrong."}
    )

    def __post_init__(self) -> None:
        if not Path(self.input).is_file():
            raise FileNotFoundError(f"There is no file {self.input}. Give a JSONL of responses as `--input`.")
        if self.timeout_seconds <= 0:
            raise ValueError(f"`timeout_seconds` must be above 0, got {self.timeout_seconds}.")


def _read(path: str) -> Iterator[dict[str, Any]]:
    for place, row in json_lines(path):
        for name in ("response", "gold"):
            if not isinstance(row.get(name), str):
                raise ValueError(f"{place}: `{name}` must be text, got {row.get(name)!r}.")
        yield row


def grade_file(config: GradeConfig) -> tuple[int, int]:
    """Grades the file, and returns the number of lines and the number of right responses."""
    num_lines = num_right = 0
    rows = _read(config.input)
    with (
        atomic_path(config.output) as temporary,
        open(temporary, "w", encoding="utf-8", errors="replace") as output,
        Grader(config.num_workers, config.timeout_seconds) as grader,
    ):
        while chunk := list(islice(rows, _CHUNK)):
            items = [(row["response"], Question(row["gold"], row.get("choices"), row.get("question"))) for row in chunk]
            for row, verdict in zip(chunk, grader.grade(items), strict=True):
                line = {
                    "id": row.get("id", num_lines),
                    "verdict": verdict.correct,
                    "extracted": verdict.extracted,
                    "reason": verdict.reason,
                    "seconds": round(verdict.seconds, 6),
                }
                output.write(json.dumps(line, ensure_ascii=False) + "\n")
                num_lines += 1
                num_right += verdict.correct
    return num_lines, num_right
