"""How are losses, head importances and attention received computed slowly and obviously? With transformers alone.

One example at a time, with eager attention, all attention matrices and all logits. Nothing of the fast ways is used.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.modeling.encoding import EncodedExample

# B batch, H heads, T tokens


def response_loss(logits: torch.Tensor, example: EncodedExample) -> float:
    start = example.num_prompt_tokens
    targets = torch.tensor(example.input_ids[start:], device=logits.device)
    wide = torch.promote_types(logits.dtype, torch.float32)
    return torch.nn.functional.cross_entropy(logits[0, start - 1 : -1].to(wide), targets).item()


def even_attention(length: int, like: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """An attention matrix in which every token attends equally to all tokens that it sees.

    Args:
        mask (`torch.Tensor` of shape `(B, 1, T, T)`): As transformers gives it to eager attention, which is boolean (True is
            visible) or is added to the logits; None is causal.
    """
    rows = torch.ones(length, length, dtype=like.dtype, device=like.device).tril()
    if mask is not None:
        visible = mask[0, 0, :length, :length]
        rows = (visible if visible.dtype == torch.bool else visible == 0).to(like.dtype)
    return rows / rows.sum(dim=-1, keepdim=True)


@contextmanager
def eager_with_uniform_head(model: PreTrainedModel, head: Head | None, share: float = 1.0) -> Iterator[None]:
    """Eager attention in which one head's matrix is overwritten by a uniform one, as in a notebook.

    Args:
        share: How far the head's output is moved from its own to the uniform one.
    """
    modules: set[Any] = {sys.modules[type(module).__module__] for module in model.modules()}
    files = [file for file in modules if hasattr(file, "eager_attention_forward")]
    originals = [file.eager_attention_forward for file in files]
    before = model.config._attn_implementation

    def overwriting(original: Any) -> Any:
        def attention(module, query, key, value, attention_mask, **options):  # type: ignore[no-untyped-def]
            output, weights = original(module, query, key, value, attention_mask, **options)
            if head is not None and module.layer_idx == head[0]:
                group = query.shape[1] // key.shape[1]
                even = even_attention(weights.shape[-1], value, attention_mask) @ value[:, head[1] // group]
                output = output.clone()
                output[:, :, head[1]] += share * (even - output[:, :, head[1]])
            return output, weights

        return attention

    model.set_attn_implementation("eager")
    for file, original in zip(files, originals, strict=True):
        file.eager_attention_forward = overwriting(original)
    try:
        yield
    finally:
        for file, original in zip(files, originals, strict=True):
            file.eager_attention_forward = original
        model.set_attn_implementation(before)


@torch.no_grad()
def loss_with_head(model: PreTrainedModel, example: EncodedExample, head: Head | None, share: float = 1.0) -> float:
    """The response loss of the whole model, with one head made uniform, or moved towards it by a share."""
    ids = torch.tensor([example.input_ids], device=model.device)
    with eager_with_uniform_head(model, head, share):
        logits = model(input_ids=ids, output_attentions=True, use_cache=False).logits
    return response_loss(logits, example)


def heads_eager(model: PreTrainedModel, example: EncodedExample, heads: Sequence[Head]) -> list[float]:
    """The response loss without ablation, and with each head ablated: the whole model once for each."""
    return [loss_with_head(model, example, head) for head in (None, *heads)]


def slopes(model: PreTrainedModel, example: EncodedExample, heads: Sequence[Head], step: float) -> list[float]:
    """How fast the response loss grows when a head's output is moved towards the uniform one, by central differences."""
    return [
        (loss_with_head(model, example, head, step) - loss_with_head(model, example, head, -step)) / (2 * step)
        for head in heads
    ]


@torch.no_grad()
def scores_eager(model: PreTrainedModel, texts: Sequence[Sequence[int]], heads: Sequence[Head]) -> list[np.ndarray]:
    """The attention that each text's tokens receive, from the attention matrices of every layer of the whole model."""
    received = []
    with eager_with_uniform_head(model, None):
        for text in texts:
            ids = torch.tensor([text], device=model.device)
            attentions = model(input_ids=ids, output_attentions=True, use_cache=False).attentions
            columns = [attentions[layer][0, head].double().sum(dim=0) for layer, head in heads]
            received.append(torch.stack(columns).mean(dim=0).cpu().numpy())
    return received


@torch.no_grad()
def losses_one_by_one(model: PreTrainedModel, examples: Sequence[EncodedExample]) -> list[float]:
    """The response losses from all logits of the whole model."""
    losses = []
    for example in examples:
        ids = torch.tensor([example.input_ids], device=model.device)
        losses.append(response_loss(model(input_ids=ids, use_cache=False).logits, example))
    return losses
