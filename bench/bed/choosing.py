"""Which rows does a method choose? The library scores and orders the pool, and a budget cuts the order."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.circuits.heads import HeadSet, undetected_heads
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.scoring.base import Row, score_schema, score_table
from circuitseer_trl.scoring.combination import control_length
from circuitseer_trl.selection.budget import check_nested
from circuitseer_trl.selection.noise import noise_seed
from circuitseer_trl.selection.noise_filter import noise_filter, noise_losses
from circuitseer_trl.selection.parts import check_signs, make_parts

BATCH = 256
# Keys of a plan's method that are the bed's own; the others are keys of a selection recipe.
OWN_KEYS = ("name", "matched", "heads", "truth", "starts_with")
# The target problems of a replicate, a file of its folder: `method_args: {queries: targets.jsonl}`.
TARGETS = "targets.jsonl"


@dataclass(frozen=True)
class Candidates:
    """A pool, and what is known about its rows, each of shape `(N,)` in the pool's order.

    Attributes:
        problem_length, solution_length: Tokens of the problem and of the worked solution, without the template.
        steps: True number of steps. A method never sees it; a control may.
    """

    pool: Pool
    problem_length: np.ndarray
    solution_length: np.ndarray
    steps: np.ndarray


@dataclass(frozen=True)
class Ordered:
    """A pool in the order of a method's choice, and the scores that decided it; None for a control without scores."""

    order: np.ndarray
    scores: np.ndarray | None


def selection_config(keys: Mapping[str, Any], model: str, seed: int, folder: Path) -> SelectionConfig:
    """The selection recipe of a method's keys in a plan."""
    recipe = {key: value for key, value in keys.items() if key not in OWN_KEYS}
    arguments = recipe.get("method_args", {})
    if arguments.get("queries") == TARGETS:
        recipe["method_args"] = arguments | {"queries": str(folder / TARGETS)}
    return SelectionConfig(output_dir=str(folder), reference_model=model, selection_seed=seed, **recipe)


def check_method(keys: Mapping[str, Any]) -> None:
    """Raises a ValueError if a method of a plan is no method, or has no order that a budget can cut."""
    try:
        config = selection_config(keys, "any", 0, Path("any"))
    except TypeError as error:  # a key that no recipe has
        raise ValueError(str(error)) from None
    parts = make_parts(config)
    check_signs(config, parts)
    check_nested(parts.sampler)


def order_by(
    keys: Mapping[str, Any],
    candidates: Candidates,
    reference: Reference,
    heads: Mapping[str, HeadSet],
    seed: int,
    folder: Path,
) -> Ordered:
    """Orders the whole pool by a method of the library.

    Args:
        keys: The method's keys in the plan: those of a selection recipe, and `heads`, the name of a head set. Or `truth`: the
            pool by a length or the true number of steps, the highest first, ties in random order.
        heads: The head sets by name.
        seed: Seed of the draw.
        folder: Folder where scorers keep what they fit, such as losses.
    """
    pool = candidates.pool
    if "truth" in keys:
        values = getattr(candidates, keys["truth"]).astype(float)
        shuffled = np.random.default_rng(seed).permutation(len(pool))
        return Ordered(shuffled[np.argsort(-values[shuffled], kind="stable")], values)
    config = selection_config(keys, reference.name, seed, folder)
    parts = make_parts(config)
    chosen = None
    if parts.scorer.needs == "heads":
        chosen = (
            undetected_heads(reference, config.head_set, len(heads["loss"].selected), seed=seed)
            if config.head_set != "detected"
            else heads[keys.get("heads", "loss")]
        )
    bound = parts.scorer.bind(pool, reference if parts.scorer.needs != "text" else None, chosen, folder)
    schema = score_schema(bound)
    found: list[Row] = []
    for start in range(0, len(pool), BATCH):
        found += bound.score_batch(pool.take(range(start, min(start + BATCH, len(pool)))))
    table: pa.Table = score_table(list(pool), found, schema)
    scores = table["score"].to_numpy()
    if config.noise_filter_ratio is not None:
        losses, judge = noise_losses(pool, reference, config.noise_filter_model, folder)
        noise = noise_filter(losses, config.noise_filter_ratio, judge)
        table = noise.of_table(table)
        scores = table["score"].to_numpy()
    if parts.combination is not None:
        scores = parts.combination.combine(table, pool.difficulty)
    scores = control_length(config.length_control, scores, table["num_tokens"].to_numpy())
    columns = {name: table[name].to_numpy() for name in table.column_names}
    drawable = int(parts.sampler.drawable(scores).sum())
    selection = parts.sampler.sample(
        scores, np.arange(len(pool)), pool.uids, drawable, noise_seed(config, parts), columns
    )
    return Ordered(selection.rows, scores)


def within(order: np.ndarray, tokens: np.ndarray, budget: Mapping[str, int]) -> np.ndarray:
    """The first rows of an order within a budget of `rows` or of `tokens`. The first row that does not fit ends it."""
    if "rows" in budget:
        return order[: budget["rows"]]
    total = np.cumsum(tokens[order])
    return order[: int(np.searchsorted(total, budget["tokens"], side="right"))]


def matched_order(chosen: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An order of the pool whose first K rows are alike, one by one, to K rows that a method chose; so are the next K.

    Each chosen row gets the row of the nearest value that is still free, drawn at random among equally near ones. The chosen
    rows can be drawn, too: otherwise the control would get worse rows where a method takes nearly all of a kind.

    Args:
        chosen (`np.ndarray` of shape `(K,)`): Places of the rows that a method chose.
        values (`np.ndarray` of shape `(N,)`): What is matched, such as the length of each row of the pool.
    """
    free = np.ones(len(values), dtype=bool)
    order: list[int] = []
    while free.any():
        for place in rng.permutation(chosen)[: int(free.sum())]:
            distance = np.where(free, np.abs(values - values[place]), np.inf)
            order.append(int(rng.choice(np.flatnonzero(distance == distance.min()))))
            free[order[-1]] = False
    return np.array(order)
