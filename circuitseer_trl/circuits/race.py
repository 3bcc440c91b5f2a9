"""Which heads are the best ones, without evaluating every head on the whole probe?

Exact sweeps run on growing random parts of the probe: 8 examples, 12, 18, ... After each round, heads that are surely among
the k best, and heads that are surely not, leave the race. A head that stays in doubt is evaluated on the whole probe.
First-order estimates (attribution patching) must not choose heads, because they give the most important heads negative
importance. But they are cheap enough for the whole probe, and as control variates they remove most of the sampling noise.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.circuits.attribution import ATTRIBUTION_FORWARDS
from circuitseer_trl.distributed.shards import run_shards

# N probe examples, n of them evaluated so far, K heads
FIRST_ROUND = 8
GROWTH = 1.5
Z = 3.5


@dataclass(frozen=True)
class Round:
    """One round of a race.

    Attributes:
        stop: Number of examples evaluated when the round ends.
        heads (`np.ndarray` of shape `(K,)`): Indices of the heads that took part.
    """

    stop: int
    heads: np.ndarray


@dataclass(frozen=True)
class Race:
    """The result of a race over columns of numbers.

    Attributes:
        selected (`np.ndarray` of shape `(size,)`): Indices of the heads of highest mean, the highest first.
        increases (`np.ndarray` of shape `(N, K)`): In the order of evaluation; NaN where a head had left the race.
        rounds: In their order.
    """

    selected: np.ndarray
    increases: np.ndarray
    rounds: list[Round]


@dataclass(frozen=True)
class RaceResult:
    """The result of a race over a model's heads.

    Attributes:
        selected: The heads found, the highest mean first.
        increases: The increases that were evaluated, as `sweep` gives them.
        estimates: First-order estimates for all heads on all examples.
        card: The entry of the race in `heads.json`.
    """

    selected: list[Head]
    increases: pa.Table
    estimates: pa.Table
    card: dict[str, Any]


def standard_errors(values: np.ndarray, num_examples: int) -> np.ndarray:
    """Standard error of the mean over n of `num_examples` rows drawn without replacement; 0 when all are drawn."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.inf if n < num_examples else 0.0)
    return values.std(axis=0, ddof=1) * math.sqrt((1 - n / num_examples) / n)


def with_control(increases: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Increases on a part of the probe, corrected for the choice of the part.

    Args:
        increases (`np.ndarray` of shape `(n, K)`): Loss increases of the first n examples.
        controls (`np.ndarray` of shape `(N, K)`): Estimates of them for all examples. The distance of an example's estimate
            from the head's mean is subtracted where that lowers the head's variance. Over all examples it adds up to 0.

    Returns:
        `np.ndarray` of shape `(n, K)`: The corrected increases.
    """
    chance = controls[: len(increases)] - controls.mean(axis=0)
    lower = (increases - chance).var(axis=0) < increases.var(axis=0)
    return increases - np.where(lower, chance, 0)


def decide(values: np.ndarray, size: int, num_examples: int, z: float = Z) -> tuple[np.ndarray, np.ndarray]:
    """Decides which heads are surely among the `size` best, and which are surely not.

    A head among the best so far is compared with the first one after them, any other head with the last of the best. The
    comparison is example by example, so the common difficulty of an example cancels. A head is decided where the mean
    difference exceeds z standard errors.

    Args:
        values (`np.ndarray` of shape `(n, K)`): Loss increases of the heads still in the race.

    Returns:
        Two boolean `np.ndarray` of shape `(K,)`: surely in, and surely out.
    """
    order = np.argsort(-values.mean(axis=0), kind="stable")
    surely_in, surely_out = np.zeros((2, len(order)), dtype=bool)
    if len(order) <= size:
        surely_in[:] = True
        return surely_in, surely_out
    ahead = values[:, order[:size]] - values[:, order[size], None]
    behind = values[:, order[size - 1], None] - values[:, order[size:]]
    surely_in[order[:size]] = ahead.mean(axis=0) > z * standard_errors(ahead, num_examples)
    surely_out[order[size:]] = behind.mean(axis=0) > z * standard_errors(behind, num_examples)
    return surely_in, surely_out


def race(
    evaluate: Callable[[int, range, np.ndarray], np.ndarray],
    controls: np.ndarray,
    size: int,
    first_round: int = FIRST_ROUND,
    growth: float = GROWTH,
    z: float = Z,
) -> Race:
    """Finds the `size` heads of highest mean over all examples, which come in random order.

    Args:
        evaluate: Gives the increases of a round, a range of examples and head indices; one row for each example.
        controls (`np.ndarray` of shape `(N, K)`): Estimates of the increases, in the same order; zeros have no effect.
    """
    num_examples, num_heads = controls.shape
    increases = np.full((num_examples, num_heads), np.nan)
    rounds: list[Round] = []
    accepted, active, start = np.empty(0, dtype=int), np.arange(num_heads), 0
    while start < num_examples and len(active):
        stop = min(num_examples, max(first_round, math.ceil(growth * start)))
        increases[start:stop, active] = evaluate(len(rounds), range(start, stop), active)
        rounds.append(Round(stop, active))
        values = with_control(increases[:stop, active], controls[:, active])
        surely_in, surely_out = decide(values, size - len(accepted), num_examples, z)
        accepted = np.concatenate([accepted, active[surely_in]])
        active = active[~surely_in & ~surely_out] if len(accepted) < size else active[:0]
        start = stop
    # After all examples, only heads with exactly the same mean are still in doubt.
    tied = active[np.argsort(-increases[:, active].mean(axis=0), kind="stable")][: size - len(accepted)]
    selected = np.sort(np.concatenate([accepted, tied]))
    means = np.nanmean(increases[:, selected], axis=0)
    return Race(selected[np.argsort(-means, kind="stable")], increases, rounds)


def sweep_cost(heads: Sequence[Head], num_layers: int) -> int:
    """Rows that a sweep over these heads puts through the layers, summed: a row joins at its head's layer."""
    return num_layers + sum(num_layers - layer for layer, _ in heads)


@dataclass(frozen=True)
class RacePlan:
    """A race over a model's heads and a probe.

    Attributes:
        lengths: Tokens of the probe examples.
        grid: Number of layers and of heads in each.
        size: How many heads are to be found.
        seed: Of the order of the examples.
    """

    lengths: Sequence[int]
    grid: tuple[int, int]
    size: int
    seed: int


def attributions_folder(output_dir: Path) -> Path:
    """Where a race keeps its first-order estimates."""
    return output_dir / "race" / "attributions"


def run_race(
    sweep: Callable[[int, Sequence[Head]], pa.Table],
    attribute: Callable[[int], pa.Table],
    plan: RacePlan,
    made_from: dict[str, Any],
    output_dir: Path,
) -> RaceResult:
    """Races the heads of a model over a probe; every example of a round is a shard.

    Args:
        sweep: Gives the table of loss increases for the index of a probe example and heads, in the order of the heads.
        attribute: Gives the first-order estimates of all heads for the index of a probe example.
        plan: What is raced.
        made_from: Everything that the sweeps depend on.
        output_dir: Gets the folder `race/`, with one folder for each round and one for the estimates.
    """
    lengths, grid = plan.lengths, plan.grid
    num_layers, width = grid
    everything = [divmod(index, width) for index in range(num_layers * width)]
    order = np.random.default_rng(plan.seed).permutation(len(lengths))  # a max-loss probe comes sorted
    estimates = run_shards(attributions_folder(output_dir), len(lengths), made_from, attribute, "Race, estimates")
    controls = estimates["loss_increase"].to_numpy().reshape(len(lengths), len(everything))[order]
    tables: list[pa.Table] = []
    estimating = ATTRIBUTION_FORWARDS * num_layers * sum(lengths)
    sweeping = 0

    def evaluate(number: int, examples: range, active: np.ndarray) -> np.ndarray:
        nonlocal sweeping
        heads = [everything[index] for index in active.tolist()]
        sweeping += sum(lengths[order[example]] for example in examples) * sweep_cost(heads, num_layers)
        table = run_shards(
            output_dir / "race" / f"round-{number}",
            len(examples),
            made_from | {"examples": order[examples].tolist(), "heads": heads},
            lambda shard: sweep(int(order[examples[shard]]), heads),
            f"Race, {len(heads)} heads",
        )
        tables.append(table)
        return table["loss_increase"].to_numpy().reshape(len(examples), len(heads))

    result = race(evaluate, controls, plan.size, FIRST_ROUND, GROWTH, Z)
    counts = np.isfinite(result.increases).sum(axis=0)
    half_widths = Z * np.array(
        [standard_errors(column[np.isfinite(column)], len(lengths)) for column in result.increases.T]
    )
    whole = sum(lengths) * sweep_cost(everything, num_layers)
    comparisons = sum(len(step.heads) for step in result.rounds)
    card = {
        "first_round": FIRST_ROUND,
        "growth": GROWTH,
        "z": Z,
        "rounds": [{"num_examples": step.stop, "num_heads": len(step.heads)} for step in result.rounds],
        "num_evaluated": counts.reshape(grid).tolist(),
        "half_width": half_widths.reshape(grid).tolist(),
        "row_tokens_ratio": round((sweeping + estimating) / whole, 4),
        "confidence": {
            "meaning": "at most this chance that the heads are not the whole probe's top, by the normal approximation and "
            "the union over all comparisons",
            "error": min(1.0, comparisons * math.erfc(Z / math.sqrt(2)) / 2),
            "num_comparisons": comparisons,
        },
    }
    selected = [everything[index] for index in result.selected.tolist()]
    return RaceResult(selected, pa.concat_tables(tables), estimates, card)
