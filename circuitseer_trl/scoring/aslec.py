"""How likely is a solution, apart from the first tokens of its steps? ASLEC, which corrects for the length of steps."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from circuitseer_trl.modeling.token_statistics import TokenSettings
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.pool.solution_steps import StepRule, num_steps
from circuitseer_trl.scoring.base import Row
from circuitseer_trl.scoring.combination import Combination
from circuitseer_trl.scoring.token_scorer import TokenScorer


@dataclass
class ASLECScorer(TokenScorer):
    """Scores a solution by the mean log-probability of the tokens that do not start a step (ASLEC-drop, arXiv 2604.06834).

    The first token of a step is unlikely, so a mean over all tokens favours solutions of long steps. A solution whose steps have
    no further tokens has the status `no_other_tokens`.

    Attributes:
        steps: How a solution is cut into steps. The paper's code cuts after sentences; a worked solution often has a step a line.
        num_first_tokens: Number of tokens at the start of each step that are left out (1 in the paper's function, 2 in its runs).
    """

    signed: ClassVar[bool] = True
    columns: ClassVar[dict[str, pa.DataType]] = {
        "mean_log_probability": pa.float64(),
        "first": pa.float64(),
        "others": pa.float64(),
        "first_share": pa.float64(),
        "num_steps": pa.int64(),
    }

    steps: StepRule = "lines"
    num_first_tokens: int = 1

    def __post_init__(self) -> None:
        self.settings  # noqa: B018  # checks both

    @property
    def settings(self) -> TokenSettings:
        return TokenSettings(steps=self.steps, num_first_tokens=self.num_first_tokens)

    def check(self, pool: Pool) -> None:
        if not any(num_steps(example.completion, self.steps) > 1 for example in pool):
            raise ValueError(
                f"No solution of the pool {pool.name} has two steps (`steps: {self.steps}`), so there is nothing to correct "
                "for. Set another rule for `steps`, or `method: max_loss` with `sampling: bottom_k`."
            )

    def score_row(self, found: dict[str, Any]) -> Row:
        number, num_first = found["num_completion_tokens"], found["num_first"]
        total, first = -found["loss_nats"] * number, -found["first_loss_nats"]
        row: Row = {
            "mean_log_probability": total / number,
            "first": first / num_first,
            "first_share": num_first / number,
            "num_steps": found["num_steps"],
        }
        if num_first == number:
            return row | {"status": "no_other_tokens"}
        others = (total - first) / (number - num_first)
        return row | {"score": others, "others": others}

    def summary(self, table: pa.Table) -> dict[str, Any]:
        return {"casl": casl_fit(table)}


def casl_fit(table: pa.Table) -> dict[str, float] | None:
    """Least squares of the mean log-probability M on that of first tokens, that of others, and the share Z of first tokens.

    Returns:
        The coefficients of M = first + others + first_share + constant. The share's is 0 where all rows have the same share,
        which identifies none. None without a row that has all columns.
    """
    names = ("mean_log_probability", "first", "others", "first_share")
    mean, first, others, share = (table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in names)
    known = np.isfinite(mean) & np.isfinite(first) & np.isfinite(others) & np.isfinite(share)
    if not known.any():
        return None
    varies = np.ptp(share[known]) > 0
    columns = [first[known], others[known], *([share[known]] if varies else []), np.ones(int(known.sum()))]
    found = np.linalg.lstsq(np.column_stack(columns), mean[known], rcond=None)[0]
    return {
        "first": float(found[0]),
        "others": float(found[1]),
        "first_share": float(found[2]) if varies else 0.0,
        "constant": float(found[-1]),
    }


@dataclass
class StepLengthCorrection(Combination):
    """The mean log-probability without what the share of first tokens explains (ASLEC-casl): M - g Z.

    g is the coefficient of Z in the least squares over all rows, which the card of the scores keeps as `casl`.
    """

    def combine(self, table: pa.Table, difficulty: np.ndarray | None) -> np.ndarray:
        fit = casl_fit(table)
        mean, share = (
            table[name].to_numpy(zero_copy_only=False).astype(np.float64)
            for name in ("mean_log_probability", "first_share")
        )
        scored = np.isfinite(table["score"].to_numpy())
        return np.where(scored, mean - (fit["first_share"] if fit else 0.0) * share, np.nan)
