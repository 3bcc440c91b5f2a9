"""How important is each head on one example? The loss increase of every head, from one forward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel

from circuitseer_trl.circuits.attention import Ablation, Head, ablate, check_heads, decoder_layers, head_grid
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.losses import check_ready, last_hidden_states, response_span, token_losses
from circuitseer_trl.modeling.memory import sweep_tokens

# R rows (1 + heads of the group), T tokens, D hidden size


@dataclass(frozen=True)
class HeadSweep:
    """The effect of silencing each head on one example.

    Attributes:
        base_loss: Mean response loss with no head silenced, in nats per token.
        increase (float64 `np.ndarray` of shape `(layers, query heads)`): Increase of the loss when this head is silenced;
            NaN where it was not evaluated.
    """

    base_loss: float
    increase: np.ndarray

    def table(self, uid: str, heads: Sequence[Head]) -> pa.Table:
        """One row for each of `heads`, in their order."""
        return pa.table(
            {
                "uid": [uid] * len(heads),
                "layer": pa.array([layer for layer, _ in heads], pa.int32()),
                "head": pa.array([head for _, head in heads], pa.int32()),
                "loss_increase": pa.array([self.increase[head] for head in heads], pa.float64()),
                "base_loss": pa.array([self.base_loss] * len(heads), pa.float64()),
            }
        )


def _grow(num_rows: int) -> Callable[..., Any]:
    """A hook that appends copies of row 0 before a layer. Masks and positions have one row and broadcast."""

    def hook(
        module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        hidden = args[0] if args else kwargs["hidden_states"]
        if hidden.ndim != 3:
            raise ValueError(
                f"{type(module).__name__} takes states of shape {tuple(hidden.shape)}, not (rows, tokens, size), "
                "which the head sweep does not support. Use another reference model."
            )
        hidden = torch.cat([hidden, hidden[:1].expand(num_rows, -1, -1)])
        return ((hidden, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": hidden})

    return hook


def _group_losses(
    model: PreTrainedModel, example: EncodedExample, heads: Sequence[Head], outputs: torch.Tensor | None
) -> torch.Tensor:
    """Mean response loss of shape `(R,)`: with no head silenced, then with each of `heads`, which are sorted."""
    layers = decoder_layers(model)
    plan = [Ablation(layer, head, row) for row, (layer, head) in enumerate(heads, start=1)]
    hooks = [
        layers[layer].register_forward_pre_hook(_grow(len(list(group))), with_kwargs=True)
        for layer, group in groupby(heads, key=lambda head: head[0])
    ]
    ids = torch.tensor([example.input_ids], device=model.device)
    try:
        with ablate(model, plan, outputs):
            hidden = last_hidden_states(model, ids)
    finally:
        for hook in hooks:
            hook.remove()
    span = response_span(example)
    targets = ids[0, span.start + 1 :].repeat(len(hidden))
    losses = token_losses(model, hidden[:, span].flatten(0, 1), targets)
    return losses.double().view(len(hidden), -1).mean(dim=1).cpu()


@torch.no_grad()
def head_loss_increases(
    model: PreTrainedModel,
    example: EncodedExample,
    heads: Sequence[Head] | None = None,
    max_tokens: int | None = None,
    outputs: torch.Tensor | None = None,
) -> HeadSweep:
    """The increase of an example's mean response loss when a head's attention is undifferentiated, for each head.

    This is the difference in CircuitSeer's equation 3. A head changes nothing before its own layer. So the batch starts
    with the example alone, and grows by one copy for each head when the forward reaches the head's layer. The result is
    exact, each layer's weights are read once, and the work is about half of one forward for each head.

    Args:
        heads: (layer, query head) pairs to evaluate; None evaluates all.
        max_tokens: The largest number of rows x tokens in a batch, the unchanged row included. A batch has at least two
            rows. More heads take more forwards. None takes what memory holds (`sweep_tokens`). Groups depend on `heads`,
            `max_tokens` and the example's length only.
        outputs: What a silenced head gives, as in `ablate`; None makes its attention undifferentiated.

    Returns:
        The losses; not finite where the model's own output is not.

    Raises:
        ValueError: The example has no prompt or no response token, a head does not exist, or the model's attention is not
            supported (see `intercept`).
    """
    check_ready(model)
    response_span(example)
    num_layers, num_heads = head_grid(model)
    if heads is None:
        heads = [(layer, head) for layer in range(num_layers) for head in range(num_heads)]
    check_heads(model, heads)
    if max_tokens is None:
        max_tokens = sweep_tokens(model.config, model.dtype, model.device)
    ordered, size = sorted(heads), max(1, max_tokens // len(example.input_ids) - 1)
    increase = np.full((num_layers, num_heads), np.nan)
    base_loss = None
    for start in range(0, max(1, len(ordered)), size):
        group = ordered[start : start + size]
        losses = _group_losses(model, example, group, outputs)
        base_loss = losses[0].item() if base_loss is None else base_loss
        for (layer, head), loss in zip(group, losses[1:], strict=True):
            # Compared with the unchanged row of the same forward, which is rounded in the same way.
            increase[layer, head] = (loss - losses[0]).item()
    assert base_loss is not None
    return HeadSweep(base_loss, increase)
