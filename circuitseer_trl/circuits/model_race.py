"""Which heads of a model are the best ones on a probe, by a race? Sweeps in rounds; every example of a round is a shard."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.circuits.attribution import ATTRIBUTION_FORWARDS
from circuitseer_trl.circuits.bounds import weighted_order
from circuitseer_trl.circuits.race import (
    ERROR,
    MOST_FALL,
    MOST_RISE,
    draw_weights,
    estimated_means,
    race,
    reach_limits,
)
from circuitseer_trl.distributed.shards import run_shards
from circuitseer_trl.modeling.stored_losses import check_finite

logger = logging.getLogger(__name__)

MEANING = "at most this chance that a head of the whole probe's top left the race"
CONDITION = (
    "no loss increase is above `most_rise` or below -`most_fall` times the head's first-order reach on the example, by more "
    "than `rounding` nats"
)


def sweep_cost(heads: Sequence[Head], num_layers: int) -> int:
    """Rows that a sweep over these heads puts through the layers, summed: a row joins at its head's layer."""
    return num_layers + sum(num_layers - layer for layer, _ in heads)


@dataclass(frozen=True)
class RacePlan:
    """A race over a model's heads and a probe.

    Attributes:
        uids: Of the probe examples.
        lengths: Their numbers of tokens.
        grid: Number of layers and of heads in each.
        size: How many heads are to be found.
        seed: Of the order of the examples.
        rounding: What a loss increase may be off by, in nats, by the model's dtype.
    """

    uids: Sequence[str]
    lengths: Sequence[int]
    grid: tuple[int, int]
    size: int
    seed: int
    rounding: float


@dataclass(frozen=True)
class RaceResult:
    """The result of a race over a model's heads.

    Attributes:
        selected: The heads found, the highest mean first.
        increases: The increases that were evaluated, as `sweep` gives them.
        attributions: As `attribute` gives them, of all examples.
        left_out: uids of the examples on which the model's output is not finite.
        importance (`np.ndarray` of shape `grid`): Means over the probe; estimates for heads that left the race.
        standard_error: Of them, as estimates of the pool's means; None if a head was evaluated on only one example.
        card: The entry of the race in `heads.json`.
    """

    selected: list[Head]
    increases: pa.Table
    attributions: pa.Table
    left_out: list[str]
    importance: np.ndarray
    standard_error: list[list[float]] | None
    card: dict[str, Any]


def rounding_nats(dtype: torch.dtype) -> float:
    """What a loss increase may be off by. Measured on SmolLM2: at most 2e-6 nats in float32, 0.012 in bfloat16."""
    return 16 * torch.finfo(dtype).eps


def attributions_folder(output_dir: Path) -> Path:
    """Where a race keeps the heads' first-order reach."""
    return output_dir / "race" / "reach"


@dataclass(frozen=True)
class RoundWork:
    """The sweeps of a round: `heads` on the probe examples with these indices."""

    sweep: Callable[[int, Sequence[Head]], pa.Table]
    indices: Sequence[int]
    heads: Sequence[Head]

    def __call__(self, shard: int) -> pa.Table:
        return self.sweep(self.indices[shard], self.heads)


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
        attribute: Gives the base loss and the reach of all heads for the index of a probe example.
        plan: What is raced.
        made_from: Everything that the sweeps depend on.
        output_dir: Gets the folder `race/`, with one folder for each round and one for the reaches.
    """
    uids, lengths, grid = plan.uids, plan.lengths, plan.grid
    num_layers, width = grid
    everything = [divmod(index, width) for index in range(num_layers * width)]
    attributions = run_shards(
        attributions_folder(output_dir),
        len(lengths),
        made_from,
        attribute,
        "Race, reach",
        uids=lambda shard: [uids[shard]] * len(everything),
    ).read_all()
    shape = len(lengths), len(everything)
    reach = attributions["reach"].to_numpy().reshape(shape)
    base_losses = attributions["base_loss"].to_numpy().reshape(shape)[:, 0]
    finite = np.isfinite(reach).all(axis=1) & np.isfinite(base_losses)
    left_out = [uid for uid, fine in zip(uids, finite, strict=True) if not fine]
    if left_out:
        check_finite(len(left_out), len(lengths), left_out[0])
    rows = np.flatnonzero(finite)
    weights = draw_weights(reach[rows])
    drawn = weighted_order(weights, np.random.default_rng(plan.seed))
    order, weights = rows[drawn], weights[drawn]
    limits = reach_limits(reach[order], base_losses[order], weights, plan.rounding)
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
            RoundWork(sweep, order[examples].tolist(), heads),
            f"Race, {len(heads)} heads",
            uids=lambda shard: [uids[order[examples[shard]]]] * len(heads),
        ).read_all()
        tables.append(table)
        values = table["loss_increase"].to_numpy().reshape(len(examples), len(heads))
        if not np.isfinite(values).all():
            row = uids[order[examples[int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])]]]
            raise ValueError(
                f"The loss of {row} is finite, but not with a head silenced, so a race cannot judge that head. Set "
                "`head_detection: exact`, which leaves the example out. If the model's dtype is float16, set "
                "`reference_dtype: float32`."
            )
        return values

    raced = race(evaluate, limits, plan.size, ERROR)
    if raced.beyond:
        logger.warning(
            f"{raced.beyond} loss increases are beyond what the heads' reach allows, so nothing is sure of the examples that "
            "a head was not evaluated on. Every head was evaluated on the whole probe: the result is that of "
            "`head_detection: exact`, which takes less."
        )
    importance, errors = estimated_means(raced, weights)
    more = np.sign(raced.increases) * np.maximum(np.abs(raced.increases) - plan.rounding, 0)
    shares = more / np.maximum(reach[order], np.finfo(float).tiny)
    whole = sum(lengths) * sweep_cost(everything, num_layers)
    counts = np.isfinite(raced.increases).sum(axis=0)
    card = {
        "rounds": [{"num_examples": step.examples.stop, "num_heads": len(step.heads)} for step in raced.rounds],
        "num_evaluated": counts.reshape(grid).tolist(),
        "lowest": raced.lowest.reshape(grid).tolist(),
        "highest": raced.highest.reshape(grid).tolist(),
        "row_tokens_ratio": round((sweeping + estimating) / whole, 4),
        "limits": {
            "most_rise": MOST_RISE,
            "most_fall": MOST_FALL,
            "rounding": plan.rounding,
            "largest_rise": float(np.nanmax(shares)),
            "largest_fall": float(-np.nanmin(shares)),
            "beyond": raced.beyond,
        },
        "confidence": {
            "meaning": MEANING,
            "error": 0.0 if (counts == len(order)).all() else ERROR,
            "condition": CONDITION,
        },
    }
    selected = [everything[index] for index in raced.selected.tolist()]
    return RaceResult(
        selected,
        pa.concat_tables(tables),
        attributions,
        left_out,
        importance.reshape(grid),
        errors.reshape(grid).tolist() if np.isfinite(errors).all() else None,
        card,
    )
