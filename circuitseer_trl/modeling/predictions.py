"""How does a model predict a response? Whether greedy decoding would give it; entropy and rank of each of its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.losses import batched_responses, logits_and_targets

# N tokens


@dataclass(frozen=True)
class Prediction:
    """How a model predicts a response.

    Attributes:
        loss_nats: Mean negative log-likelihood, in nats per token.
        exact: Whether every token has the highest logit, given those before it.
    """

    loss_nats: float
    exact: bool


@torch.no_grad()
def response_predictions(
    model: PreTrainedModel, examples: Sequence[EncodedExample], max_batch_tokens: int = 8192
) -> list[Prediction]:
    """The loss of each example's response as `response_losses` gives it, and whether greedy decoding would give it.

    Two logits that differ by less than the rounding of a matrix product may change places in another batch.
    """
    found: dict[int, Prediction] = {}
    for batch in batched_responses(model, examples, max_batch_tokens):
        losses, hits = [], []
        for logits, labels in logits_and_targets(model, batch.hidden, batch.targets):
            losses.append(nn.functional.cross_entropy(logits, labels, reduction="none"))
            hits.append(logits.argmax(dim=-1) == labels)
        parts = zip(torch.cat(losses).split(batch.lengths), torch.cat(hits).split(batch.lengths), strict=True)
        for index, (loss, hit) in zip(batch.indices, parts, strict=True):
            found[index] = Prediction(loss.double().mean().item(), bool(hit.all()))
    return [found[index] for index in range(len(examples))]


@dataclass(frozen=True)
class TokenPrediction:
    """How a model predicts each of the N tokens of a response.

    Attributes:
        losses (`torch.Tensor` of shape `(N,)`): Negative log-likelihood, in nats.
        entropies (`torch.Tensor` of shape `(N,)`): Entropy of the prediction, in nats.
        ranks (int64 `torch.Tensor` of shape `(N,)`): 1 + the number of tokens with a higher logit.
    """

    losses: torch.Tensor
    entropies: torch.Tensor
    ranks: torch.Tensor


@torch.no_grad()
def token_predictions(
    model: PreTrainedModel, examples: Sequence[EncodedExample], max_batch_tokens: int = 8192
) -> list[TokenPrediction]:
    """Loss, entropy and rank of each token of each example's response, in the order of `examples`.

    All three are of one block of logits, and the losses are those of `token_losses`.
    """
    found: dict[int, TokenPrediction] = {}
    for batch in batched_responses(model, examples, max_batch_tokens):
        parts: list[tuple[torch.Tensor, ...]] = []
        for logits, labels in logits_and_targets(model, batch.hidden, batch.targets):
            chances = torch.log_softmax(logits, dim=-1)
            losses = nn.functional.nll_loss(chances, labels, reduction="none")
            # Logarithms of chances, not logits: an error of the sum of chances would be multiplied by a large logit.
            # A token that cannot come has a logit of minus infinity, and no part in it.
            entropies = -(chances.exp() * chances.clamp(min=torch.finfo(chances.dtype).min)).sum(dim=-1)
            parts.append((losses, entropies, 1 + (logits > logits.gather(1, labels[:, None])).sum(dim=-1)))
        whole = [torch.cat(values).split(batch.lengths) for values in zip(*parts, strict=True)]
        for index, *values in zip(batch.indices, *whole, strict=True):
            found[index] = TokenPrediction(*values)
    return [found[index] for index in range(len(examples))]
