"""`circuitseer pool-benchmark`: a pool as a benchmark, to measure how often a model solves each of its problems."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from circuitseer_trl.artifacts import write_text
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.evaluation.benchmark_files import benchmark_specs
from circuitseer_trl.grading.extraction import extract_answer


@dataclass
class PoolBenchmarkConfig:
    """Keys of `circuitseer pool-benchmark` besides those of the pool."""

    benchmarks_dir: str = field(metadata={"help": "Folder to write <name>/test.jsonl to."})
    name: str = field(default="pool", metadata={"help": "What the benchmark is called."})
    answer_column: str | None = field(
        default=None,
        metadata={"help": "Column of the reference answer. By default what the completion's last box holds."},
    )

    def __post_init__(self) -> None:
        if self.name in (*benchmark_specs(), "paper"):
            raise ValueError(f"`name` must be one of your own, but {self.name!r} is a benchmark already.")
        if not self.name or Path(self.name).name != self.name:
            raise ValueError(f"`name` must be a plain name of a folder, got {self.name!r}.")


def write_pool(pool_config: PoolConfig, config: PoolBenchmarkConfig) -> tuple[Path, int, int]:
    """Writes the pool's problems, each with its uid and its answer; those without an answer are left out.

    Returns:
        The file, how many problems it has, and how many were left out.
    """
    from circuitseer_trl.pool.load import pool_from_config  # slow to import, and `--help` need not wait for it

    pool = pool_from_config(pool_config)
    if config.answer_column is not None and config.answer_column not in pool.source.column_names:
        raise ValueError(
            f"The pool has no column {config.answer_column!r} (`answer_column`); its columns are "
            f"{', '.join(pool.source.column_names)}."
        )
    if config.answer_column is not None:
        given = pool.source.select(pool.rows)[config.answer_column]
        answers = [None if value is None else str(value).strip() for value in given]
    else:
        answers = [extract_answer(example.completion) for example in pool]
    lines = [
        json.dumps({"uid": example.uid, "problem": example.problem, "answer": answer}, ensure_ascii=False) + "\n"
        for example, answer in zip(pool, answers, strict=True)
        if answer
    ]
    if not lines:
        raise ValueError(
            f"No row of the pool {pool.name} has an answer in a box. Name the column that has the answers as `answer_column`."
        )
    path = Path(config.benchmarks_dir) / config.name / "test.jsonl"
    write_text(path, "".join(lines))
    return path, len(lines), len(pool) - len(lines)
