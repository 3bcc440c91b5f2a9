"""The benchmarks: where their problems come from, and one form for all of them.

To add one, write a function from its row to (question, gold, choices) and put a line into `BENCHMARKS`.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from circuitseer_trl.answers import json_lines

logger = logging.getLogger(__name__)

BENCHMARKS_DIR_VARIABLE = "CIRCUITSEER_BENCHMARKS_DIR"

Row = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """One question with its reference answer.

    Args:
        id (`str`): The benchmark's name and the row's number, or in a file of one's own the row's `uid` where it has one.
        question (`str`): The user's turn of the prompt.
        gold (`str`): Reference answer; empty where the file has none, and then nothing can be graded as correct.
        choices (`dict[str, str]`, *optional*): Option texts by letter, as far as the file tells them.
        benchmark (`str`): Name of the benchmark.
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


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark's rows are, how many there must be, and how a row becomes a problem.

    Args:
        count (`int`, *optional*): Rows the benchmark has; anything else is refused. `None` accepts any number.
        hub (`dict`, *optional*): Arguments of `datasets.load_dataset`; `None` where there is only a local file.
        hub_configs (`tuple[str, ...]`): Configurations to join; none = the default one.
        split (`str`): Split on the Hub.
    """

    parse: Callable[[Row], Parsed]
    count: int | None
    hub: dict[str, Any] | None
    hub_configs: tuple[str, ...] = ()
    split: str = field(default="test")


def _text(row: Row, *names: str) -> str:
    for name in names:
        if isinstance(row.get(name), str) and row[name].strip():
            return row[name].strip()
    raise KeyError(f"no text in any of the fields {', '.join(names)}; the row has {', '.join(row)}")


def _plain(row: Row) -> Parsed:
    answer = row["answer"]
    if isinstance(answer, float):  # amc23 stores 27.0
        answer = int(answer) if answer.is_integer() else answer
    if isinstance(answer, dict):  # three rows of kaoyan: several named answers
        answer = ", ".join(f"{name}={value}" for name, value in answer.items())
    return Parsed(_text(row, "problem", "question"), str(answer).strip())


def _olympiadbench(row: Row) -> Parsed:
    return Parsed(_text(row, "question"), row["final_answer"][0].strip())


def _gaokao_math_qa(row: Row) -> Parsed:
    options = {letter: str(text) for letter, text in row["options"].items() if text is not None}
    # One line per option, as in the evaluation that the paper uses (notes: Select2Reason's `parse_question`).
    lines = [f"{letter}: {text}" for letter, text in options.items()]
    return Parsed("\n".join([_text(row, "question"), *lines]), row["label"].strip(), options)


def _gaokao2024_mix(row: Row) -> Parsed:
    letter = (row.get("choice_answer") or "").strip()
    answer = row["answer"].strip()
    if not letter:
        return Parsed(_text(row, "question"), answer)
    return Parsed(_text(row, "question"), letter, {letter: re.sub(rf"^{letter}\s*\.\s*", "", answer)})


def _gsm8k(row: Row) -> Parsed:
    _, separator, answer = row["answer"].rpartition("####")
    if not separator:
        raise KeyError("no `####` in the answer")
    return Parsed(_text(row, "question"), answer.strip().replace(",", ""))


# Hub ids are from cards and from evaluations that use them, revisions from published code that pins them, none loaded here;
# where no revision is known there is none. kaoyan is on GitHub only. Counts and checksums tell of a changed file.
_MATH_TASKS = "HuggingFaceTB/math_tasks"
_KAOYAN = "https://raw.githubusercontent.com/GAIR-NLP/LIMO/e9951354af219d8c4d454e25ae348395e6598ab0/eval/data/kaoyan/test.jsonl"

BENCHMARKS: dict[str, Benchmark] = {
    "aime24": Benchmark(
        _plain,
        30,
        {"path": "HuggingFaceH4/aime_2024", "revision": "2fe88a2f1091d5048c0f36abc874fb997b3dd99a"},
        split="train",
    ),
    "aime25": Benchmark(
        _plain,
        30,
        {"path": "opencompass/AIME2025", "revision": "a6ad95f611d72cf628a80b58bd0432ef6638f958"},
        hub_configs=("AIME2025-I", "AIME2025-II"),
    ),
    "amc23": Benchmark(_plain, 40, {"path": "math-ai/amc23"}),
    "math500": Benchmark(
        _plain, 500, {"path": "HuggingFaceH4/MATH-500", "revision": "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be"}
    ),
    "olympiadbench": Benchmark(
        _olympiadbench, 675, {"path": "Hothan/OlympiadBench"}, hub_configs=("OE_TO_maths_en_COMP",), split="train"
    ),
    "gaokao2023en": Benchmark(_plain, 385, {"path": "MARIO-Math-Reasoning/Gaokao2023-Math-En"}, split="train"),
    "gaokao2024_mix": Benchmark(
        _gaokao2024_mix, 91, {"path": _MATH_TASKS, "data_files": {"test": "data/gaokao2024_mix/test.jsonl"}}
    ),
    "gaokao_math_qa": Benchmark(
        _gaokao_math_qa, 351, {"path": _MATH_TASKS, "data_files": {"test": "data/gaokao_math_qa/test.jsonl"}}
    ),
    "kaoyan": Benchmark(_plain, 199, {"path": "json", "data_files": {"test": _KAOYAN}}),
    "gsm8k": Benchmark(
        _gsm8k,
        1319,
        {"path": "openai/gsm8k", "revision": "740312add88f781978c0658806c59bc2815b9866"},
        hub_configs=("main",),
    ),
    "word_problems": Benchmark(_plain, None, None),  # the demo's own; its folder is given
}
# SHA-256 of what is asked and graded (`content_checksum`), taken of the files that the paper's evaluation code has.
CHECKSUMS = {
    "aime24": "11202356f3b1fd7535e7163720bce4abd90f785be0ae772b8823fd9de884a949",
    "aime25": "cf85a6c6efe1381e9718c2cdd3380fde4b8ebb7f192d146ed04283f3a36757eb",
    "amc23": "384fd72ba43ba21855c214b73956c052e1f6ae8af9696fcf9aae5425f5979640",
    "math500": "f4baeb27c3e5bac0396fdc3e42173df932f77910bb436684edaf9c6fa18cc3df",
    "olympiadbench": "9dfb4ec153b5aaa8ec5a48dfab48ffe16e16bfd9c1ccf8ee3eb84908c85a425b",
    "gaokao2023en": "f077440907693002c12ad9a7e6b9b2fc99d8fdde2a7c0cbcfa4f373f31f8f720",
    "gaokao2024_mix": "6ec6319bfdf4f175cc4f3a99c8fe85c654177a381f2ddd5c37157b4a980f0c0f",
    "gaokao_math_qa": "0408fdc380fb93b48849673415865b15ef90692a4b061939882f79b1275c71ac",
    "kaoyan": "ae55dbba3b52ba58844a202241767d8cce6dde5b5e54f8d6cf5d9d903d2a63b2",
    "gsm8k": "5ce871f10b043b8314aad55c6bef71d1811875cd65d55cbc07c9938b66d9b27b",
}
PAPER_BENCHMARKS = tuple(name for name in BENCHMARKS if name not in ("gsm8k", "word_problems"))
# A file of one's own: rows of `problem` (or `question`), `answer` and perhaps `uid`, such as `python -m eval.pool` writes.
OWN_BENCHMARK = Benchmark(_plain, None, None)


def benchmark_file(name: str, benchmarks_dir: str | Path | None) -> Path | None:
    """Where a benchmark's local file has to be; None where no folder is given."""
    folder = benchmarks_dir or os.environ.get(BENCHMARKS_DIR_VARIABLE)
    return Path(folder) / name / "test.jsonl" if folder else None


def benchmark_names(names: Iterable[str], benchmarks_dir: str | Path | None = None) -> list[str]:
    """Names with `paper` replaced by the nine of the paper, each once, and every one known or a local file."""
    expanded = [each for name in names for each in (PAPER_BENCHMARKS if name == "paper" else (name,))]
    for name in expanded:
        path = benchmark_file(name, benchmarks_dir)
        if name not in BENCHMARKS and not (path is not None and path.is_file()):
            raise ValueError(
                f"Unknown benchmark {name!r}. Choose from {', '.join(BENCHMARKS)}, or `paper` for the nine; one of your own is "
                f"a file DIR/{name}/test.jsonl, with DIR as `--benchmarks_dir`."
            )
    return list(dict.fromkeys(expanded))


def load_benchmark(name: str, benchmarks_dir: str | Path | None = None) -> list[Problem]:
    """The problems of a benchmark, in the order of its file.

    Args:
        name (`str`): A key of `BENCHMARKS`, or the name of a local file of one's own.
        benchmarks_dir (`str` or `Path`, *optional*): Folder with `<name>/test.jsonl`; by default the environment
            variable `CIRCUITSEER_BENCHMARKS_DIR`. The Hub is asked where neither has the file.
    """
    if len(benchmark_names([name], benchmarks_dir)) > 1:
        raise ValueError(f"{name!r} stands for several benchmarks; load them one by one.")
    benchmark = BENCHMARKS.get(name, OWN_BENCHMARK)
    path = benchmark_file(name, benchmarks_dir)
    if path is not None and path.is_file():
        source, rows = str(path), _read_rows(path)
    elif benchmark.hub is None:
        raise FileNotFoundError(
            f"The benchmark {name!r} is a local file only, and {path or '`--benchmarks_dir`'} is missing. "
            f"Give the folder that holds {name}/test.jsonl as `--benchmarks_dir`."
        )
    else:
        source, rows = benchmark.hub["path"], _download_rows(name, benchmark)
    if benchmark.count is not None and len(rows) != benchmark.count:
        raise ValueError(
            f"{source} has {len(rows)} rows, but {name} has {benchmark.count} problems. "
            "Use the benchmark's own, whole file."
        )
    problems = []
    for number, row in enumerate(rows):
        try:
            parsed = benchmark.parse(row)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"Row {number} of {source} is not a row of {name}: {error!r}.") from error
        own = str(row["uid"]) if benchmark is OWN_BENCHMARK and "uid" in row else f"{name}-{number}"
        problems.append(Problem(own, parsed.question, parsed.gold, parsed.choices, name))
    if len({problem.id for problem in problems}) < len(problems):
        raise ValueError(f"Two rows of {source} have the same `uid`, which has to name one problem.")
    if name in CHECKSUMS and (found := content_checksum(problems)) != CHECKSUMS[name]:
        logger.warning(
            "%s is not the copy of %s that published results are of: its questions and references have the checksum %s, not "
            "%s. Scores may differ; give that copy's folder as `--benchmarks_dir`.",
            source, name, found, CHECKSUMS[name],
        )  # fmt: skip
    return problems


def content_checksum(problems: Iterable[Problem]) -> str:
    """SHA-256 of all questions and references, whatever the format and the other columns of their file."""
    lines = (json.dumps([problem.question, problem.gold], ensure_ascii=False) + "\n" for problem in problems)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _read_rows(path: Path) -> list[Row]:
    rows = [row for _, row in json_lines(path)]
    if not rows:
        raise ValueError(f"{path} has no rows.")
    return rows


def _download_rows(name: str, benchmark: Benchmark) -> list[Row]:
    import datasets  # slow to import, and only needed without a local folder

    assert benchmark.hub is not None
    rows: list[Row] = []
    for config in benchmark.hub_configs or (None,):
        try:
            loaded = datasets.load_dataset(**benchmark.hub, name=config, split=benchmark.split)
        except Exception as error:  # the Hub's errors share no base class
            raise FileNotFoundError(
                f"Could not load {name} from {benchmark.hub} ({type(error).__name__}: {error}). "
                f"Give a folder that holds {name}/test.jsonl as `--benchmarks_dir`, or in {BENCHMARKS_DIR_VARIABLE}."
            ) from error
        rows.extend(dict(row) for row in loaded)
    return rows
