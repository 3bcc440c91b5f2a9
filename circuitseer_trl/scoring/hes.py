"""Is the model unsure at some tokens of a solution? The sum of its highest entropies (HES)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from circuitseer_trl.checks import check_choice
from circuitseer_trl.configs import EntropyOf
from circuitseer_trl.modeling.token_statistics import TokenSettings
from circuitseer_trl.scoring.base import Row
from circuitseer_trl.scoring.token_scorer import TokenScorer


@dataclass
class HESScorer(TokenScorer):
    """Scores a solution by the sum of its highest token entropies, in nats (High-Entropy Sum, arXiv 2605.22389).

    The entropy is that of the reference model's prediction, given the problem and the tokens before. The number of tokens is the
    share `entropy_share` of the solution's, rounded up (the paper leaves the rounding open). So the score grows with length.

    Attributes:
        entropy_share: Share of the solution's tokens; the paper's is 0.005, which is one token below 201.
        entropy_of: `top_sum` is HES; `top_mean` is the mean over the same tokens (the paper's AvgHE); `sum` is over all (ES).
    """

    columns: ClassVar[dict[str, pa.DataType]] = {
        "entropy_nats": pa.float64(),
        "top_entropy_nats": pa.float64(),
        "num_top": pa.int64(),
    }

    entropy_share: float = 0.005
    entropy_of: EntropyOf = "top_sum"

    def __post_init__(self) -> None:
        check_choice("entropy_of", self.entropy_of, EntropyOf)
        self.settings  # noqa: B018  # checks the share

    @property
    def settings(self) -> TokenSettings:
        return TokenSettings(entropy_share=self.entropy_share)

    def score_row(self, found: dict[str, Any]) -> Row:
        scores = {
            "top_sum": found["top_entropy_nats"],
            "top_mean": found["top_entropy_nats"] / found["num_top"],
            "sum": found["entropy_nats"],
        }
        return {"score": scores[self.entropy_of]} | {name: found[name] for name in self.columns}
