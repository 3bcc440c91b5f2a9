"""Which benchmarks are there? One YAML file each: `eval/benchmarks/<name>.yaml`, here or in the working directory."""

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from circuitseer_trl.named_files import named_files
from circuitseer_trl.yaml_files import read_yaml

BENCHMARKS_DIR_VARIABLE = "CIRCUITSEER_BENCHMARKS_DIR"
# A name is a file's name in generations/ and verdicts/. The parts of other ranks are called NAME.rank1.jsonl there.
_NAME = re.compile(r"\w[\w-]*(\.[\w-]+)*")
_PART = re.compile(r".*\.rank\d+")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The keys of a benchmark's file: the source of its rows, their number, and the fields of a problem.

    Attributes:
        hub: Id on the Hub, or a kind of file that `datasets` reads; None if there is only a local file.
        number: Number of problems; None accepts any number.
        question: Field of the question, or several fields, of which the first one with a text counts.
        answer: Field of the reference answer.
        revision: Commit, branch or tag on the Hub.
        configs: Configurations to join; None is the default one.
        split: Split to read.
        data_files: Path in the Hub's repository, or a URL.
        checksum: `content_checksum` of the copy that published results use.
        samples: Number of sampled answers to each problem if `num_samples` is not set; 0 is one greedy answer.
        paper: Position in `paper`; None for all but the paper's nine.
        reader: One of `READERS` (evaluation/benchmark_rows.py). Rows that need more than their fields have their own reader.
    """

    hub: str | None
    number: int | None
    question: str | list[str]
    answer: str
    revision: str | None = None
    configs: list[str] | None = None
    split: str = "test"
    data_files: str | None = None
    checksum: str | None = None
    samples: int = 0
    paper: int | None = None
    reader: str = "plain"

    def __post_init__(self) -> None:
        if self.number is not None and self.number < 1:
            raise ValueError(f"`number` must be at least 1, got {self.number}.")
        if self.samples < 0:
            raise ValueError(f"`samples` must be at least 0, got {self.samples}.")
        if not self.question:
            raise ValueError("`question` must name a field, got none.")

    @property
    def source(self) -> dict[str, Any]:
        """Arguments of `datasets.load_dataset`."""
        given = {"path": self.hub, "revision": self.revision}
        files = {"data_files": {self.split: self.data_files}} if self.data_files else {}
        return {name: value for name, value in given.items() if value} | files


# Your own file: rows with `problem` (or `question`), `answer` and optionally `uid`, as `circuitseer pool-benchmark` writes.
OWN_BENCHMARK = Benchmark(hub=None, number=None, question=["problem", "question"], answer="answer")


def benchmark_specs() -> dict[str, Path]:
    """Finds the files that describe benchmarks, by name. A file in the working directory overrides a shipped one."""
    return named_files("benchmarks")


def read_benchmark(path: Path) -> Benchmark:
    """Reads a benchmark's file. Errors name the file and the key."""
    keys = {each.name: each for each in fields(Benchmark)}
    values = read_yaml(path)
    for key in values:
        if key not in keys:
            close = difflib.get_close_matches(str(key), keys, n=1)
            advice = f"Did you mean `{close[0]}`?" if close else f"Keys are {', '.join(keys)}."
            raise ValueError(f"{path} has the unknown key `{key}`. {advice}")
    for key, each in keys.items():
        if key not in values and each.default is MISSING:
            raise ValueError(f"{path} lacks the key `{key}`. docs/evaluation.md lists the keys of a benchmark's file.")
        kind = each.type.__name__ if isinstance(each.type, type) else str(each.type)
        if key in values and not _fits(values[key], kind):
            raise ValueError(f"`{key}` in {path} must be of the type {kind}, got {values[key]!r}.")
    try:
        return Benchmark(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _fits(value: Any, kind: str) -> bool:
    """Whether a value is of one of the types that a field's annotation names."""
    if isinstance(value, list):
        return "list[str]" in kind and all(isinstance(item, str) for item in value)
    if value is None:
        return "None" in kind
    return type(value).__name__ in kind.split(" | ")


def check_benchmark_name(name: Any) -> None:
    """Raises if a benchmark cannot have this name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or _PART.fullmatch(name):
        raise ValueError(
            f"A benchmark cannot be called {name!r}. A name has letters, digits, `_` and `-`, and dots between them. It does not "
            "end in .rank and a number."
        )


def benchmark_named(name: str) -> Benchmark:
    """Returns the description of a benchmark; `OWN_BENCHMARK` if no file describes it."""
    path = benchmark_specs().get(name)
    return OWN_BENCHMARK if path is None else read_benchmark(path)


def paper_benchmarks() -> list[str]:
    """Names of the paper's nine benchmarks, in their order."""
    places = {name: read_benchmark(path).paper for name, path in benchmark_specs().items()}
    return sorted((name for name, place in places.items() if place is not None), key=lambda name: places[name] or 0)


def rows_file(name: str, benchmarks_dir: str | Path | None) -> Path | None:
    """Path of a benchmark's local rows; None if no folder is given."""
    folder = benchmarks_dir or os.environ.get(BENCHMARKS_DIR_VARIABLE)
    return Path(folder) / name / "test.jsonl" if folder else None


def benchmark_names(names: Iterable[str], benchmarks_dir: str | Path | None = None) -> list[str]:
    """Replaces `paper` by the paper's nine and removes repeats. Raises if a name is neither known nor a local file."""
    known = benchmark_specs()
    expanded = [each for name in names for each in (paper_benchmarks() if name == "paper" else (name,))]
    for name in expanded:
        check_benchmark_name(name)
        path = rows_file(name, benchmarks_dir)
        local = path is not None and path.is_file()
        if path is not None and not local and (others := sorted(path.parent.glob("test.*"))):
            raise ValueError(f"{others[0]} is not read: a benchmark's rows are JSONL. Convert the file to {path}.")
        if name not in known and not local:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"Did you mean {close[0]!r}? " if close else ""
            raise ValueError(
                f"Unknown benchmark {name!r}. {advice}Choose from {', '.join(known)}, or `paper` for its nine. For your own, "
                f"write DIR/{name}/test.jsonl and give DIR as `--benchmarks_dir`, or write eval/benchmarks/{name}.yaml."
            )
    return list(dict.fromkeys(expanded))
