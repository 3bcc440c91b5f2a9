"""What do scorers share that read sums over the tokens of solutions? One pass over the pool, and what its rows can be."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from circuitseer_trl.distributed.shard_folders import read_shards
from circuitseer_trl.modeling.stored_losses import TOKEN_STATISTICS
from circuitseer_trl.modeling.token_statistics import TokenSettings, token_statistics
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Needs, Row, Scorer
from circuitseer_trl.scoring.max_loss import loss_row


@dataclass
class TokenScorer(Scorer):
    """A scorer of sums over a solution's tokens. Scorers with the same settings share `token_statistics/`.

    A row whose solution is truncated to fewer than 16 tokens has no score, as for Max-Loss.
    """

    needs: ClassVar[Needs] = "losses"

    @property
    def settings(self) -> TokenSettings:
        """What is summed; the scorer's own parameters, and defaults for the others."""
        return TokenSettings()

    def stored_passes(self) -> dict[str, Any]:
        return {TOKEN_STATISTICS: asdict(self.settings)}

    def fit(self, pool: Pool, output_dir: Path) -> None:
        token_statistics(pool, self.reference, self.settings, output_dir)
        self._folder = output_dir / TOKEN_STATISTICS

    @cached_property
    def statistics(self) -> dict[str, dict[str, Any]]:
        """The rows of `token_statistics/`, by uid."""
        return {row["uid"]: row for row in read_shards(self._folder, "score-pool").to_pylist()}

    @abstractmethod
    def score_row(self, found: dict[str, Any]) -> Row:
        """The score and the own columns of a row whose sums are finite, or another `status`."""

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        rows = []
        for example in batch:
            found = self.statistics[example.uid]
            row = loss_row(found)
            row.pop("loss_nats")
            if row["score"] is not None:
                row |= {"score": None} | self.score_row(found)
            rows.append(dict.fromkeys(self.columns) | row)
        return rows
