"""How large, and how small, can a mean over the whole probe be, if only a part of the probe was evaluated?

The examples come in a random order, in which large ones tend to come first: the next example is drawn among the remaining
ones with probability proportional to a weight. No value exceeds its limit, which is known for every example beforehand.
The bounds are empirical Bernstein bounds for draws without replacement (Waudby-Smith and Ramdas, 2020), with weights as in
financial audits (Shekhar et al., 2023). They hold after every number of draws at once, for any values within the limits.
"""

import math

import numpy as np

# N examples, n of them drawn so far, K heads
# The largest bet of a draw, as a share of what may be lost; any number below 1 is valid.
LARGEST_BET = 0.9


def weighted_order(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws all examples without replacement: the next one with probability proportional to its weight."""
    return np.argsort(rng.exponential(size=len(weights)) / weights, kind="stable")


def highest_means(values: np.ndarray, limits: np.ndarray, weights: np.ndarray, error: float) -> np.ndarray:
    """Upper bounds of the means over all examples; each is wrong at any time with at most the probability `error`.

    Args:
        values (`np.ndarray` of shape `(n, K)`): In the order of the draws.
        limits (`np.ndarray` of shape `(N, K)`): What values cannot exceed, in the same order, at least 0.
        weights (`np.ndarray` of shape `(N,)`): Of the draws, in the same order, above 0.

    Returns:
        `np.ndarray` of shape `(K,)`: The lowest of the bounds after 1, 2, ..., n draws.
    """
    n, num_examples = len(values), len(weights)
    drawn = values.cumsum(axis=0)
    left = limits.sum(axis=0) - limits[:n].cumsum(axis=0)  # the sum of the limits that remain after each draw
    certain = drawn + left
    if n == num_examples:
        return drawn[-1] / n
    # A draw's value by its weight has the mean `remaining sum of values / remaining weight`.
    scaled = values / weights[:n, None]
    before = np.vstack([np.zeros_like(drawn[:1]), drawn[:-1]])
    remaining = weights[::-1].cumsum()[::-1][:n, None]
    largest = np.maximum.accumulate((limits / weights[:, None])[::-1])[::-1][:n]
    # What the bets depend on was known before their draw: the mean and the variance of the earlier draws.
    count = np.arange(n)[:, None]
    center = np.minimum(
        np.vstack([np.zeros_like(drawn[:1]), scaled.cumsum(axis=0)[:-1]]) / np.maximum(count, 1), largest / 2
    )
    distance = np.maximum(largest - center, np.finfo(float).tiny)
    squares = np.square(scaled - center)
    variance = np.vstack([np.zeros_like(drawn[:1]), squares.cumsum(axis=0)[:-1]]) / np.maximum(count, 1)
    needed = math.log(1 / error)
    with np.errstate(divide="ignore"):
        bet = np.minimum(LARGEST_BET, distance * np.sqrt(4 * needed / num_examples / variance))
    rate = bet / distance
    penalty = squares * (-np.log1p(-bet) - bet) / np.square(distance)
    spent = needed + (penalty + rate * (scaled + before / remaining)).cumsum(axis=0)
    return np.minimum(spent / (rate / remaining).cumsum(axis=0), certain).min(axis=0) / num_examples


def lowest_means(values: np.ndarray, limits: np.ndarray, weights: np.ndarray, error: float) -> np.ndarray:
    """Lower bounds, as `highest_means`; here a limit is how far below 0 a value may be."""
    return -highest_means(-values, limits, weights, error)


def mean_guesses(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """One unbiased guess of the means over all examples for each draw (Des Raj, 1956); shape `(n, K)`.

    The plain mean of the draws would be too high, because examples of large weight come first.
    """
    remaining = weights[::-1].cumsum()[::-1][: len(values), None]
    return (values.cumsum(axis=0) - values + values * remaining / weights[: len(values), None]) / len(weights)
