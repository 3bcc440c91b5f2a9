"""What can a head do to an example's loss, to first order? Attribution patching, from one forward and one backward."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel

from circuitseer_trl.circuits.attention import AttentionCall, head_grid, intercept
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.losses import check_ready, last_hidden_states, loss_gradients, response_span

# H query heads, T tokens, D head dimension
# The cost of forward and backward, in forwards of the example alone: no gradients of weights are computed.
ATTRIBUTION_FORWARDS = 2


@dataclass(frozen=True)
class HeadAttributions:
    """What silencing each head does to one example's loss, to first order.

    Attributes:
        base_loss: Mean response loss with no head silenced, in nats per token.
        estimate (float64 `np.ndarray` of shape `(layers, query heads)`): The increase of the loss: the inner product of its
            gradient by a head's output and the change of the output, summed over tokens.
        reach (float64 `np.ndarray` of shape `(layers, query heads)`): The largest increase that changes of this length could
            have: the product of the lengths of gradient and change, summed over tokens. At least the estimate's size.
    """

    base_loss: float
    estimate: np.ndarray
    reach: np.ndarray

    def table(self, uid: str) -> pa.Table:
        """One row for each head, in the order of layers and heads."""
        layers, heads = np.indices(self.reach.shape)
        return pa.table(
            {
                "uid": [uid] * self.reach.size,
                "layer": pa.array(layers.ravel(), pa.int32()),
                "head": pa.array(heads.ravel(), pa.int32()),
                "estimate": self.estimate.ravel(),
                "reach": self.reach.ravel(),
                "base_loss": np.full(self.reach.size, self.base_loss),
            }
        )


def head_attributions(model: PreTrainedModel, example: EncodedExample) -> HeadAttributions:
    """First-order estimates of `head_loss_increases`, and how far they could reach.

    The estimates must not choose heads: on SmolLM2-135M the two most important heads get negative values. But no increase
    there is above the head's reach.
    """
    check_ready(model)
    span = response_span(example)
    num_layers, num_heads = head_grid(model)
    outputs: list[torch.Tensor] = [torch.empty(0)] * num_layers
    changes: list[torch.Tensor] = [torch.empty(0)] * num_layers

    def attend(layer: int, call: AttentionCall, kernel: Callable[[torch.Tensor], Any]) -> Any:
        output, weights = kernel(call.query)  # (1, T, H, D)
        if not output.requires_grad:
            output.requires_grad_()
        with torch.no_grad():
            silenced, _ = kernel(torch.zeros_like(call.query))
            changes[layer] = silenced - output
        outputs[layer] = output
        return output, weights

    ids = torch.tensor([example.input_ids], device=model.device)
    with torch.enable_grad(), intercept(model, range(num_layers), attend):
        hidden = last_hidden_states(model, ids)
    # The loss has a graph of its own that ends at the last hidden states.
    rows, targets = hidden[0, span], ids[0, span.start + 1 :]
    weights = torch.full(
        (len(rows),), 1 / len(rows), dtype=torch.promote_types(rows.dtype, torch.float32), device=rows.device
    )
    loss = loss_gradients(model, rows, targets, weights)
    gradients = torch.autograd.grad(rows, outputs, grad_outputs=loss.hidden)
    pairs = [(slope[0].double(), change[0].double()) for slope, change in zip(gradients, changes, strict=True)]
    estimate = torch.stack([(slope * change).sum(dim=(0, 2)).cpu() for slope, change in pairs])
    reach = torch.stack([(slope.norm(dim=2) * change.norm(dim=2)).sum(dim=0).cpu() for slope, change in pairs])
    assert estimate.shape == reach.shape == (num_layers, num_heads)
    return HeadAttributions(loss.losses.double().mean().item(), estimate.numpy(), reach.numpy())
