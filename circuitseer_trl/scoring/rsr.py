"""Are a solution's tokens among the likely ones, though each is surprising? The rank-surprisal ratio (RSR)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from circuitseer_trl.modeling.token_statistics import TokenSettings
from circuitseer_trl.scoring.base import Row
from circuitseer_trl.scoring.token_scorer import TokenScorer


@dataclass
class RSRScorer(TokenScorer):
    """Scores a solution by minus its rank-surprisal ratio (arXiv 2601.14249), so that the highest score is the best.

    The ratio is the sum over the solution's tokens of min(rank, `max_rank`), divided by the sum of their losses in nats. A rank
    is 1 + the number of tokens that the reference model finds likelier.

    Attributes:
        max_rank: A larger rank counts as this one.
    """

    signed: ClassVar[bool] = True
    columns: ClassVar[dict[str, pa.DataType]] = {"rank_surprisal_ratio": pa.float64(), "mean_rank": pa.float64()}

    max_rank: int = 100

    def __post_init__(self) -> None:
        self.settings  # noqa: B018  # checks the rank

    @property
    def settings(self) -> TokenSettings:
        return TokenSettings(max_rank=self.max_rank)

    def score_row(self, found: dict[str, Any]) -> Row:
        number, loss = found["num_completion_tokens"], found["loss_nats"]
        ratio = found["rank_sum"] / number / loss if loss > 0 else math.inf
        if not math.isfinite(ratio):
            return {"status": "error"}
        return {"score": -ratio, "rank_surprisal_ratio": ratio, "mean_rank": found["rank_sum"] / number}
