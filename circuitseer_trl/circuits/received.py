"""How unevenly do the tokens of a text receive attention? Attention received, and its statistics."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from transformers import PreTrainedModel

from circuitseer_trl.circuits.attention import AttentionCall, Head, check_heads, observe
from circuitseer_trl.modeling.losses import check_ready, last_hidden_states, pad_right

# B batch, S selected heads of a layer, Q queries of a block, T tokens, D head dimension
# Attention weights held at once: 64 MB in float32 on CUDA; on a CPU as many as a cache holds, which is twice as fast.
MAX_WEIGHTS = {"cuda": 2**24, "cpu": 2**20}
MEAN_TOLERANCE = 1e-4


class NotFiniteError(ValueError):
    """Some attention of a batch is not finite: broken weights, or a dtype that is too narrow for a text."""


class _EarlyExit(Exception):  # noqa: N818
    """Ends a forward after the deepest selected layer: later layers do not change the attention."""


def check_causal_call(call: AttentionCall) -> None:
    """Raises if the attention of a call is not causal."""
    is_causal = call.options.get("is_causal")
    if is_causal is False or (is_causal is None and not getattr(call.module, "is_causal", True)):
        raise ValueError(f"{type(call.module).__name__} is not causal: scores are defined for causal language models.")


def block_logits(call: AttentionCall, query: torch.Tensor, key: torch.Tensor, start: int) -> torch.Tensor:
    """Attention logits of a block of queries, of shape `(B, S, Q, T)`, as the kernel computes them; -inf where hidden."""
    options, stop = call.options, start + query.shape[2]
    scaling = options.get("scaling")
    logits = query @ key.mT * (scaling if scaling is not None else query.shape[-1] ** -0.5)
    if options.get("softcap") is not None:
        logits = torch.tanh(logits / options["softcap"]) * options["softcap"]
    if isinstance(call.mask, torch.Tensor) and call.mask.ndim == 4:
        mask = call.mask[:, :, start:stop, : key.shape[2]]
        return logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
    if call.mask is not None:
        raise ValueError(
            f"Cannot read the attention mask of {call.implementation} ({type(call.mask).__name__}). "
            "Load the model with attn_implementation='sdpa' or 'eager' to score."
        )
    queries = torch.arange(start, stop, device=key.device)[:, None]
    keys = torch.arange(key.shape[2], device=key.device)
    hidden = keys > queries
    # Flash kernels take the window as a number. The other kernels get a mask whenever a window hides a token.
    if "flash" in call.implementation and options.get("sliding_window") is not None:
        hidden |= keys <= queries - options["sliding_window"]
    return logits.masked_fill(hidden, -torch.inf)


def _column_sums(call: AttentionCall, heads: Sequence[int], lengths: torch.Tensor) -> torch.Tensor:
    """Attention that each token receives from all real queries, summed over `heads`; float64 of shape `(B, T)`."""
    check_causal_call(call)
    dtype = torch.promote_types(call.query.dtype, torch.float32)
    group = call.query.shape[1] // call.key.shape[1]
    query = call.query[:, list(heads)].to(dtype)
    key = call.key[:, [head // group for head in heads]].to(dtype)
    num_rows, num_heads, num_tokens, _ = query.shape
    sums = torch.zeros(num_rows, num_tokens, dtype=torch.float64, device=query.device)
    size = max(1, MAX_WEIGHTS[query.device.type] // (num_rows * num_heads * num_tokens))
    for start in range(0, num_tokens, size):
        stop = min(start + size, num_tokens)
        # Causal: no query of the block sees a key after the block.
        weights = block_logits(call, query[:, :, start:stop], key[:, :, :stop], start).softmax(dim=-1)
        # Queries of padding are left out, or a score would depend on its batch.
        real = torch.arange(start, stop, device=lengths.device) < lengths[:, None]
        sums[:, :stop] += (weights * real[:, None, :, None]).sum(dim=(1, 2), dtype=torch.float64)
    return sums


@torch.no_grad()
def attention_received(
    model: PreTrainedModel, batch: Sequence[Sequence[int]], heads: Sequence[Head]
) -> list[np.ndarray]:
    """The attention that each token of each text receives: alpha of CircuitSeer's equation 4.

    Equation 4 as printed sums a row of weights, which is 1 for every token; the text says attention *on* a token. So
    alpha_k is the sum over queries of the attention on token k, averaged over `heads`. Its mean over a text is 1.

    Softmax is in float32 (float64 for a float64 model), sums are in float64. Batch-mates change a value by rounding
    only: by a relative difference below 1e-5 in float32, as tested. The forward stops after the deepest of the `heads`.

    Args:
        batch: Token ids of the texts. They are padded to one length, so texts of similar length are cheaper.
        heads: (layer, query head) pairs.

    Returns:
        For each text a float64 `np.ndarray` of shape `(tokens,)`.

    Raises:
        NotFiniteError: The attention of some text is not finite.
        ValueError: A text is empty, a head does not exist, or the attention is not supported (see `intercept`).
    """
    check_ready(model)
    check_heads(model, heads)
    if not heads:
        raise ValueError("`heads` is empty: name at least one (layer, query head) pair.")
    if empty := [index for index, ids in enumerate(batch) if len(ids) == 0]:
        raise ValueError(f"Texts {empty} of the batch have no tokens and so no score. Leave them out.")
    if not batch:
        return []
    by_layer: dict[int, list[int]] = {}
    for layer, head in sorted(heads):
        by_layer.setdefault(layer, []).append(head)
    ids = pad_right(batch, model.device)
    lengths = torch.tensor([len(text) for text in batch], device=model.device)
    sums = torch.zeros(ids.shape, dtype=torch.float64)

    def visit(layer: int, call: AttentionCall) -> torch.Tensor:
        sums.add_(_column_sums(call, by_layer[layer], lengths.to(call.query.device)).cpu())
        if layer == max(by_layer):
            raise _EarlyExit
        return call.query

    with observe(model, by_layer, visit), suppress(_EarlyExit):
        last_hidden_states(model, ids)
    alphas = [row[: len(text)].numpy() / len(heads) for row, text in zip(sums, batch, strict=True)]
    if not all(np.isfinite(alpha).all() for alpha in alphas):
        raise NotFiniteError(
            "The attention is not finite. Check that the model's weights are whole; if its dtype is float16, use float32."
        )
    for alpha in alphas:
        assert abs(alpha.mean() - 1) < MEAN_TOLERANCE, f"Attention received must average 1 a token, got {alpha.mean()}."
    return alphas


def attention_variance(alpha: np.ndarray, sink_tokens: int = 0) -> float:
    """The score: population variance of attention received over a text's tokens (CircuitSeer, equation 5).

    Args:
        alpha (`np.ndarray` of shape `(tokens,)`): From `attention_received`.
        sink_tokens: Number of first tokens to leave out. The variance of the others is about their own mean, without
            renormalising.

    Returns:
        At least 0; 0 where at most one token is left.
    """
    rest = alpha[sink_tokens:]
    return float(rest.var()) if len(rest) > 1 else 0.0


def variance_without_first(alpha: np.ndarray) -> float:
    """The score without the first token, which receives most attention: `score_without_sink`."""
    return attention_variance(alpha, sink_tokens=1)


def sink_share(alpha: np.ndarray) -> float:
    """The first token's share of all attention, in (0, 1]."""
    return float(alpha[0] / len(alpha))


def attention_entropy(alpha: np.ndarray, sink_tokens: int = 0) -> float:
    """How uneven the attention received is, in [0, 1] at any length: 1 - H(p) / log(m).

    m is the number of tokens after the first `sink_tokens`; p is their alpha, normalised to the sum 1. The result is 0
    where at most one token is left, or none of them receives attention.
    """
    rest = alpha[sink_tokens:]
    if len(rest) <= 1 or rest.sum() == 0:
        return 0.0
    p = rest / rest.sum()
    p = p[p > 0]
    return float(max(0.0, 1 + (p * np.log(p)).sum() / np.log(len(rest))))
