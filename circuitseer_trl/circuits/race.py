"""Which heads are among the best, without evaluating every head on the whole probe?

Exact sweeps on growing random parts of the probe: 16 examples, 32, 64, ... After each, a head that is surely below the
k-th best is evaluated no further; what is left at the end has been evaluated on the whole probe. First-order estimates
(attribution patching) must not choose here: they give the most important heads negative importance.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.sharding import run_shards

# N probe examples, n of them evaluated so far, K heads
FIRST_ROUND = 16
Z = 4.0


@dataclass(frozen=True)
class Round:
    """One round of a race.

    Attributes:
        stop: Number of examples evaluated after it.
        heads: Indices of the heads that took part.
        num_compared: How many of them were compared with the k-th.
    """

    stop: int
    heads: np.ndarray
    num_compared: int


@dataclass(frozen=True)
class Race:
    """What a race found.

    Attributes:
        increases (`np.ndarray` of shape `(N, K)`): In the order of evaluation; NaN where a head took no part any more.
        rounds: In their order.
    """

    increases: np.ndarray
    rounds: list[Round]


def standard_errors(values: np.ndarray, num_examples: int) -> np.ndarray:
    """Standard error of the mean over n of `num_examples` rows drawn without replacement; 0 once all are there."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.inf if n < num_examples else 0.0)
    return values.std(axis=0, ddof=1) * math.sqrt((1 - n / num_examples) / n)


def surely_out(increases: np.ndarray, size: int, num_examples: int, z: float = Z) -> np.ndarray:
    """Which heads are below the `size`-th best with confidence.

    Each head is compared with the one that is `size`-th so far, example by example: what makes an example hard for both
    cancels. A head is out where the mean difference exceeds z standard errors.

    Args:
        increases (`np.ndarray` of shape `(n, K)`): Loss increases of the heads still in the race.

    Returns:
        Boolean `np.ndarray` of shape `(K,)`.
    """
    order = np.argsort(-increases.mean(axis=0), kind="stable")
    out = np.zeros(increases.shape[1], dtype=bool)
    if len(order) <= size:
        return out
    behind = increases[:, order[size - 1], None] - increases[:, order[size:]]
    out[order[size:]] = behind.mean(axis=0) > z * standard_errors(behind, num_examples)
    return out


def race(
    evaluate: Callable[[int, range, np.ndarray], np.ndarray],
    num_examples: int,
    num_heads: int,
    size: int,
    first_round: int = FIRST_ROUND,
    z: float = Z,
) -> Race:
    """Finds the `size` heads of highest mean over all examples, which come in random order.

    There is no early acceptance to decide: an accepted head would be evaluated on the whole probe all the same.

    Args:
        evaluate: Given the round, a range of examples and head indices, the increases, one row an example.
    """
    increases = np.full((num_examples, num_heads), np.nan)
    rounds: list[Round] = []
    active, start = np.arange(num_heads), 0
    while start < num_examples:
        stop = num_examples if len(active) <= size else min(num_examples, max(first_round, 2 * start))
        increases[start:stop, active] = evaluate(len(rounds), range(start, stop), active)
        rounds.append(Round(stop, active, max(0, len(active) - size)))
        active = active[~surely_out(increases[:stop, active], size, num_examples, z)]
        start = stop
    return Race(increases, rounds)


def sweep_cost(heads: Sequence[Head], num_layers: int) -> int:
    """Rows that a sweep over these heads puts through each layer, summed: a row grows at its head's layer."""
    return num_layers + sum(num_layers - layer for layer, _ in heads)


def run_race(
    sweep: Callable[[int, Sequence[Head]], pa.Table],
    lengths: Sequence[int],
    grid: tuple[int, int],
    size: int,
    made_from: dict[str, Any],
    folder: Path,
    seed: int,
    first_round: int = FIRST_ROUND,
    z: float = Z,
) -> tuple[pa.Table, dict[str, Any]]:
    """Races the heads of a model over a probe, with every example of a round a shard.

    Args:
        sweep: Given a probe example's index and heads, the table of their loss increases in the order of the heads.
        lengths: Tokens of the probe examples.
        grid: Number of layers and of heads in each.
        size: How many heads are to be found.
        made_from: Everything that the sweeps depend on.
        folder: Gets the folder `race/` with one folder a round.
        seed: Of the order of the examples.

    Returns:
        The increases that were evaluated, and what `heads.json` says of the race.
    """
    num_layers, width = grid
    order = np.random.default_rng(seed).permutation(len(lengths))  # a max-loss probe comes sorted
    tables: list[pa.Table] = []
    cost = 0

    def evaluate(number: int, examples: range, active: np.ndarray) -> np.ndarray:
        nonlocal cost
        heads = [divmod(index, width) for index in active.tolist()]
        cost += sum(lengths[order[example]] for example in examples) * sweep_cost(heads, num_layers)
        table = run_shards(
            folder / "race" / f"round-{number}",
            len(examples),
            made_from | {"examples": order[examples].tolist(), "heads": heads},
            lambda shard: sweep(int(order[examples[shard]]), heads),
            f"Race, {len(heads)} heads",
        )
        tables.append(table)
        return table["loss_increase"].to_numpy().reshape(len(examples), len(heads))

    result = race(evaluate, len(lengths), num_layers * width, size, first_round, z)
    counts = np.isfinite(result.increases).sum(axis=0)
    half_widths = z * np.array(
        [standard_errors(column[np.isfinite(column)], len(lengths)) for column in result.increases.T]
    )
    everything = [divmod(index, width) for index in range(num_layers * width)]
    whole = sum(lengths) * sweep_cost(everything, num_layers)
    comparisons = sum(step.num_compared for step in result.rounds)
    card = {
        "first_round": first_round,
        "z": z,
        "rounds": [{"num_examples": step.stop, "num_heads": len(step.heads)} for step in result.rounds],
        "num_evaluated": counts.reshape(grid).tolist(),
        "half_width": half_widths.reshape(grid).tolist(),
        "row_tokens_ratio": round(cost / whole, 4),
        "confidence": {
            "meaning": "at most this chance that a head of the whole probe's top was dropped, by the normal "
            "approximation and the union over all comparisons",
            "error": min(1.0, comparisons * math.erfc(z / math.sqrt(2)) / 2),
            "num_comparisons": comparisons,
        },
    }
    return pa.concat_tables(tables), card
