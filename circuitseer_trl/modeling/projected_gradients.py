"""What is the gradient of an example, in few numbers? Random projections of the gradients of linear layers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.gradients import Layers, backward
from circuitseer_trl.modeling.losses import length_batches

# B batch, T tokens, O outputs, I inputs of a layer (with one more, always 1, where it has a bias), S size of the projection


@dataclass(frozen=True)
class Part:
    """The outputs and inputs of a layer whose weights count: 1 or 0 for each; None for all.

    Attributes:
        outputs (`torch.Tensor` of shape `(O,)`): Rows of the weight.
        inputs (`torch.Tensor` of shape `(I,)`): Columns of the weight.
    """

    outputs: torch.Tensor | None = None
    inputs: torch.Tensor | None = None


@dataclass
class Projection:
    """A fixed random projection of gradients.

    A layer's gradient G, of shape `(O, I)`, becomes A^T G B, with entries of A and B that are +-1 / sqrt(S), drawn by a hash of
    the layer's name. So an inner product of two gradients is kept on average, and A^T G B is computed from the tokens'
    projected inputs and output gradients, without G (the structure of LoGra, arXiv 2405.13954).

    Attributes:
        size: S; a layer gives S x S numbers. None keeps the gradients whole.
        parts: Parts of layers that count; a layer that is not named counts as a whole.
    """

    size: int | None = 16
    parts: Mapping[str, Part] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._signs: dict[tuple[str, str, int], torch.Tensor] = {}

    def signs(self, layer: str, side: str, width: int, like: torch.Tensor) -> torch.Tensor:
        """A or B of a layer, of shape `(width, S)`."""
        assert self.size is not None
        if (layer, side, width) not in self._signs:
            seed = int.from_bytes(hashlib.sha256(f"{layer}/{side}".encode()).digest()[:8], "little")
            drawn = np.random.default_rng(seed).integers(0, 2, (width, self.size), dtype=np.int8)
            self._signs[layer, side, width] = torch.from_numpy((2.0 * drawn - 1) / self.size**0.5).to(like)
        return self._signs[layer, side, width]

    def of(self, layer: str, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """The projected gradients of a layer.

        Args:
            inputs (`torch.Tensor` of shape `(B, T, I)`): What the layer read.
            outputs (`torch.Tensor` of shape `(B, T, O)`): The gradients of what it gave.

        Returns:
            `torch.Tensor` of shape `(B, S * S)`, or `(B, O * I)` without a projection.
        """
        part = self.parts.get(layer, Part())
        if part.outputs is not None:
            outputs = outputs * part.outputs.to(outputs)
        if part.inputs is not None:
            inputs = inputs * nn.functional.pad(part.inputs, (0, inputs.shape[2] - len(part.inputs))).to(inputs)
        if self.size is not None:
            outputs = outputs @ self.signs(layer, "outputs", outputs.shape[2], outputs)
            inputs = inputs @ self.signs(layer, "inputs", inputs.shape[2], inputs)
        return (outputs.mT @ inputs).flatten(1)


def projected_gradients(
    model: PreTrainedModel, layers: Layers, examples: Sequence[EncodedExample], projection: Projection, max_tokens: int
) -> np.ndarray:
    """The projected gradients of each example's mean response loss, one layer after the other.

    Args:
        max_tokens: Tokens of one backward pass. It changes results by no more than rounding.

    Returns:
        float64 `np.ndarray` of shape `(N, L * S * S)` for L layers.
    """
    result: np.ndarray | None = None
    for batch in length_batches([len(example.input_ids) for example in examples], max_tokens):
        found: dict[str, torch.Tensor] = {}

        def consume(
            name: str, inputs: torch.Tensor, outputs: torch.Tensor, found: dict[str, torch.Tensor] = found
        ) -> None:
            found[name] = projection.of(name, inputs, outputs)

        backward(model, layers, [examples[index] for index in batch], "mean", consume)
        rows = torch.cat([found[name] for name in layers], dim=1).double().cpu().numpy()
        if result is None:
            result = np.zeros((len(examples), rows.shape[1]))
        result[batch] = rows
    return np.zeros((0, 0)) if result is None else result
