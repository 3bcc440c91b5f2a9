"""How well do the gradients of two examples agree? Inner products over linear layers, one layer in memory at a time.

A linear layer reads x, and the gradient of its output is d. Then an example's gradient is the sum of d x^T over its tokens.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.losses import (
    check_ready,
    last_hidden_states,
    length_batches,
    loss_gradients,
    pad_right,
    response_span,
)

# B batch, T tokens, O outputs, I inputs of a layer (with one more, always 1, where it has a bias), Q queries
Layers = Mapping[str, nn.Linear]
Gradients = dict[str, torch.Tensor]
Consume = Callable[[str, torch.Tensor, torch.Tensor], None]
Reduction = Literal["mean", "sum"]

# Numbers of the gradients of examples that are held at once: 256 MB in float32.
MAX_PRODUCTS = 2**26


def linear_layers(model: PreTrainedModel, pattern: str) -> dict[str, nn.Linear]:
    """The linear layers whose names match, in the model's order."""
    linear = {name: module for name, module in model.named_modules() if type(module) is nn.Linear}
    found = {name: module for name, module in linear.items() if re.search(pattern, name)}
    if not found:
        kinds = sorted({re.sub(r"\d+", "N", name) for name in linear})
        raise ValueError(
            f"No linear layer of {type(model).__name__} has a name that matches {pattern!r} (`layers`). Its linear layers "
            f"are {', '.join(kinds) or 'none'}."
        )
    return found


def num_parameters(layers: Layers) -> int:
    return sum(layer.weight.numel() + (layer.bias is not None) * layer.out_features for layer in layers.values())


def _product_dtype(tensor: torch.Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


@contextmanager
def _watch(layers: Layers, consume: Consume) -> Iterator[None]:
    """Inside the block, the backward of a forward hands each layer's inputs and output gradients to `consume`."""

    def watcher(name: str) -> Callable[..., torch.Tensor]:
        def forward(layer: nn.Linear, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            inputs = args[0].detach()
            if inputs.ndim != 3:
                raise ValueError(
                    f"The layer {name} does not read rows of tokens, so its gradient has no part for each example. "
                    "Leave it out of `layers`."
                )
            if not output.requires_grad:
                output = output.detach().requires_grad_()  # nothing before the first layer needs a gradient

            def backward(gradient: torch.Tensor) -> None:
                read = inputs if layer.bias is None else nn.functional.pad(inputs, (0, 1), value=1.0)
                consume(name, read.to(_product_dtype(read)), gradient.to(_product_dtype(gradient)))

            output.register_hook(backward)
            return output

        return forward

    handles = [layer.register_forward_hook(watcher(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def backward(
    model: PreTrainedModel, layers: Layers, examples: Sequence[EncodedExample], reduction: Reduction, consume: Consume
) -> None:
    """Runs the backward of a batch's response losses; a row's gradients do not depend on its batch-mates.

    Args:
        reduction: How the losses of a response's tokens become one loss.
        consume: Called once for each layer with its name, its input `(B, T, I)` and the gradient of its output `(B, T, O)`.
            The gradient is 0 at the last token and at padding, which predict nothing.
    """
    check_ready(model)
    spans = [response_span(example) for example in examples]
    ids = pad_right([example.input_ids for example in examples], model.device)
    with _watch(layers, consume), torch.enable_grad():
        hidden = last_hidden_states(model, ids)
        rows = torch.cat([hidden[row, span] for row, span in enumerate(spans)])
    targets = torch.cat([ids[row, 1:][span] for row, span in enumerate(spans)])
    lengths = [span.stop - span.start for span in spans]
    shares = [1 / length if reduction == "mean" else 1.0 for length in lengths]
    weights = torch.tensor(shares, dtype=_product_dtype(rows), device=rows.device)
    repeats = torch.tensor(lengths, device=rows.device)
    rows.backward(loss_gradients(model, rows, targets, weights.repeat_interleave(repeats)).hidden)


def _batches(examples: Sequence[EncodedExample], max_tokens: int) -> Iterator[list[int]]:
    return length_batches([len(example.input_ids) for example in examples], max_tokens)


def query_gradients(
    model: PreTrainedModel, layers: Layers, queries: Sequence[EncodedExample], reduction: Reduction, max_tokens: int
) -> Gradients:
    """The gradient of each query's loss: a tensor of shape `(Q, O, I)` for each layer."""
    gradients: Gradients = {}
    for batch in _batches(queries, max_tokens):

        def consume(name: str, inputs: torch.Tensor, outputs: torch.Tensor, batch: list[int] = batch) -> None:
            if name not in gradients:
                gradients[name] = inputs.new_zeros((len(queries), outputs.shape[2], inputs.shape[2]))
            for row, index in enumerate(batch):
                gradients[name][index] += outputs[row].T @ inputs[row]

        backward(model, layers, [queries[index] for index in batch], reduction, consume)
    return gradients


def mean_gradient(
    model: PreTrainedModel, layers: Layers, queries: Sequence[EncodedExample], reduction: Reduction, max_tokens: int
) -> Gradients:
    """The gradient of the queries' mean loss: a tensor of shape `(1, O, I)` for each layer."""
    gradients: Gradients = {}
    for batch in _batches(queries, max_tokens):

        def consume(name: str, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
            total = outputs.flatten(0, 1).T @ inputs.flatten(0, 1) / len(queries)
            gradients[name] = gradients[name].add_(total) if name in gradients else total[None]

        backward(model, layers, [queries[index] for index in batch], reduction, consume)
    return gradients


def influences(
    model: PreTrainedModel, layers: Layers, gradients: Gradients, examples: Sequence[EncodedExample], max_tokens: int
) -> np.ndarray:
    """Inner products of each example's mean-loss gradient with each query's gradient.

    Returns:
        float64 `np.ndarray` of shape `(N, Q)`.
    """
    num_queries = len(next(iter(gradients.values())))
    result = np.zeros((len(examples), num_queries))
    for batch in _batches(examples, max_tokens):

        def consume(name: str, inputs: torch.Tensor, outputs: torch.Tensor, batch: list[int] = batch) -> None:
            queries = gradients[name].flatten(1).T
            size = max(1, MAX_PRODUCTS // len(queries))
            parts = [
                (some.mT @ read).flatten(1) @ queries
                for some, read in zip(outputs.split(size), inputs.split(size), strict=True)
            ]
            result[batch] += torch.cat(parts).double().cpu().numpy()

        backward(model, layers, [examples[index] for index in batch], "mean", consume)
    return result


def token_influences(
    model: PreTrainedModel, layers: Layers, gradient: Gradients, examples: Sequence[EncodedExample], max_tokens: int
) -> list[np.ndarray]:
    """The part of each position in the inner product of an example's mean-loss gradient with one gradient.

    The part of position t is d_t^T G x_t, summed over layers. It holds the losses of later tokens as far as they depend on
    the position. So positions of the prompt have parts, and the last position has none. The parts of an example add up to
    its influence.

    Args:
        gradient (`dict` of `torch.Tensor` of shape `(1, O, I)`): One gradient, layer by layer.

    Returns:
        For each example a float64 `np.ndarray` of shape `(tokens,)`.
    """
    result = [np.zeros(len(example.input_ids)) for example in examples]
    for batch in _batches(examples, max_tokens):

        def consume(name: str, inputs: torch.Tensor, outputs: torch.Tensor, batch: list[int] = batch) -> None:
            parts = ((outputs @ gradient[name][0]) * inputs).sum(dim=2).double().cpu().numpy()
            for row, index in enumerate(batch):
                result[index] += parts[row, : len(result[index])]

        backward(model, layers, [examples[index] for index in batch], "mean", consume)
    return result
