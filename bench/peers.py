"""How do others find heads and score? With one forward pass for each head, and with full attention matrices.

A peer of head finding is a function of model, example and heads. It returns the response loss without ablation and with each
head ablated. A peer of scoring is a function of model, texts and heads. It returns the attention that each text's tokens receive.
"""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.modeling.encoding import EncodedExample

EPSILON = 1e-4  # scale factor of ydyjya/SafetyHeadAttribution, the source of "undifferentiated attention"


def response_loss(logits: torch.Tensor, example: EncodedExample) -> float:
    start = example.num_prompt_tokens
    targets = torch.tensor(example.input_ids[start:], device=logits.device)
    wide = torch.promote_types(logits.dtype, torch.float32)
    return torch.nn.functional.cross_entropy(logits[0, start - 1 : -1].to(wide), targets).item()


@contextmanager
def eager_with_uniform_head(model: PreTrainedModel, ablated: Head | None) -> Iterator[None]:
    """Eager attention in which one head's matrix is overwritten by a uniform one, as in a notebook."""
    file: Any = sys.modules[type(model).__module__]
    before, original = model.config._attn_implementation, file.eager_attention_forward

    def attention(module, query, key, value, attention_mask, **options):  # type: ignore[no-untyped-def]
        output, weights = original(module, query, key, value, attention_mask, **options)
        if ablated is not None and module.layer_idx == ablated[0]:
            group = query.shape[1] // key.shape[1]
            output = output.clone()
            output[:, :, ablated[1]] = even_attention(weights.shape[-1], value) @ value[:, ablated[1] // group]
        return output, weights

    model.set_attn_implementation("eager")
    file.eager_attention_forward = attention
    try:
        yield
    finally:
        file.eager_attention_forward = original
        model.set_attn_implementation(before)


@torch.no_grad()
def heads_eager(model: PreTrainedModel, example: EncodedExample, heads: Sequence[Head]) -> list[float]:
    """transformers alone: eager attention with `output_attentions`, and the whole model once for each head."""
    ids = torch.tensor([example.input_ids], device=model.device)
    losses = []
    for ablated in (None, *heads):
        with eager_with_uniform_head(model, ablated):
            logits = model(input_ids=ids, output_attentions=True, use_cache=False).logits
        losses.append(response_loss(logits, example))
    return losses


@torch.no_grad()
def heads_scaled_query(model: PreTrainedModel, example: EncodedExample, heads: Sequence[Head]) -> list[float]:
    """Multiplies the query of one head by 1e-4 after its projection, with sdpa; wrong for models that normalise queries."""
    ids = torch.tensor([example.input_ids], device=model.device)
    losses = []
    for ablated in (None, *heads):
        handle = None
        if ablated is not None:
            attention = model.get_decoder().layers[ablated[0]].self_attn
            own = slice(ablated[1] * attention.head_dim, (ablated[1] + 1) * attention.head_dim)

            def scale(module, args, output, own=own):  # type: ignore[no-untyped-def]
                output[..., own] *= EPSILON
                return output

            handle = attention.q_proj.register_forward_hook(scale)
        logits = model(input_ids=ids, use_cache=False).logits
        losses.append(response_loss(logits, example))
        if handle is not None:
            handle.remove()
    return losses


def even_attention(length: int, like: torch.Tensor) -> torch.Tensor:
    """A causal attention matrix in which every token attends equally to all visible tokens."""
    rows = torch.ones(length, length, dtype=like.dtype, device=like.device).tril()
    return rows / rows.sum(dim=-1, keepdim=True)


def installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def transformer_lens_bridge(folder: Path, model: PreTrainedModel):  # type: ignore[no-untyped-def]
    """Wraps the model for TransformerLens."""
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_transformers(str(folder), hf_model=model, device=str(model.device))


@torch.no_grad()
def heads_transformer_lens(bridge, example: EncodedExample, heads: Sequence[Head]) -> list[float]:  # type: ignore[no-untyped-def]
    """TransformerLens: `run_with_hooks`, overwriting one head's pattern."""
    ids = torch.tensor([example.input_ids], device=bridge.cfg.device)
    losses = []
    for ablated in (None, *heads):

        def even(pattern, hook, head=ablated):  # type: ignore[no-untyped-def]
            pattern[:, head[1]] = even_attention(pattern.shape[-1], pattern)
            return pattern

        hooks = [] if ablated is None else [(f"blocks.{ablated[0]}.attn.hook_pattern", even)]
        losses.append(response_loss(bridge.run_with_hooks(ids, return_type="logits", fwd_hooks=hooks), example))
    return losses


@torch.no_grad()
def heads_nnsight(model: PreTrainedModel, example: EncodedExample, heads: Sequence[Head]) -> list[float]:
    """nnsight: a trace that overwrites one head's part of the input of the output projection."""
    from nnsight import NNsight

    wrapped = NNsight(model)
    ids = torch.tensor([example.input_ids], device=model.device)
    losses = [response_loss(model(input_ids=ids, use_cache=False).logits, example)]
    size = model.get_decoder().layers[0].self_attn.head_dim
    group = model.config.num_attention_heads // model.config.num_key_value_heads
    for layer, head in heads:
        own, shared = (slice(index * size, (index + 1) * size) for index in (head, head // group))
        with wrapped.trace(input_ids=ids, use_cache=False):
            attention = wrapped.model.layers[layer].self_attn
            values = attention.v_proj.output
            mixed = attention.o_proj.input.clone()
            mixed[..., own] = even_attention(ids.shape[1], values) @ values[..., shared]
            attention.o_proj.input = mixed
            logits = wrapped.output.logits.save()
        losses.append(response_loss(logits, example))
    return losses


@torch.no_grad()
def scores_eager(model: PreTrainedModel, texts: Sequence[Sequence[int]], heads: Sequence[Head]) -> list[np.ndarray]:
    """transformers alone: one text at a time, the attention matrices of every layer, the whole model."""
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
    """transformers alone: the whole model and all of its logits, one example at a time."""
    losses = []
    for example in examples:
        ids = torch.tensor([example.input_ids], device=model.device)
        losses.append(response_loss(model(input_ids=ids, use_cache=False).logits, example))
    return losses
