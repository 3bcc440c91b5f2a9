"""Which problems does a benchmark have? Its rows, from a local file or the Hub, in one format."""

import hashlib
import json
import logging
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
        gold: Reference answer. If the file has none it is empty, and no answer is graded as correct.
        choices: Option texts by letter, as far as the file has them.
        benchmark: Name of the benchmark.
    """

    id: str
    question: str
    gold: str
    choices: dict[str, str] | None = None
    benchmark: str = ""


@dataclass(frozen=True)
class Parsed:
    question: str
    gold: str
    choices: dict[str, str] | None = None


def _plain(row: Row, question: str, answer: Any) -> Parsed:
    if isinstance(answer, float):  # amc23 stores 27.0
        answer = int(answer) if answer.is_integer() else answer
    if isinstance(answer, dict):  # three rows of kaoyan: several named answers
        answer = ", ".join(f"{name}={value}" for name, value in answer.items())
    return Parsed(question, str(answer).strip())


def _first_of_list(row: Row, question: str, answer: Any) -> Parsed:
    return Parsed(question, answer[0].strip())


def _options(row: Row, question: str, answer: Any) -> Parsed:
    """Reads a row with a separate field of options, and adds them to the question."""
    options = {letter: str(text) for letter, text in row["options"].items() if text is not None}
    # One line for each option, as in the evaluation that the paper uses (Select2Reason's `parse_question`).
    lines = [f"{letter}: {text}" for letter, text in options.items()]
    return Parsed("\n".join([question, *lines]), answer.strip(), options)


def _letter_and_option(row: Row, question: str, answer: Any) -> Parsed:
    """Reads a row whose `choice_answer`, if there is one, is the reference's letter, and whose answer has the option's text."""
    letter = (row.get("choice_answer") or "").strip()
    answer = answer.strip()
    if not letter:
        return Parsed(question, answer)
    return Parsed(question, letter, {letter: re.sub(rf"^{letter}\s*\.\s*", "", answer)})


def _after_hashes(row: Row, question: str, answer: Any) -> Parsed:
    _, separator, number = answer.rpartition("####")
    if not separator:
        raise KeyError("no `####` in the answer")
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
    questions = [row[name].strip() for name in names if isinstance(row.get(name), str) and row[name].strip()]
    if not questions:
        raise KeyError(f"no text in any of the fields {', '.join(names)}; the row has {', '.join(row)}")
    return READERS[benchmark.reader](row, questions[0], row[benchmark.answer])


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
        source, rows = str(path), _read_rows(path)
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
    problems = []
    for number, row in enumerate(rows):
        try:
            parsed = _parse(row, benchmark)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"Row {number} of {source} is not a row of {name}: {error!r}.") from error
        own = str(row["uid"]) if benchmark is OWN_BENCHMARK and "uid" in row else f"{name}-{number}"
        problems.append(Problem(own, parsed.question, parsed.gold, parsed.choices, name))
    if len({problem.id for problem in problems}) < len(problems):
        raise ValueError(f"Two rows of {source} have the same `uid`. Give every problem its own.")
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


def _read_rows(path: Path) -> list[Row]:
    rows = [row for _, row in json_lines(path)]
    if not rows:
        raise ValueError(f"{path} has no rows.")
    return rows


def _download_rows(name: str, benchmark: Benchmark) -> list[Row]:
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
    return rows
