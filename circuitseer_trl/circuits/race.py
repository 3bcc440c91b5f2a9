"""Which heads are among the best, without evaluating every head on the whole probe?

Exact sweeps on growing random parts of the probe: 8 examples, 12, 18, ... After each, a head that is surely below the k-th
best is evaluated no further, nor is one that is surely among the best; what is in doubt to the end has been evaluated on the
whole probe. First-order estimates (attribution patching) must not choose, as they give the most important heads negative
importance; but they are cheap enough to be had for the whole probe, and take most of the chance out of a part of it.
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
        stop: Number of examples evaluated after it.
        heads: Indices of the heads that took part.
    """

    stop: int
    heads: np.ndarray


@dataclass(frozen=True)
class Race:
    """What a race found.

    Attributes:
        selected: Indices of the heads of highest mean, the highest first.
        increases (`np.ndarray` of shape `(N, K)`): In the order of evaluation; NaN where a head took no part any more.
        rounds: In their order.
    """

    selected: np.ndarray
    increases: np.ndarray
    rounds: list[Round]


@dataclass(frozen=True)
class RaceResult:
    """What a race over a model's heads found.

    Attributes:
        selected: The heads found, the highest mean first.
        increases: The increases that were evaluated, as `sweep` gives them.
        estimates: Those of all heads on all examples, to first order.
        card: What `heads.json` says of the race.
    """

    selected: list[Head]
    increases: pa.Table
    estimates: pa.Table
    card: dict[str, Any]


def standard_errors(values: np.ndarray, num_examples: int) -> np.ndarray:
    """Standard error of the mean over n of `num_examples` rows drawn without replacement; 0 once all are there."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.inf if n < num_examples else 0.0)
    return values.std(axis=0, ddof=1) * math.sqrt((1 - n / num_examples) / n)


def with_control(increases: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Increases of a part of the probe, less what the choice of the part made of them.

    Args:
        increases (`np.ndarray` of shape `(n, K)`): Loss increases of the first n examples.
        controls (`np.ndarray` of shape `(N, K)`): Estimates of them for all examples. How far an example's estimate is from
            the head's mean is taken off where that lowers the head's variance; over all examples that is nothing.

    Returns:
        `np.ndarray` of shape `(n, K)`.
    """
    chance = controls[: len(increases)] - controls.mean(axis=0)
    lower = (increases - chance).var(axis=0) < increases.var(axis=0)
    return increases - np.where(lower, chance, 0)


def decide(values: np.ndarray, size: int, num_examples: int, z: float = Z) -> tuple[np.ndarray, np.ndarray]:
    """Which heads are among the `size` best, and which are not, with confidence.

    A head of the best so far is compared with the one after them, another with the last of them, example by example: what
    makes an example hard for both cancels. Decided is where the mean difference exceeds z standard errors.

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
        evaluate: Given the round, a range of examples and head indices, the increases, one row an example.
        controls (`np.ndarray` of shape `(N, K)`): Estimates of the increases, in the same order; zeros are none.
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
    # Heads of the same mean to the last bit are left where all examples did not tell them apart.
    tied = active[np.argsort(-increases[:, active].mean(axis=0), kind="stable")][: size - len(accepted)]
    selected = np.sort(np.concatenate([accepted, tied]))
    means = np.nanmean(increases[:, selected], axis=0)
    return Race(selected[np.argsort(-means, kind="stable")], increases, rounds)


def sweep_cost(heads: Sequence[Head], num_layers: int) -> int:
    """Rows that a sweep over these heads puts through each layer, summed: a row grows at its head's layer."""
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
    """Races the heads of a model over a probe, with every example of a round a shard.

    Args:
        sweep: Given a probe example's index and heads, the table of their loss increases in the order of the heads.
        attribute: The same for all heads, to first order.
        plan: What is raced.
        made_from: Everything that the sweeps depend on.
        output_dir: Gets the folder `race/` with one folder a round, and one of the estimates.
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
