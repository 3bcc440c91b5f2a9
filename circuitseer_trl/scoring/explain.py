"""Why does a text have its score? The attention that each token receives, and each head's part of the score."""

from dataclasses import dataclass

import numpy as np

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.circuits.received import attention_received, attention_variance
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.circuitseer import CircuitSeerScorer


@dataclass(frozen=True)
class Explanation:
    """The parts of one text's score.

    Attributes:
        example: The row of the pool.
        tokens: The text's tokens, as text.
        heads: The reasoning heads.
        received (`np.ndarray` of shape `(K, T)`): Attention that each token receives from each head; rows have mean 1.
        sink_tokens: Number of first tokens that the score leaves out.
        score: Variance of the heads' mean over the other tokens.
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
        """Each token's part of the score, of shape `(T,)`; the parts add up to 1."""
        rest = self.alpha[self.sink_tokens :]
        parts = np.zeros(len(self.tokens))
        parts[self.sink_tokens :] = (rest - rest.mean()) ** 2 / len(rest)
        return parts / self.score if self.score else parts

    def head_parts(self) -> np.ndarray:
        """Each head's part of the score, of shape `(K,)`; the parts add up to 1.

        The variance of a mean is exactly the mean of the heads' covariances with it. A head that attends to other tokens than
        the rest of the heads has a negative part.
        """
        rest = self.received[:, self.sink_tokens :]
        deviation = rest.mean(axis=0) - rest.mean()
        parts = rest @ deviation / rest.shape[1] / len(self.heads)
        return parts / self.score if self.score else np.zeros(len(self.heads))


def explain(example: Example, scorer: CircuitSeerScorer) -> Explanation:
    """Computes the parts of one row's score with a bound scorer, by one forward pass for each head."""
    reference, heads = scorer.reference, scorer.heads.selected
    ids = scorer.encode(example)[: reference.max_tokens]
    if not ids:
        raise ValueError(f"Row {example.row} has no token in its {scorer.score_on}, so it has no score.")
    if len(ids) <= scorer.sink_tokens:
        raise ValueError(
            f"Row {example.row} has {len(ids)} tokens, which `sink_tokens: {scorer.sink_tokens}` leaves out, so it has no score."
        )
    received = np.stack([attention_received(scorer.model, [ids], [head])[0] for head in heads])
    score = attention_variance(received.mean(axis=0), scorer.sink_tokens)
    tokens = reference.tokenizer.batch_decode([[token] for token in ids])
    return Explanation(example, tokens, heads, received, scorer.sink_tokens, score)
