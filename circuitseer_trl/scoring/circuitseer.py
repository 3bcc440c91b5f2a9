"""The CircuitSeer score: how unevenly the reasoning heads attend to the tokens of a problem."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from transformers import PreTrainedModel

from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.circuits.received import (
    NotFiniteError,
    attention_entropy,
    attention_received,
    attention_variance,
    sink_share,
    variance_without_first,
)
from circuitseer_trl.configs import SYSTEM_PROMPT, ScoreOn, Statistic, TextFormat
from circuitseer_trl.modeling.encoding import encode_prompt
from circuitseer_trl.modeling.losses import length_batches
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.base import Row, Scorer


@dataclass
class CircuitSeerScorer(Scorer):
    """Scores a text by the variance of the attention that its tokens receive (CircuitSeer, equations 4 and 5).

    Attributes:
        score_on: The text: the problem (the paper's), or the solution alone (Table 5; our reading of "output").
        score_format: `plain` is the text alone, as in the paper; `chat` puts it into the chat template.
        statistic: `variance` is the paper's; `entropy` is 1 - H(p) / log(m), in [0, 1].
        sink_tokens: Number of first tokens that are left out of the statistic; the paper leaves out none.
        max_batch_tokens: Tokens of one forward pass. It does not change results beyond rounding.
        system_prompt: For `score_format: chat`.
    """

    uses_heads: ClassVar[bool] = True

    score_on: ScoreOn = "problem"
    score_format: TextFormat = "plain"
    statistic: Statistic = "variance"
    sink_tokens: int = 0
    max_batch_tokens: int = 8192
    system_prompt: str = SYSTEM_PROMPT

    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        assert reference is not None
        assert heads is not None
        rows: list[Row] = [{} for _ in batch]
        ids: dict[int, list[int]] = {}
        for index, example in enumerate(batch):
            text = example.problem if self.score_on == "problem" else example.completion
            tokens = encode_prompt(reference.tokenizer, text, self.score_format, self.system_prompt)
            truncated = len(tokens) > reference.max_length
            rows[index] = {
                "status": "truncated" if truncated else "ok",
                "num_tokens": len(tokens[: reference.max_length]),
            }
            if tokens:
                ids[index] = tokens[: reference.max_length]
            else:
                rows[index]["status"] = "empty"
        model = reference.model(for_scores=True)
        indices = list(ids)
        for positions in length_batches([len(ids[index]) for index in indices], self.max_batch_tokens):
            members = [indices[position] for position in positions]
            for index, alpha in self._received(model, {index: ids[index] for index in members}, heads).items():
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

    def _received(
        self, model: PreTrainedModel, ids: dict[int, list[int]], heads: HeadSet
    ) -> dict[int, np.ndarray | None]:
        """Attention received by each text; None where it is not finite; batch-mates keep theirs."""
        try:
            return dict(zip(ids, attention_received(model, list(ids.values()), heads.selected), strict=True))
        except NotFiniteError:
            if len(ids) == 1:
                return dict.fromkeys(ids)
        return {
            index: alpha
            for key, text in ids.items()
            for index, alpha in self._received(model, {key: text}, heads).items()
        }
