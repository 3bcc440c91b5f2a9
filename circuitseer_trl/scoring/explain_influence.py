"""Which tokens of one example taught the model its right answers? The influence of each step and each token."""

from dataclasses import dataclass

import numpy as np

from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.infra import InfraScorer


@dataclass(frozen=True)
class InfluenceExplanation:
    """The parts of one example's influence.

    Attributes:
        example: The row of the pool.
        tokens: The tokens of prompt and completion, as text.
        parts (`np.ndarray` of shape `(T,)`): Each position's part of the influence.
        steps: The step of each token, from 1; 0 for the prompt.
    """

    example: Example
    tokens: list[str]
    parts: np.ndarray
    steps: list[int]

    @property
    def score(self) -> float:
        return float(self.parts.sum())


def explain_influence(example: Example, scorer: InfraScorer) -> InfluenceExplanation:
    """Computes the parts of one row's influence with a bound scorer."""
    [encoded] = scorer.reference.encode([example])
    if encoded.num_completion_tokens < 1:
        raise ValueError(f"Row {example.row} has no token of its solution left, so it has no influence.")
    [parts] = scorer.token_parts([encoded])
    tokens = scorer.reference.tokenizer.batch_decode([[token] for token in encoded.input_ids])
    return InfluenceExplanation(example, tokens, parts, scorer.step_of_token(example, encoded))
