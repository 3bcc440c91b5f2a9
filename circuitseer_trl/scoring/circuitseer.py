"""How unevenly do the reasoning heads attend to the tokens of a problem? The CircuitSeer score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from circuitseer_trl.checks import check_choice, check_count
from circuitseer_trl.circuits.received import (
    NotFiniteError,
    attention_entropy,
    attention_received,
    attention_variance,
    sink_share,
    variance_without_first,
)
from circuitseer_trl.configs import ScoreOn, Statistic, TextFormat
from circuitseer_trl.modeling.encoding import encode_prompt
from circuitseer_trl.modeling.losses import length_batches
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Needs, Row, Scorer


@dataclass
class CircuitSeerScorer(Scorer):
    """Scores a text by the variance of the attention that its tokens receive (CircuitSeer, equations 4 and 5).

    Attributes:
        score_on: The text that is scored: the problem (as in the paper), or the solution alone (Table 5; our reading of
            "output").
        score_format: `plain` is the text alone, as in the paper; `chat` puts it into the chat template.
        statistic: `variance` is the paper's; `entropy` is 1 - H(p) / log(m), in [0, 1].
        sink_tokens: Number of first tokens that the statistic leaves out; 0 in the paper. A text without further tokens has no
            score and the status `too_short`.
    """

    needs: ClassVar[Needs] = "heads"
    reads_with: ClassVar[tuple[str, ...]] = ("system_prompt", "chat_date", "max_batch_tokens")

    score_on: ScoreOn = "problem"
    score_format: TextFormat = "plain"
    statistic: Statistic = "variance"
    sink_tokens: int = 0

    def __post_init__(self) -> None:
        check_choice("score_on", self.score_on, ScoreOn)
        check_choice("score_format", self.score_format, TextFormat)
        check_choice("statistic", self.statistic, Statistic)
        check_count("sink_tokens", self.sink_tokens, smallest=0)

    def check(self, pool: Pool) -> None:
        if self.score_format == "chat":
            self.reference.check_template(self.reference.system_prompt)
        # The first row answers this where `sink_tokens` makes sense.
        if self.sink_tokens and not any(
            min(len(self.encode(example)), self.reference.max_tokens) > self.sink_tokens for example in pool
        ):
            raise ValueError(
                f"`sink_tokens` is {self.sink_tokens}, and no {self.score_on} of the pool {pool.name} has more tokens, so no row "
                "would have a score. Lower `sink_tokens`."
            )

    def encode(self, example: Example) -> list[int]:
        """The tokens of the text that is scored, before truncation."""
        text = example.problem if self.score_on == "problem" else example.completion
        return encode_prompt(self.reference.tokenizer, text, self.score_format, self.reference.system_prompt)

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        rows: list[Row] = [{} for _ in batch]
        ids: dict[int, list[int]] = {}
        longest = self.reference.max_tokens
        for index, example in enumerate(batch):
            tokens = self.encode(example)
            status = "truncated" if len(tokens) > longest else "ok" if tokens else "empty"
            kept = tokens[:longest]
            if kept and len(kept) <= self.sink_tokens:
                status = "too_short"
            elif kept:
                ids[index] = kept
            rows[index] = {"status": status, "num_tokens": len(kept)}
        indices = list(ids)
        for positions in length_batches([len(ids[index]) for index in indices], self.reference.batch_tokens):
            members = [indices[position] for position in positions]
            for index, alpha in self._received({index: ids[index] for index in members}).items():
                if alpha is None:
                    rows[index]["status"] = "error"
                    continue
                statistic = attention_variance if self.statistic == "variance" else attention_entropy
                rows[index] |= {
                    "score": statistic(alpha, self.sink_tokens),
                    "sink_share": sink_share(alpha),
                    "score_without_sink": variance_without_first(alpha),
                }
        return rows

    def _received(self, ids: dict[int, list[int]]) -> dict[int, np.ndarray | None]:
        """The attention that each text's tokens receive; None for a text whose values are not finite."""
        try:
            return dict(zip(ids, attention_received(self.model, list(ids.values()), self.heads.selected), strict=True))
        except NotFiniteError:
            if len(ids) == 1:
                return dict.fromkeys(ids)
        return {index: alpha for key, text in ids.items() for index, alpha in self._received({key: text}).items()}
