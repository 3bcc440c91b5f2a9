"""A pool that needs cleaning."""

from pathlib import Path

import pytest

from circuitseer_trl.configs import PoolConfig
from tests.conftest import PROBLEMS
from tests.helpers.dirty_texts import write_problems

LONG = "A farmer has {} cows and sells some of them to his neighbour for 300 dollars each. How many cows are left in the end?"


@pytest.fixture
def dirty(tmp_path: Path) -> PoolConfig:
    problems = [problem for problem, _ in PROBLEMS]
    pool = [*problems, "ANN has 3 apples, and buys 4 more: how many has she?", LONG.format(50), "", "Find 6 * 8."]
    benchmark = write_problems(tmp_path / "bench.jsonl", ["find 6 8", LONG.format(70)], column="question")
    return PoolConfig(
        write_problems(tmp_path / "pool.jsonl", pool),
        dedup_similarity=0.7,
        decontaminate_against=[benchmark],
        ngram_size=13,
    )
