"""What does a row of a benchmark's file say? Its question, its reference answer, and the problem's id."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from circuitseer_trl.evaluation.benchmark_files import OWN_BENCHMARK, Benchmark

Row = dict[str, Any]


@dataclass(frozen=True)
class Parsed:
    question: str
    gold: str
    choices: dict[str, str] | None = None


def _plain(row: Row, question: str, answer: Any) -> Parsed:
    if answer is None:
        return Parsed(question, "")
    if isinstance(answer, dict):  # three rows of kaoyan: several named answers
        return Parsed(question, ", ".join(f"{name}={_reference(value)}" for name, value in answer.items()))
    return Parsed(question, _reference(answer))


def _reference(answer: Any) -> str:
    if isinstance(answer, float) and math.isfinite(answer):  # amc23 stores 27.0
        return str(int(answer) if answer.is_integer() else answer)
    if isinstance(answer, int) and not isinstance(answer, bool):
        return str(answer)
    return _text(answer, "the answer", " or a number")


def _text(value: Any, name: str, other: str = "") -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text{other}, got {value!r}")
    value.encode()  # a lone surrogate has no UTF-8 form, and could not be written again
    return value.strip()


def _first_of_list(row: Row, question: str, answer: Any) -> Parsed:
    if not isinstance(answer, list) or not answer:
        raise ValueError(f"the answer must be a list of texts, got {answer!r}")
    return Parsed(question, _text(answer[0], "the first answer"))


def _options(row: Row, question: str, answer: Any) -> Parsed:
    """Reads a row with a separate field of options, and adds them to the question."""
    if not isinstance(row.get("options"), dict):
        raise ValueError(f"`options` must be texts by letter, got {row.get('options')!r}")
    options = {letter: str(text) for letter, text in row["options"].items() if text is not None}
    # One line for each option, as in Select2Reason's evaluation (`parse_question`).
    lines = [f"{letter}: {text}" for letter, text in options.items()]
    return Parsed("\n".join([question, *lines]), _text(answer, "the answer"), options)


def _letter_and_option(row: Row, question: str, answer: Any) -> Parsed:
    """Reads a row whose `choice_answer`, if there is one, is the reference's letter, and whose answer has the option's text."""
    letter = _text(row.get("choice_answer") or "", "`choice_answer`")
    answer = _text(answer, "the answer")
    if not letter:
        return Parsed(question, answer)
    return Parsed(question, letter, {letter: re.sub(rf"^{re.escape(letter)}\s*\.\s*", "", answer)})


def _after_hashes(row: Row, question: str, answer: Any) -> Parsed:
    _, separator, number = _text(answer, "the answer").rpartition("####")
    if not separator:
        raise ValueError("the answer has no `####`")
    return Parsed(question, number.strip().replace(",", ""))


# Each makes a problem from a row, its question and its answer. Most benchmarks are plain; other rows need their own reader.
READERS: dict[str, Callable[[Row, str, Any], Parsed]] = {
    "plain": _plain,
    "first_of_list": _first_of_list,
    "options": _options,
    "letter_and_option": _letter_and_option,
    "after_hashes": _after_hashes,
}


def parse_row(row: Row, benchmark: Benchmark) -> Parsed:
    """Reads a row with the reader of its benchmark. Raises if a field is missing or of another type."""
    names = [benchmark.question] if isinstance(benchmark.question, str) else benchmark.question
    given = [_text(row[name], f"`{name}`") for name in names if row.get(name) is not None]
    questions = [text for text in given if text]
    if not questions:
        raise ValueError(f"no text in any of the fields {', '.join(names)}; the row has {', '.join(row)}")
    if benchmark.answer not in row:
        raise ValueError(f"there is no field `{benchmark.answer}`; the row has {', '.join(row)}")
    return READERS[benchmark.reader](row, questions[0], row[benchmark.answer])


def problem_id(row: Row, number: int, name: str, benchmark: Benchmark) -> str:
    """Returns the id of a problem: the `uid` of a row in your own file, else the benchmark's name and the row's number."""
    if benchmark is not OWN_BENCHMARK or "uid" not in row:
        return f"{name}-{number}"
    uid = row["uid"]
    if isinstance(uid, int) and not isinstance(uid, bool):
        return str(uid)
    if not isinstance(uid, str) or not uid:
        raise ValueError(f"`uid` must be text or a whole number, got {uid!r}")
    uid.encode()
    return uid
