"""Which weights make a circuit? The rows and columns of the attention's projections that belong to its heads."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from circuitseer_trl.circuits.attention import Head, check_heads, decoder_layers, head_grid
from circuitseer_trl.modeling.projected_gradients import Part

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")


def circuit_parts(model: PreTrainedModel, heads: Sequence[Head]) -> dict[str, Part]:
    """The parts of the attention's layers that the heads compute with, by the layers' names.

    A query head has its rows of the query's projection, the rows of the key and of the value that it reads (which other heads
    may share under grouped-query attention), and its columns of the output's projection.

    Raises:
        ValueError: The model has no such heads, or its attention has no separate projections.
    """
    check_heads(model, heads)
    _, num_heads = head_grid(model)
    names = {id(module): name for name, module in model.named_modules()}
    parts: dict[str, Part] = {}
    for layer, block in enumerate(decoder_layers(model)):
        own = [head for each, head in heads if each == layer]
        if not own:
            continue
        found = {name.rpartition(".")[2]: module for name, module in block.named_modules() if type(module) is nn.Linear}
        if missing := [name for name in PROJECTIONS if name not in found]:
            raise ValueError(
                f"The attention of {type(model).__name__} has no linear layer {missing[0]}, so the weights of a head are "
                "unknown. Use `method: gradient_similarity`, which takes all weights."
            )
        query, key, value, output = (found[name] for name in PROJECTIONS)
        width = output.in_features // num_heads
        per_key = num_heads // (key.out_features // width)
        if (
            query.out_features != num_heads * width
            or key.out_features % width
            or value.out_features != key.out_features
        ):
            raise ValueError(
                f"The attention of {type(model).__name__} has projections of other sizes than heads x width, so the weights of a "
                "head are unknown. Use `method: gradient_similarity`, which takes all weights."
            )
        shared = sorted({head // per_key for head in own})
        parts[names[id(query)]] = Part(outputs=_mask(query.out_features, own, width))
        parts[names[id(key)]] = Part(outputs=_mask(key.out_features, shared, width))
        parts[names[id(value)]] = Part(outputs=_mask(value.out_features, shared, width))
        parts[names[id(output)]] = Part(inputs=_mask(output.in_features, own, width))
    return parts


def _mask(size: int, heads: Sequence[int], width: int) -> torch.Tensor:
    mask = torch.zeros(size)
    for head in heads:
        mask[head * width : (head + 1) * width] = 1
    return mask
