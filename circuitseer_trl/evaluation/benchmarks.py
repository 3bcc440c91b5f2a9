"""Which problems does a benchmark have? Its rows, from a local file or the Hub, in one format."""

import hashlib
import json
import logging
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitseer_trl.answers import json_lines
from circuitseer_trl.evaluation.benchmark_files import (
    BENCHMARKS_DIR_VARIABLE,
    OWN_BENCHMARK,
    Benchmark,
    benchmark_named,
    benchmark_names,
    rows_file,
)

logger = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """One question with its reference answer.

    Attributes:
        id: The benchmark's name and the row's number. In your own file it is the row's `uid`, if there is one.
        question: The user's turn of the prompt.
        gold: Reference answer. If the file has none it is empty: every answer to the problem is wrong then.
        choices: Option texts by letter, as far as the file has them.
        benchmark: Name of the benchmark.
        erratum: The file's reference, if `gold` is a correction of it.
    """

    id: str
    question: str
    gold: str
    choices: dict[str, str] | None = None
    benchmark: str = ""
    erratum: str | None = None


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


def _parse(row: Row, benchmark: Benchmark) -> Parsed:
    names = [benchmark.question] if isinstance(benchmark.question, str) else benchmark.question
    given = [_text(row[name], f"`{name}`") for name in names if row.get(name) is not None]
    questions = [text for text in given if text]
    if not questions:
        raise ValueError(f"no text in any of the fields {', '.join(names)}; the row has {', '.join(row)}")
    if benchmark.answer not in row:
        raise ValueError(f"there is no field `{benchmark.answer}`; the row has {', '.join(row)}")
    return READERS[benchmark.reader](row, questions[0], row[benchmark.answer])


def _problem_id(row: Row, number: int, name: str, benchmark: Benchmark) -> str:
    if benchmark is not OWN_BENCHMARK or "uid" not in row:
        return f"{name}-{number}"
    uid = row["uid"]
    if isinstance(uid, int) and not isinstance(uid, bool):
        return str(uid)
    if not isinstance(uid, str) or not uid:
        raise ValueError(f"`uid` must be text or a whole number, got {uid!r}")
    uid.encode()
    return uid


def load_benchmark(name: str, benchmarks_dir: str | Path | None = None) -> list[Problem]:
    """Returns the problems of a benchmark, in the order of its file.

    Args:
        name: Name of a file in `eval/benchmarks/`, or of your own local file.
        benchmarks_dir: Folder with `<name>/test.jsonl`; None takes the environment variable `CIRCUITSEER_BENCHMARKS_DIR`. If
            there is no local file, the rows are downloaded from the Hub.
    """
    if len(benchmark_names([name], benchmarks_dir)) > 1:
        raise ValueError(f"{name!r} stands for several benchmarks; load them one by one.")
    benchmark = benchmark_named(name)
    if benchmark.reader not in READERS:
        raise ValueError(f"`reader` of {name} must be one of {', '.join(READERS)}, got {benchmark.reader!r}.")
    path = rows_file(name, benchmarks_dir)
    if path is not None and path.is_file():
        source, rows = str(path), list(json_lines(path))
    elif benchmark.hub is None:
        raise FileNotFoundError(
            f"The benchmark {name!r} is only a local file, and {path or '`--benchmarks_dir`'} is missing. "
            f"Give the folder that holds {name}/test.jsonl as `--benchmarks_dir`."
        )
    else:
        source, rows = benchmark.hub, _download_rows(name, benchmark)
    if benchmark.number is not None and len(rows) != benchmark.number:
        raise ValueError(
            f"{source} has {len(rows)} rows, but {name} has {benchmark.number} problems. "
            "Use the complete file of the benchmark."
        )
    if not rows:
        raise ValueError(f"{source} has no rows.")
    problems: list[Problem] = []
    places: dict[str, str] = {}
    for number, (place, row) in enumerate(rows):
        try:
            parsed, own = _parse(row, benchmark), _problem_id(row, number, name, benchmark)
        except ValueError as error:
            raise ValueError(f"{place} is not a row of {name}: {error}.") from error
        if places.setdefault(own, place) != place:
            raise ValueError(f"{place} has the `uid` {own!r} of {places[own]}. Give every problem its own.")
        problems.append(Problem(own, parsed.question, parsed.gold, parsed.choices, name))
    empty = [places[problem.id] for problem in problems if not problem.gold]
    if empty and benchmark.checksum is None:  # of a published copy it is known
        logger.warning(
            "%s: %d of %d problems have no reference, such as %s. Every answer to them counts as wrong. Add the references, or "
            "leave the problems out.",
            *(name, len(empty), len(problems), empty[0]),
        )
    if benchmark.checksum is not None and (found := content_checksum(problems)) != benchmark.checksum:
        logger.warning(
            "%s is not the copy of %s that published results use: its questions and references have the checksum %s, not "
            "%s. Results may differ. Give the folder of the published copy as `--benchmarks_dir`.",
            source, name, found, benchmark.checksum,
        )  # fmt: skip
    return problems


def content_checksum(problems: Iterable[Problem]) -> str:
    """SHA-256 of all questions and references. It does not depend on the format and the other columns of the file."""
    lines = (json.dumps([problem.question, problem.gold], ensure_ascii=False) + "\n" for problem in problems)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _download_rows(name: str, benchmark: Benchmark) -> list[tuple[str, Row]]:
    import datasets  # slow to import, and not needed with a local folder

    rows: list[Row] = []
    for config in benchmark.configs or (None,):
        try:
            loaded = datasets.load_dataset(**benchmark.source, name=config, split=benchmark.split)
        except Exception as error:  # the Hub's errors share no base class
            raise FileNotFoundError(
                f"Could not load {name} from {benchmark.source} ({type(error).__name__}: {error}). "
                f"Give a folder that holds {name}/test.jsonl as `--benchmarks_dir`, or in {BENCHMARKS_DIR_VARIABLE}."
            ) from error
        rows.extend(dict(row) for row in loaded)
    return [(f"Row {number} of {benchmark.hub}", row) for number, row in enumerate(rows)]
