"""Why has one text its score? Attention received token by token, and each head's part of the score."""

from dataclasses import dataclass

import numpy as np

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.circuits.received import attention_received, attention_variance
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.circuitseer import CircuitSeerScorer


@dataclass(frozen=True)
class Explanation:
    """One text's score, taken apart.

    Attributes:
        example: The row of the pool.
        tokens: The text's tokens, as text.
        heads: The heads that were looked at.
        received (`np.ndarray` of shape `(K, T)`): Attention that each token receives from each head; rows have mean 1.
        sink_tokens: So many first tokens are left out of the score.
        score: Variance of the heads' mean over the tokens that are left.
    """

    example: Example
    tokens: list[str]
    heads: list[Head]
    received: np.ndarray
    sink_tokens: int
    score: float

    @property
    def alpha(self) -> np.ndarray:
        """Attention received by each token, averaged over the heads; shape `(T,)`."""
        return self.received.mean(axis=0)

    def token_parts(self) -> np.ndarray:
        """Each token's part of the score, of shape `(T,)`; they add up to 1."""
        rest = self.alpha[self.sink_tokens :]
        parts = np.zeros(len(self.tokens))
        parts[self.sink_tokens :] = (rest - rest.mean()) ** 2 / len(rest)
        return parts / self.score if self.score else parts

    def head_parts(self) -> np.ndarray:
        """Each head's part of the score, of shape `(K,)`; they add up to 1.

        The variance of a mean is the mean of the heads' covariances with it: nothing is left over. The part of a head
        that attends where the others do not is negative.
        """
        rest = self.received[:, self.sink_tokens :]
        deviation = rest.mean(axis=0) - rest.mean()
        parts = rest @ deviation / rest.shape[1] / len(self.heads)
        return parts / self.score if self.score else np.zeros(len(self.heads))


def explain(example: Example, scorer: CircuitSeerScorer) -> Explanation:
    """Takes the score of one row apart, by one forward a head; the scorer is bound."""
    reference, heads = scorer.reference, scorer.heads.selected
    ids = scorer.encode(example)[: reference.max_length]
    if not ids:
        raise ValueError(f"Row {example.row} has no token in its {scorer.score_on}, and so no score.")
    received = np.stack([attention_received(scorer.model, [ids], [head])[0] for head in heads])
    score = attention_variance(received.mean(axis=0), scorer.sink_tokens)
    tokens = reference.tokenizer.batch_decode([[token] for token in ids])
    return Explanation(example, tokens, heads, received, scorer.sink_tokens, score)
