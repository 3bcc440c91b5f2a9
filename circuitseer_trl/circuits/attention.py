"""Reads queries and keys of a model's attention, or silences heads, for the length of a `with` block.

An attention module of transformers looks up its kernel by name in `AttentionInterface`, and hands it queries and keys
after their norms and RoPE. A wrapper under the implementation's own name sees every call and leaves masks,
configuration and weights unchanged. (Under a new name, transformers builds no mask.)
"""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel

# B batch, H query heads, G key-value heads, T tokens, D head dimension
Head = tuple[int, int]  # layer, query head

# Arguments of a kernel that add to the logits or choose keys by content. With one of them, a query of zeros does not give
# undifferentiated attention.
UNSUPPORTED = {
    "s_aux": "learned attention sinks",
    "sinks": "learned attention sinks",
    "position_bias": "a position bias",
    "alibi": "a position bias (ALiBi)",
    "indices": "sparse attention chosen by content",
    "block_indices": "sparse attention chosen by content",
}


SUPPORTED = (
    "Use a reference model whose layers all have softmax attention through transformers' attention interface, such as a "
    "Qwen, a Llama, a Mistral or a Gemma."
)


class Ablation(NamedTuple):
    """A query head to silence, in one row of the batch or in all."""

    layer: int
    head: int
    row: int | None = None


@dataclass(frozen=True)
class AttentionCall:
    """The arguments that an attention module hands to its kernel.

    Attributes:
        implementation: Name of the kernel, such as `sdpa`.
        query (`torch.Tensor` of shape `(B, H, T, D)`): After norm and RoPE.
        key (`torch.Tensor` of shape `(B, G, T, D)`): After norm and RoPE; query head h reads key head h // (H / G).
        mask: In the format of the kernel: boolean (True is visible), additive, or None for causal.
        options: The kernel's other arguments: `scaling`, `softcap`, `sliding_window`, ...
    """

    module: nn.Module
    implementation: str
    query: torch.Tensor
    key: torch.Tensor
    mask: Any
    options: dict[str, Any]


Attend = Callable[[int, AttentionCall, Callable[[torch.Tensor], Any]], Any]


def head_grid(model: PreTrainedModel) -> tuple[int, int]:
    """The number of layers, and of query heads in each layer."""
    return configured_grid(model.config, type(model).__name__)


def configured_grid(config: PretrainedConfig, name: str) -> tuple[int, int]:
    """The same, by the configuration of a model of that name."""
    values = config.get_text_config()
    num_heads = getattr(values, "num_attention_heads", None)
    if not isinstance(num_heads, int):
        reason = "no attention heads" if num_heads is None else f"another number of heads in each layer ({num_heads})"
        raise ValueError(f"{name} ({config.model_type}) has {reason}. {SUPPORTED}")
    return values.num_hidden_layers, num_heads


def check_heads(model: PreTrainedModel, heads: Sequence[Head]) -> None:
    num_layers, num_heads = head_grid(model)
    for layer, head in heads:
        if not (0 <= layer < num_layers and 0 <= head < num_heads):
            raise ValueError(
                f"There is no head {head} in layer {layer}: {type(model).__name__} has {num_layers} layers of "
                f"{num_heads} query heads, both counted from 0. Were these heads found in another model?"
            )
    if len(set(heads)) < len(heads):
        twice = sorted({head for head in heads if list(heads).count(head) > 1})
        raise ValueError(f"Heads are named more than once: {twice}. Name each one once.")


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    num_layers, _ = head_grid(model)
    for child in model.get_decoder().children():
        if isinstance(child, nn.ModuleList) and len(child) == num_layers:
            return child
    raise ValueError(
        f"Cannot find the {num_layers} decoder layers of {type(model).__name__}: its decoder has no list of that many "
        "modules. Use another reference model."
    )


def _eager_kernel(module: nn.Module) -> Callable[..., Any]:
    """The kernel for "eager", which is not in the registry but a function of each modeling file."""
    for base in type(module).__mro__:
        names = vars(sys.modules[base.__module__])
        if "eager_attention_forward" in names:
            return names["eager_attention_forward"]
    raise ValueError(
        f"{type(module).__name__} has no `eager_attention_forward`. Load the model with attn_implementation='sdpa'."
    )


def _refuse_unsupported(call: AttentionCall) -> None:
    reasons = [reason for name, reason in UNSUPPORTED.items() if call.options.get(name) is not None]
    additive = isinstance(call.mask, torch.Tensor) and call.mask.is_floating_point()
    if additive and not ((call.mask == 0) | (call.mask < -1e4)).all():
        reasons.append("a mask that weighs tokens instead of hiding them (such as ALiBi)")
    if reasons:
        raise ValueError(
            f"{type(call.module).__name__} uses {reasons[0]}: a query of zeros does not give undifferentiated "
            f"attention there, and queries and keys alone do not decide the weights. {SUPPORTED}"
        )


@contextmanager
def intercept(model: PreTrainedModel, layers: Collection[int], attend: Attend) -> Iterator[None]:
    """Replaces the attention of each of the `layers` by `attend(layer, call, kernel)`; `kernel(query)` is the model's own.

    One block holds one forward of the model. All models of the process share the registry: the attention of other models
    passes through, and the registry is restored at the end, also after an exception. Do not use it in several threads.

    Raises:
        ValueError: The attention depends on more than queries and keys, or a layer does not go through transformers'
            attention interface (linear attention, old modeling files).
    """
    name = model.config.get_text_config()._attn_implementation
    blocks = decoder_layers(model)
    owner = {id(module): layer for layer in layers for module in blocks[layer].modules()}
    mapping = AttentionInterface._global_mapping  # `register` writes to it; no public function removes "eager" again
    before = mapping.get(name)
    fired: set[int] = set()

    def wrapper(
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: Any,
        **kwargs: Any,
    ) -> Any:
        kernel = before if before is not None else _eager_kernel(module)
        if id(module) in owner:
            layer = owner[id(module)]
            call = AttentionCall(module, name, query, key, attention_mask, kwargs)
            _refuse_unsupported(call)
            if layer in fired:
                raise ValueError(
                    f"Layer {layer} of {type(model).__name__} attended twice in one block. Run one forward in a block, "
                    "and use a model without cross-attention."
                )
            if query.shape[0] != key.shape[0]:
                raise ValueError(
                    f"Layer {layer} of {type(model).__name__} reads the keys of another layer, which the head sweep "
                    "does not support. Use another reference model."
                )
            fired.add(layer)
            return attend(layer, call, lambda changed: kernel(module, changed, key, value, attention_mask, **kwargs))
        return kernel(module, query, key, value, attention_mask, **kwargs)

    AttentionInterface.register(name, wrapper)
    try:
        yield
    finally:
        if before is None:
            del mapping[name]
        else:
            AttentionInterface.register(name, before)
    if missing := sorted(set(layers) - fired):
        raise ValueError(
            f"The attention of {type(model).__name__} in layers {missing} does not go through transformers' attention "
            f"interface (linear attention, ALiBi, a state space, or a modeling file of its own). {SUPPORTED}"
        )


def check_attention(model: PreTrainedModel) -> None:
    """Raises if the attention of a layer cannot be read, by a forward of two tokens.

    Raises:
        ValueError: As `intercept`.
    """
    ids = torch.zeros((1, 2), dtype=torch.long, device=model.device)
    with torch.no_grad(), observe(model, range(head_grid(model)[0]), lambda layer, call: call.query):
        model.get_decoder()(input_ids=ids, use_cache=False)


def observe(
    model: PreTrainedModel, layers: Collection[int], visit: Callable[[int, AttentionCall], torch.Tensor]
) -> AbstractContextManager[None]:
    """Calls `visit(layer, call)` when each of the `layers` attends; the layer continues with the query that it returns.

    Raises:
        ValueError: As `intercept`.
    """
    return intercept(model, layers, lambda layer, call, kernel: kernel(visit(layer, call)))


@contextmanager
def ablate(
    model: PreTrainedModel, ablations: Collection[Ablation], outputs: torch.Tensor | None = None
) -> Iterator[None]:
    """Makes the attention of some heads undifferentiated: every token attends equally to all tokens that it can see.

    The paper scales the query by a small number (CircuitSeer, equation 2). A query of zeros is the exact limit, with
    any mask, window, kernel and bias. Keys stay unchanged, because other heads read them under GQA. One block holds one
    forward.

    Args:
        outputs (`torch.Tensor` of shape `(layers, H, D)` or `(layers, H, 1)`): What a silenced head gives at every token, in
            place of its own output. None makes its attention undifferentiated.
    """
    by_layer: dict[int, list[Ablation]] = {}
    for ablation in ablations:
        check_heads(model, [(ablation.layer, ablation.head)])
        by_layer.setdefault(ablation.layer, []).append(ablation)

    def visit(layer: int, call: AttentionCall) -> torch.Tensor:
        query = call.query.clone()
        for _, head, row in by_layer[layer]:
            query[slice(None) if row is None else row, head] = 0
        return query

    def replace(layer: int, call: AttentionCall, kernel: Callable[[torch.Tensor], Any]) -> Any:
        assert outputs is not None
        result = kernel(call.query)
        output = head_outputs(call, result).clone()
        for _, head, row in by_layer[layer]:
            output[slice(None) if row is None else row, :, head] = outputs[layer, head].to(output)
        return (output, *result[1:])

    with observe(model, by_layer, visit) if outputs is None else intercept(model, by_layer, replace):
        yield


def head_outputs(call: AttentionCall, result: Any) -> torch.Tensor:
    """What a kernel gives of each head, of shape `(B, T, H, D)`: the weighted sums of values, before the layer mixes heads."""
    output = result[0]
    if output.ndim != 4 or output.shape[:3] != (call.query.shape[0], call.query.shape[2], call.query.shape[1]):
        raise ValueError(
            f"The kernel {call.implementation} of {type(call.module).__name__} gives no output of each head (shape "
            f"{tuple(output.shape)}). Set `ablation: uniform`."
        )
    return output
