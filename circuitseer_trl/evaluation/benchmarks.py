"""Which problems does a benchmark have? Its rows, from a local file or the Hub, in one format."""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from circuitseer_trl.evaluation.benchmark_files import (
    BENCHMARKS_DIR_VARIABLE,
    Benchmark,
    benchmark_named,
    benchmark_names,
    rows_file,
)
from circuitseer_trl.evaluation.benchmark_rows import READERS, Row, parse_row, problem_id
from circuitseer_trl.pool.file_rows import json_rows

logger = logging.getLogger(__name__)


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
        source, rows = str(path), [(f"Line {row.line} of {path}", row.values) for row in json_rows(path, str(path))]
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
            parsed, own = parse_row(row, benchmark), problem_id(row, number, name, benchmark)
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
