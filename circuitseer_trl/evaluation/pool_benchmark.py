"""How does a pool become a benchmark? The work of `circuitseer pool-benchmark`.

An evaluation on it measures how often a model solves each problem of the pool.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from circuitseer_trl.artifacts import write_text
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.evaluation.benchmark_files import OWN_BENCHMARK, benchmark_specs, check_benchmark_name
from circuitseer_trl.evaluation.benchmark_rows import parse_row
from circuitseer_trl.grading.extraction import extract_answer

if TYPE_CHECKING:
    from circuitseer_trl.pool.rows import Pool


@dataclass
class PoolBenchmarkConfig:
    """The keys of `circuitseer pool-benchmark`, beside those of the pool."""

    benchmarks_dir: str = field(metadata={"help": "Folder to write <name>/test.jsonl to."})
    name: str = field(default="pool", metadata={"help": "Name of the benchmark."})
    answer_column: str | None = field(
        default=None,
        metadata={"help": "Column of the reference answer. By default the content of the completion's last box."},
    )

    def __post_init__(self) -> None:
        if self.name in (*benchmark_specs(), "paper"):
            raise ValueError(f"`name` must be new, but {self.name!r} is already a benchmark. Choose another name.")
        try:
            check_benchmark_name(self.name)
        except ValueError as error:
            raise ValueError(f"`name` must be that of a benchmark. {error}") from error


def write_pool(pool_config: PoolConfig, config: PoolBenchmarkConfig) -> tuple[Path, int, int]:
    """Writes the pool's problems, each with its uid and its answer. Problems without an answer are left out.

    Returns:
        The file, the number of its problems, and the number of problems left out.
    """
    from circuitseer_trl.pool.load import pool_from_config  # slow to import, and not needed for `--help`

    pool = pool_from_config(pool_config)
    if config.answer_column is not None and config.answer_column not in pool.source.column_names:
        raise ValueError(
            f"The pool has no column {config.answer_column!r} (`answer_column`); its columns are "
            f"{', '.join(pool.source.column_names)}."
        )
    if config.answer_column is not None:
        answers = given_answers(pool, config.answer_column)
    else:
        answers = [extract_answer(example.completion) for example in pool]
    lines = [
        json.dumps({"uid": example.uid, "problem": example.problem, "answer": answer}, ensure_ascii=False) + "\n"
        for example, answer in zip(pool, answers, strict=True)
        if answer
    ]
    if not lines:
        raise ValueError(
            f"No row of the pool {pool.name} has an answer in a box. Set `answer_column` to the column of the answers."
        )
    path = Path(config.benchmarks_dir) / config.name / "test.jsonl"
    write_text(path, "".join(lines))
    return path, len(lines), len(pool) - len(lines)


def given_answers(pool: "Pool", column: str) -> list[str]:
    """The answers of a column, as an evaluation reads them from a file; empty where there is none.

    Raises:
        ValueError: An answer is neither text nor a number, such as a list or NaN.
    """
    answers = []
    for row, value in zip(pool.rows, pool.source.select(pool.rows)[column], strict=True):
        try:
            answers.append(parse_row({"problem": "-", "answer": value}, OWN_BENCHMARK).gold)
        except ValueError as error:
            raise ValueError(
                f"Row {row} of {pool.name} has no reference in {column!r} (`answer_column`): {error}. Give a column of texts or "
                "numbers."
            ) from error
    return answers
