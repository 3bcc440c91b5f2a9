"""Which steps of a solution need the heads? The rise of the loss of each step and each token without them."""

from dataclasses import dataclass

import numpy as np

from circuitseer_trl.circuits.attention import ablate
from circuitseer_trl.modeling.losses import response_token_losses
from circuitseer_trl.modeling.token_statistics import solution_offsets
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.pool.solution_steps import step_of_tokens, step_starts
from circuitseer_trl.scoring.dependence import DependenceScorer


@dataclass(frozen=True)
class DependenceExplanation:
    """The parts of a solution's dependence on heads. It has N tokens in S steps.

    Attributes:
        example: The row of the pool.
        tokens: The solution's tokens, as text.
        steps (`np.ndarray` of shape `(N,)`): The step of each token, from 1.
        losses (`np.ndarray` of shape `(N,)`): Each token's loss, in nats.
        losses_without (`np.ndarray` of shape `(N,)`): The same without the heads.
        num_heads: Number of heads that are silenced together.
    """

    example: Example
    tokens: list[str]
    steps: np.ndarray
    losses: np.ndarray
    losses_without: np.ndarray
    num_heads: int

    @property
    def rises(self) -> np.ndarray:
        """Each token's rise, of shape `(N,)`. The rises of a step's tokens, and of all steps, add up to N x the difference."""
        return self.losses_without - self.losses


def explain_dependence(example: Example, scorer: DependenceScorer) -> DependenceExplanation:
    """Computes the parts of one row's dependence with a scorer that has its reference and heads, by two forward passes."""
    reference, ablations = scorer.reference, scorer.silenced
    [encoded] = reference.encode([example])
    if encoded.num_completion_tokens < 1:
        raise ValueError(f"Row {example.row} has no token of its solution left, so it has no loss.")
    [losses] = response_token_losses(scorer.model, [encoded], reference.batch_tokens)
    [without] = response_token_losses(
        scorer.model, [encoded], reference.batch_tokens, lambda: ablate(scorer.model, ablations)
    )
    ids = encoded.input_ids[encoded.num_prompt_tokens :]
    offsets = solution_offsets(reference, example)[: len(ids)]
    return DependenceExplanation(
        example,
        reference.tokenizer.batch_decode([[token] for token in ids]),
        np.array(step_of_tokens(offsets, step_starts(example.completion))),
        losses.double().cpu().numpy(),
        without.double().cpu().numpy(),
        len(ablations),
    )
