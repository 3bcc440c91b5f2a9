"""The parts of a dataset's row: its problem, its worked solution, its difficulty."""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import datasets

NUMBER = re.compile(r"-?\d+(\.\d+)?")
GSM8K_ANSWER = re.compile(r"\n?####\s*+(.++)\Z")  # no backtracking, which takes minutes in a text of many spaces
GSM8K_CALCULATION = re.compile(r"<<[^<>]*>>")


def message_text(value: Any, role: str) -> Any:
    """The text of a column: the value itself, or the only message of `role` in a list of chat messages, else None."""
    if isinstance(value, list) and all(isinstance(message, dict) for message in value):
        texts = [message.get("content") for message in value if message.get("role") == role]
        return texts[0] if len(texts) == 1 else None
    return value


def marked_trace(traces: list[Any], marks: Any) -> Any:
    """The first trace marked true; None if there is none. Marks are booleans, or 1 and 0."""
    marks = marks if isinstance(marks, list) else []
    correct = (trace for trace, mark in zip(traces, marks, strict=False) if isinstance(mark, int | float) and mark == 1)
    return next(correct, None)


def texts_of(dataset: datasets.Dataset, column: str, name: str) -> list[str]:
    """The texts of a column, with an empty one for a missing value. Raises if a value is not text."""
    values = list(dataset[column])
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise ValueError(f"Row {row} of {name} has {value!r:.80} in its column {column!r}, which is not text.")
    return [value or "" for value in values]


def plain_answer(text: str) -> str:
    """Turns a GSM8K answer into a worked solution: no `<<48/2=24>>`, and a boxed result in place of `#### 24`."""
    match = GSM8K_ANSWER.search(text.rstrip())
    if match is None or "\\boxed" in text:
        return text
    return GSM8K_CALCULATION.sub("", text[: match.start()]) + f"\n\\boxed{{{match[1].replace(',', '')}}}"


def _fault(value: Any, name: str) -> str:
    """Why a value is no usable text; empty where it is one."""
    if value is not None and not isinstance(value, str):
        return f"{name} is not text"
    if not value or not value.strip():
        return "blank problem" if value and name == "problem" else f"no {name}"
    return f"{name} has a NUL character" if "\0" in value else ""


def usable_text(row: dict[str, Any], prompt_column: str, completion_column: str, correct_column: str) -> dict[str, str]:
    """Problem, completion and reason; the reason is empty where the row is usable. What is not text becomes an empty text."""
    problem, completion = message_text(row[prompt_column], "user"), row[completion_column]
    no_trace = ""
    if isinstance(completion, list) and not any(isinstance(part, dict) for part in completion):
        completion = marked_trace(completion, row.get(correct_column))
        no_trace = "no trace marked correct" if completion is None else ""
    else:
        completion = message_text(completion, "assistant")
    bad_problem, bad_completion = _fault(problem, "problem"), _fault(completion, "completion")
    reason = no_trace or bad_problem or bad_completion
    if not reason:
        return {"problem": problem, "completion": plain_answer(completion), "reason": ""}
    return {
        "problem": "" if bad_problem or not isinstance(problem, str) else problem,
        "completion": completion if bad_problem and isinstance(completion, str) else "",
        "reason": reason,
    }


def usable_labels(row: dict[str, Any], columns: Mapping[str, str | None], content: str) -> dict[str, Any]:
    """The uid, category and difficulty of a row, and the reason; the reason is empty where the row is usable.

    An id is text or a whole number. The others are text, a number, or missing, as NaN is.

    Args:
        columns: The columns of `id`, `category` and `difficulty`, None where there is none.
        content: The uid of a row without an id that can be used.
    """
    given = (row[column] if (column := columns[key]) is not None else None for key in ("id", "category", "difficulty"))
    uid, category, difficulty = (None if value != value else value for value in given)
    reason = ""
    if columns["id"] is not None and (uid is None or uid == ""):
        reason = "no id"
    elif uid is not None and (not isinstance(uid, str | int) or isinstance(uid, bool)):
        reason, uid = "id is not text or a whole number", None
    elif category is not None and not _is_label(category):
        reason = "category is not text or a number"
    elif difficulty is not None and not _is_label(difficulty):
        reason = "difficulty is not text or a number"
    return {
        "uid": content if uid is None or uid == "" else str(uid),
        "category": str(category) if _is_label(category) else None,
        "difficulty": difficulty_number(difficulty if _is_label(difficulty) else None),
        "reason": reason,
    }


def _is_label(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def difficulty_number(value: str | int | float | None) -> float | None:
    """The number in a value such as 5, "5", or MATH's "Level 5"; None where there is none."""
    if isinstance(value, str):
        match = NUMBER.search(value)
        return float(match[0]) if match else None
    return float(value) if value is not None and math.isfinite(value) else None


def content_uid(problem: str, completion: str) -> str:
    """A name that follows from the content: 16 hexadecimal digits of a hash of problem and completion."""
    return hashlib.blake2b(f"{len(problem)}:{problem}{completion}".encode(), digest_size=8).hexdigest()
