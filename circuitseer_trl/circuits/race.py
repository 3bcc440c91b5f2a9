"""Which heads are the best ones, without evaluating every head on the whole probe?

Exact sweeps run on growing random parts of the probe. After each round, a head that is surely not among the best leaves the
race. The others, and so the selected ones, are evaluated on the whole probe. A head looks unimportant as long as the examples
that need it have not come. What protects it is its reach on those examples (`head_attributions`): the limit of what
its ablation may change. It is known for the whole probe from one forward and one backward for each example.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from circuitseer_trl.circuits.bounds import highest_means, lowest_means, mean_guesses

# N probe examples, n of them evaluated so far, K heads
NUM_ROUNDS = 20
ERROR = 0.05
# The loss of an example rises by at most this share of a head's reach, and falls by at most this share of it. Measured: at
# most 0.89 and 0.20 for 270 heads of SmolLM2-135M on 25 rows of GSM8K.
MOST_RISE, MOST_FALL = 1.0, 0.5


@dataclass(frozen=True)
class Limits:
    """What each example's loss can change by, and how the examples are drawn; in the order of the draws.

    Attributes:
        rise (`np.ndarray` of shape `(N, K)`): No loss increase is above it.
        fall (`np.ndarray` of shape `(N, K)`): No loss increase is below its negative.
        weights (`np.ndarray` of shape `(N,)`): The next example was drawn with a probability proportional to its weight.
    """

    rise: np.ndarray
    fall: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Round:
    """One round of a race.

    Attributes:
        examples: Those that were evaluated, as places in the order.
        heads (`np.ndarray` of shape `(heads of the round,)`): Indices of the heads that took part.
    """

    examples: range
    heads: np.ndarray


@dataclass(frozen=True)
class Race:
    """The result of a race over columns of numbers.

    Attributes:
        selected (`np.ndarray` of shape `(size,)`): Indices of the heads of highest mean, the highest first.
        increases (`np.ndarray` of shape `(N, K)`): In the order of evaluation; NaN where a head had left the race.
        lowest, highest (`np.ndarray` of shape `(K,)`): Bounds of the means over all examples.
        rounds: In their order.
        beyond: Number of increases that were beyond their limits. Above 0, no head left the race.
    """

    selected: np.ndarray
    increases: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    rounds: list[Round]
    beyond: int


def draw_weights(reach: np.ndarray) -> np.ndarray:
    """Weights of the examples by the heads' mean reach, so that an example where much may happen tends to come early."""
    mean = reach.mean(axis=1)
    return mean + max(1e-3 * float(mean.mean()), np.finfo(float).tiny)


def reach_limits(reach: np.ndarray, base_losses: np.ndarray, weights: np.ndarray, rounding: float) -> Limits:
    """Limits by the reach of each head. A loss is never below 0, so it falls by no more than itself.

    Args:
        rounding: What an increase may be off by.
    """
    return Limits(MOST_RISE * reach + rounding, np.minimum(MOST_FALL * reach, base_losses[:, None]) + rounding, weights)


def race(
    evaluate: Callable[[int, range, np.ndarray], np.ndarray],
    limits: Limits,
    size: int,
    error: float = ERROR,
    num_rounds: int = NUM_ROUNDS,
) -> Race:
    """Finds the `size` heads of highest mean over all examples.

    After a round, a head leaves if at least `size` others are surely better. The answer is wrong with at most the
    probability `error`, if no increase is beyond its limits. That is checked for every increase that is evaluated. After
    one beyond, no head leaves any more, and those that left are evaluated on the rest: nothing is left to chance.

    Why the error holds: for a head of the `size` best to leave, either its own upper bound is wrong (`size` chances), or the
    lower bound of a head that is not one of the best (at most K chances). Each kind gets half of the error.

    Args:
        evaluate: Gives the increases of a round, a range of examples and head indices; one row for each example.
    """
    num_examples, num_heads = limits.rise.shape
    increases = np.full((num_examples, num_heads), np.nan)
    lowest, highest = -limits.fall.mean(axis=0), limits.rise.mean(axis=0)
    rounds: list[Round] = []
    beyond = 0

    def run(examples: range, heads: np.ndarray) -> None:
        nonlocal beyond
        values = evaluate(len(rounds), examples, heads)
        part = slice(examples.start, examples.stop), heads
        beyond += int(((values > limits.rise[part]) | (values < -limits.fall[part])).sum())
        increases[part] = values
        rounds.append(Round(examples, heads))

    active, left_after = np.arange(num_heads), np.full(num_heads, num_examples)
    start = 0
    for number in range(1, num_rounds + 1):
        stop = math.ceil(num_examples * number / num_rounds)
        if stop == start:
            continue
        run(range(start, stop), active)
        start = stop
        if beyond or stop == num_examples:
            continue
        seen, weights = increases[:stop, active], limits.weights
        highest[active] = highest_means(seen, limits.rise[:, active], weights, error / 2 / size)
        lowest[active] = lowest_means(seen, limits.fall[:, active], weights, error / 2 / num_heads)
        highest = np.maximum(highest, lowest)  # where a bound is wrong, the best heads stay all the same
        out = highest[active] < np.sort(lowest)[-size]
        left_after[active[out]] = stop
        active = active[~out]
    if beyond:
        for stop in sorted(set(left_after.tolist()) - {num_examples}):
            run(range(stop, num_examples), np.flatnonzero(left_after == stop))
    whole = np.isfinite(increases).all(axis=0)
    lowest[whole] = highest[whole] = increases[:, whole].mean(axis=0)
    selected = np.sort(np.flatnonzero(whole))
    selected = selected[np.argsort(-increases[:, selected].mean(axis=0), kind="stable")][:size]
    return Race(selected, increases, lowest, highest, rounds, beyond)


def estimated_means(raced: Race, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over all examples and their standard errors; for a head that left the race, estimates within its bounds."""
    means, errors = np.empty((2, len(raced.lowest)))
    counts = np.isfinite(raced.increases).sum(axis=0)
    for count in set(counts.tolist()):
        heads = counts == count
        values = raced.increases[:count, heads]
        guesses = values if count == len(weights) else mean_guesses(values, weights)
        means[heads] = np.clip(guesses.mean(axis=0), raced.lowest[heads], raced.highest[heads])
        errors[heads] = guesses.std(axis=0, ddof=1) / math.sqrt(count) if count > 1 else np.nan
    return means, errors
