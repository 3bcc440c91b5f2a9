"""The slow and obvious second way to compute losses, head importances and attention received.

It shares no code with the package. One example at a time; every attention matrix is written out in full. The model's
modeling file is given another `eager_attention_forward` for a while, which overwrites a silenced head's matrix.
"""

import math
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from circuitseer_trl.modeling.encoding import EncodedExample

Head = tuple[int, int]  # layer, query head
Matrices = dict[int, torch.Tensor]  # layer: (heads, queries, keys)


@contextmanager
def written_out(model: PreTrainedModel, silenced: Collection[Head] = ()) -> Iterator[Matrices]:
    """Runs the model on attention matrices written out in its own dtype; yields those of the last forward.

    Args:
        silenced: Heads whose matrices are replaced by ones that are uniform over what each token sees.
    """
    seen: Matrices = {}

    def attention(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        scaling: float | None = None,
        softcap: float | None = None,
        **options: Any,
    ) -> tuple[torch.Tensor, None]:
        _, num_heads, num_tokens, size = query.shape
        group = num_heads // key.shape[1]
        output = torch.empty(1, num_tokens, num_heads, value.shape[-1], dtype=value.dtype)
        matrices = []
        for head in range(num_heads):
            logits = query[0, head] @ key[0, head // group].T * (size**-0.5 if scaling is None else scaling)
            if softcap is not None:
                logits = softcap * torch.tanh(logits / softcap)
            visible = torch.ones(num_tokens, num_tokens, dtype=torch.bool).tril()
            if attention_mask is not None:
                visible &= attention_mask[0, 0] == 0
            weights = torch.where(visible, logits, -math.inf).softmax(dim=-1)
            if (module.layer_idx, head) in silenced:
                weights = visible.to(weights) / visible.sum(dim=-1, keepdim=True)
            matrices.append(weights)
            output[0, :, head] = weights @ value[0, head // group]
        seen[module.layer_idx] = torch.stack(matrices)
        return output, None

    modules: set[Any] = {sys.modules[type(module).__module__] for module in model.modules()}
    files = [file for file in modules if hasattr(file, "eager_attention_forward")]
    originals = [file.eager_attention_forward for file in files]
    implementation = model.config._attn_implementation
    model.set_attn_implementation("eager")
    for file in files:
        file.eager_attention_forward = attention
    try:
        yield seen
    finally:
        for file, original in zip(files, originals, strict=True):
            file.eager_attention_forward = original
        model.set_attn_implementation(implementation)


def reference_loss(model: PreTrainedModel, example: EncodedExample, silenced: Collection[Head] = ()) -> float:
    """Mean response loss, from the model's own logits."""
    ids = torch.tensor([example.input_ids])
    with torch.no_grad(), written_out(model, silenced):
        logits = model(input_ids=ids, use_cache=False).logits[0]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    total = 0.0
    for position in range(example.num_prompt_tokens, len(example.input_ids)):
        row = logits[position - 1]
        total += (row.logsumexp(dim=-1) - row[example.input_ids[position]]).item()
    return total / (len(example.input_ids) - example.num_prompt_tokens)


def reference_increases(model: PreTrainedModel, example: EncodedExample) -> np.ndarray:
    """Loss increase of every head, one forward each; shape (layers, heads)."""
    config = model.config
    base = reference_loss(model, example)
    return np.array(
        [
            [reference_loss(model, example, [(layer, head)]) - base for head in range(config.num_attention_heads)]
            for layer in range(config.num_hidden_layers)
        ]
    )


def reference_received(model: PreTrainedModel, ids: Sequence[int], heads: Sequence[Head]) -> np.ndarray:
    """Attention each token receives, averaged over `heads`, from matrices written out in the model's dtype."""
    with torch.no_grad(), written_out(model) as matrices:
        model(input_ids=torch.tensor([ids]), use_cache=False)
    received = np.zeros(len(ids))
    for layer, head in heads:
        matrix = matrices[layer][head].double().numpy()
        for token in range(len(ids)):
            received[token] += sum(matrix[query, token] for query in range(len(ids))) / len(heads)
    return received


def output_attentions_received(model: PreTrainedModel, ids: Sequence[int], heads: Sequence[Head]) -> np.ndarray:
    """The same from the matrices that transformers itself puts out; for models loaded with eager attention."""
    with torch.no_grad():
        attentions = model(input_ids=torch.tensor([ids]), output_attentions=True, use_cache=False).attentions
    return np.mean([attentions[layer][0, head].double().sum(dim=0).numpy() for layer, head in heads], axis=0)
