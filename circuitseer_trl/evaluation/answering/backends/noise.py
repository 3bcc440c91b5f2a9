"""Draws tokens so that a sample depends on its seed, problem, number and step, and on nothing else.

The Gumbel-max trick: argmax of logits / temperature + Gumbel noise is a draw from the softmax. The noise of a token is
a hash of (seed, problem, sample, step, token) instead of the next number of a generator, so that a sample comes out the
same in any batch or order, on any rank, and after a restart. What remains are the logits themselves: matrix kernels
round differently for different batch shapes (about 1e-6 in float32, 1e-2 in bfloat16), and a draw as close as that may
fall either way.
"""

import torch

# B batch, V vocabulary, K candidates

# Weyl increment and finaliser of SplitMix64 (Steele, Lea, Flood 2014), as signed integers: torch has no unsigned ones.
_INCREMENT = 0x9E3779B97F4A7C15 - (1 << 64)
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))
# A full sort of a large vocabulary costs more than the model's own step on a CPU, and hardly any row needs it; a batch of
# 256 nearly always has such a row, so that each row gets as many candidates as it needs itself.
_TOP_P_CANDIDATES = (64, 1024)


def _shift_right(x: torch.Tensor, bits: int) -> torch.Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # `>>` alone would repeat the sign bit


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = (x ^ _shift_right(x, 30)) * _MULTIPLIERS[0]
    x = (x ^ _shift_right(x, 27)) * _MULTIPLIERS[1]
    return x ^ _shift_right(x, 31)


def gumbel_noise(keys: torch.Tensor, step: int, tokens: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise for every candidate token.

    Args:
        keys (`torch.Tensor` of shape `(B,)`): `sample_key` of every row, int64.
        step: Number of the token to be drawn, from 0.
        tokens (`torch.Tensor` of shape `(B, K)`): Ids of the candidates.

    Returns:
        `torch.Tensor` of shape `(B, K)`, float64.
    """
    streams = _mix(keys + step)  # keys are hashes: two samples' steps meet with next to no chance
    bits = _mix(streams[:, None] + (tokens + 1) * _INCREMENT)
    uniform = (_shift_right(bits, 12).double() + 0.5) * 2.0**-52  # inside (0, 1): both logarithms are finite
    return -torch.log(-torch.log(uniform))


def top_p_candidates(
    scores: torch.Tensor, log_total: torch.Tensor, top_p: float, count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The fewest most likely tokens that hold `top_p` of the probability (Holtzman et al. 2020), among `count` tokens.

    Args:
        scores (`torch.Tensor` of shape `(B, V)`): Logits divided by the temperature.
        log_total (`torch.Tensor` of shape `(B, 1)`): Their logsumexp.

    Returns:
        Scores of the candidates, -inf beyond a row's own, and their ids, both of shape `(B, K)`; and whether a row has
        all of its candidates, of shape `(B,)`.
    """
    values, tokens = scores.topk(min(count, scores.shape[-1]), dim=-1)
    probabilities = (values - log_total).exp()
    before = probabilities.cumsum(dim=-1) - probabilities
    keep = before < top_p
    whole = ~keep[:, -1] | (values.shape[-1] == scores.shape[-1])
    width = int(keep.sum(dim=-1).max())
    return values.masked_fill(~keep, -torch.inf)[:, :width], tokens[:, :width], whole


def draw_tokens(
    logits: torch.Tensor, keys: torch.Tensor, step: int, *, temperature: float, top_p: float = 1.0
) -> torch.Tensor:
    """Draws one token for each row; temperature 0 takes the most likely token.

    Args:
        logits (`torch.Tensor` of shape `(B, V)`): Next-token logits.
        keys (`torch.Tensor` of shape `(B,)`): `sample_key` of every row.
        step: Number of the token to be drawn, from 0.

    Returns:
        `torch.Tensor` of shape `(B,)`: Token ids.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    scores = logits.double() / temperature
    if top_p == 1:
        noise = gumbel_noise(keys, step, torch.arange(logits.shape[-1], device=logits.device).expand_as(scores))
        return (scores + noise).argmax(dim=-1)
    log_total = scores.logsumexp(dim=-1, keepdim=True)
    drawn = torch.empty_like(keys)
    rows = torch.arange(len(scores), device=scores.device)
    for count in (*_TOP_P_CANDIDATES, scores.shape[-1]):
        some = rows if len(rows) < len(scores) else slice(None)
        values, tokens, whole = top_p_candidates(scores[some], log_total[some], top_p, count)
        winners = (values + gumbel_noise(keys[some], step, tokens)).argmax(dim=-1, keepdim=True)
        drawn[rows[whole]] = tokens.gather(-1, winners).squeeze(-1)[whole]
        rows = rows[~whole]
        if not len(rows):
            break
    return drawn
