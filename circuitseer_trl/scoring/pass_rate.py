"""How often does a model solve a problem? Pass rates from the verdicts of an evaluation on the pool, or from a column."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from circuitseer_trl.answers import read_verdict_lines
from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.checks import check_number
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Row, Scorer
from circuitseer_trl.scoring.combination import Combination

HOW_TO = "Write the pool as a benchmark with `circuitseer pool-benchmark` and run `circuitseer evaluate` on it (docs/methods.md)."


@dataclass(frozen=True)
class PassRate:
    """The share of a problem's answers that are right, and the number of answers; None if it is not known."""

    value: float
    num_answers: int | None


def read_pass_rates(path: str) -> dict[str, PassRate]:
    """Reads pass rates by problem id: of the sampled answers, or of the greedy answer if there are no samples.

    Args:
        path: The `output_dir` of `circuitseer evaluate`, or a JSONL of `id` and `verdict` such as `circuitseer grade` writes.
    """
    place = Path(path).expanduser()
    files = [place] if place.is_file() else sorted((place / "verdicts").glob("*.jsonl"))
    if not files:
        raise FileNotFoundError(
            f"There are no verdicts in {path}: neither a file nor a folder with verdicts/. {HOW_TO}"
        )
    found: dict[str, dict[bool, list[bool]]] = {}
    for line in (line for file in files for line in read_verdict_lines(file)):
        found.setdefault(line.id, {True: [], False: []})[line.greedy].append(line.verdict)
    answers = {name: marks[False] or marks[True] for name, marks in found.items()}
    if not answers:
        raise ValueError(f"The verdicts {path} are empty. {HOW_TO}")
    return {name: PassRate(sum(marks) / len(marks), len(marks)) for name, marks in answers.items()}


def pass_rates_fingerprint(rates: dict[str, PassRate]) -> str:
    return fingerprint([(uid, rates[uid].value, rates[uid].num_answers) for uid in sorted(rates)])


def check_joined(pool: Pool, rates: dict[str, PassRate], path: str) -> None:
    """Raises if no row of the pool has a verdict: the evaluation was not of this pool."""
    if not any(uid in rates for uid in pool.uids):
        raise ValueError(
            f"None of the {len(pool)} rows of the pool has a verdict in {path}. A row's uid is for instance {pool.uids[0]}, a "
            f"verdict's id {next(iter(rates))}. {HOW_TO}"
        )


@dataclass
class PassRateScorer(Scorer):
    """Scores a row by the share of a model's answers that are right; a row without an answer has the status `no_verdict`.

    Attributes:
        verdicts: An evaluation, as in `read_pass_rates`; the problems' ids are the rows' uids.
        pass_rate_column: A column of the pool with pass rates, in place of verdicts.
    """

    columns: ClassVar[dict[str, pa.DataType]] = {"num_answers": pa.int64()}
    not_in_noise: ClassVar[tuple[str, ...]] = ("verdicts",)

    verdicts: str | None = None
    pass_rate_column: str | None = None

    def __post_init__(self) -> None:
        if (self.verdicts is None) == (self.pass_rate_column is None):
            raise ValueError(
                "`method: pass_rate` needs either `verdicts` (an evaluation of a model on the pool) or `pass_rate_column`: set "
                f"one of them in `method_args`. {HOW_TO}"
            )

    @cached_property
    def verdict_rates(self) -> dict[str, PassRate]:
        return read_pass_rates(self.verdicts) if self.verdicts is not None else {}

    def read_inputs(self) -> None:
        self.verdict_rates  # noqa: B018

    def check(self, pool: Pool) -> None:
        if self.verdicts is not None:
            check_joined(pool, self.verdict_rates, self.verdicts)
        else:
            self.column_rates(pool)

    def fit(self, pool: Pool, output_dir: Path) -> None:
        self.rates = self.verdict_rates if self.verdicts is not None else self.column_rates(pool)

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"pass_rates_fingerprint": pass_rates_fingerprint(self.rates)}

    def column_rates(self, pool: Pool) -> dict[str, PassRate]:
        """The pass rates in `pass_rate_column`, by uid."""
        column = self.pass_rate_column
        if column not in pool.source.column_names:
            raise ValueError(
                f"The pool has no column {column!r} (`pass_rate_column`); its columns are {', '.join(pool.source.column_names)}."
            )
        rates: dict[str, PassRate] = {}
        for uid, value in zip(pool.uids, pool.source.select(pool.rows)[column], strict=True):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"Pass rates must be numbers in [0, 1], but row {uid} has {value!r} in {column!r}.")
            rates[uid] = PassRate(float(value), None)
        if not rates:
            raise ValueError(f"The column {column!r} (`pass_rate_column`) is empty in every usable row of the pool.")
        return rates

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        rows: list[Row] = []
        for example in batch:
            row: Row = {"score": None, "status": "no_verdict", "num_answers": None}
            if (rate := self.rates.get(example.uid)) is not None:
                row = {"score": rate.value, "status": "ok", "num_answers": rate.num_answers}
            rows.append(row)
        return rows


@dataclass
class PassRateBand(Combination):
    """Gives rows of a medium pass rate the score 1, and the others none (open-r1's filter: 0.1 < p < 0.9).

    Attributes:
        lowest: A row with this pass rate or a lower one is too hard.
        highest: A row with this pass rate or a higher one is too easy.
    """

    lowest: float = 0.1
    highest: float = 0.9

    def __post_init__(self) -> None:
        check_number("lowest", self.lowest)
        check_number("highest", self.highest)
        if not self.lowest < self.highest:
            raise ValueError(f"`lowest` must be below `highest`, got {self.lowest} and {self.highest}.")

    def combine(self, table: pa.Table, difficulty: np.ndarray | None) -> np.ndarray:
        rate = table["score"].to_numpy()
        return np.where((rate > self.lowest) & (rate < self.highest), 1.0, np.nan)
