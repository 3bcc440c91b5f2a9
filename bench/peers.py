"""How do others find heads? With one forward pass for each head. (transformers alone is in `circuitseer_trl.doctor.slow_ways`.)

A peer is a function of model, example and heads. It returns the response loss without ablation and with each head ablated.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.doctor.slow_ways import even_attention, response_loss
from circuitseer_trl.modeling.encoding import EncodedExample

EPSILON = 1e-4  # scale factor of ydyjya/SafetyHeadAttribution, the source of "undifferentiated attention"


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
