"""The contracts that scorers and samplers keep, to be run in tests of one's own.

    check_scorer(MyScorer(), pool)
    check_sampler(MySampler())

Each raises an `AssertionError` that says which part of the contract is broken.
"""

import copy
import math
import pickle
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.sampling.base import Sampler, Selection
from circuitseer_trl.scoring.base import Row, Scorer, score_pool, score_schema, score_table

# Batch-mates change a number by rounding at most: relative, and for a list's small numbers absolute.
TOLERANCE = 2e-5
LIST_TOLERANCE = 1e-6

NUM_SAMPLED = 200


def check_scorer(
    scorer: Scorer, pool: Pool, reference: Reference | None = None, heads: HeadSet | None = None
) -> list[Row]:
    """Raises where a scorer breaks its contract on a small pool.

    A row's result depends neither on its batch-mates nor on their order. It has the columns that the class declares, and a
    status where it has no score. A restart and a pickle change no bit of it. Scorer and pool stay as they are.

    Args:
        scorer: Not bound.
        pool: At most 1,024 rows, which are one batch of a run.
        reference: Where the scorer needs a model.
        heads: Where it needs heads.

    Returns:
        The rows, scored in one batch.
    """
    name, examples = type(scorer).__name__, list(pool)
    before, fingerprint = _fields(scorer), pool.fingerprint
    with tempfile.TemporaryDirectory() as folder:
        bound = scorer.bind(pool, reference, heads, folder)
        rows = bound.score_batch(examples)
        assert len(rows) == len(examples), f"{name} gives {len(rows)} rows for {len(examples)} examples."
        for row in rows:
            _check_row(bound, row)
        middle = len(examples) // 2
        others = {
            "in another order": bound.score_batch(examples[::-1])[::-1],
            "in two batches": bound.score_batch(examples[:middle]) + bound.score_batch(examples[middle:]),
            "alone": [row for example in examples for row in bound.score_batch([example])],
        }
        for how, found in others.items():
            for example, first, second in zip(examples, rows, found, strict=True):
                assert same_row(first, second), f"{name} scores {example.uid} otherwise {how}: {first}, {second}."
        unpickled = pickle.loads(pickle.dumps(bound))
        assert _same_bits(rows, unpickled.score_batch(examples)), f"{name} scores otherwise after a pickle."
        again = scorer.bind(pool, reference, heads, folder)
        assert _same_bits(rows, again.score_batch(examples)), f"{name} scores otherwise when it is bound again."
        assert bound.parameters() == again.parameters(), f"{name} has other parameters when it is bound again."
        written = score_pool(pool, scorer, name, reference, heads, folder).table
        expected = score_table(examples, rows, score_schema(bound))
        assert _same_bits(expected.to_pylist(), written.to_pylist()), f"{name} scores otherwise in a run."
    assert _fields(scorer) == before, f"{name} changes its own parameters: {before} before, {_fields(scorer)} after."
    assert pool.fingerprint == fingerprint, f"{name} changes the pool."
    return rows


def check_sampler(
    sampler: Sampler,
    scores: np.ndarray | None = None,
    columns: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    size: int = 30,
    seed: int = 5,
) -> Selection:
    """Raises where a sampler breaks its contract.

    It chooses the budget exactly, repeats counted; no row is listed twice, and none without a score; the same seed gives the
    same rows; a smaller budget's rows are a larger one's first where the sampler says so; what it is given stays as it is.

    Args:
        scores (`np.ndarray` of shape `(N,)`): By default 200 random ones, of which 20 are missing.
        columns: Other columns of the score table, of N values each, where the sampler needs some.
        size: The budget.
        seed: Of the draw.

    Returns:
        The selection.
    """
    if scores is None:
        scores = np.random.default_rng(0).lognormal(size=NUM_SAMPLED)
        scores[::10] = np.nan
    name, before, given = type(sampler).__name__, scores.copy(), copy.deepcopy(dict(columns or {}))
    rows, uids = np.arange(1000, 1000 + len(scores)), [f"row-{index}" for index in range(len(scores))]
    first, second = (sampler.sample(scores, rows, uids, size, seed, columns) for _ in range(2))
    assert first.weights.sum() == size, f"{name} chooses {first.weights.sum():g} examples of {size}."
    assert len(set(first.uids)) == len(first), f"{name} lists a row twice."
    assert [uids[row - 1000] for row in first.rows.tolist()] == first.uids, f"{name} mixes up names and rows."
    assert np.isfinite(first.scores).all(), f"{name} chooses a row without a score."
    chances = first.inclusion_probabilities
    assert (np.isnan(chances) | ((chances > 0) & (chances <= 1))).all(), f"{name} has chances outside (0, 1]."
    assert _same_bits(vars(first), vars(second)), f"{name} chooses otherwise with the same seed."
    assert np.array_equal(scores, before, equal_nan=True), f"{name} changes the scores."
    assert _same_bits(dict(columns or {}), given), f"{name} changes the columns."
    if sampler.nested:
        smaller = sampler.sample(scores, rows, uids, size // 2, seed, columns)
        assert first.uids[: len(smaller)] == smaller.uids, f"{name} says that it is nested, and is not."
    return first


def same_row(first: Row, second: Row) -> bool:
    """Whether two rows say the same, but for rounding."""
    return first.keys() == second.keys() and all(_near(value, second[key]) for key, value in first.items())


def _near(first: Any, second: Any, absolute: float = 1e-12) -> bool:
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_near, first, second, [LIST_TOLERANCE] * len(first)))
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=TOLERANCE, abs_tol=absolute)
    return first == second


def _same_bits(first: Any, second: Any) -> bool:
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        return repr(first) == repr(second)


def _fields(scorer: Scorer) -> dict[str, Any]:
    return {item.name: copy.deepcopy(getattr(scorer, item.name)) for item in fields(scorer) if item.init}


def _check_row(scorer: Scorer, row: Row) -> None:
    name, declared = type(scorer).__name__, set(score_schema(scorer).names) - {"uid", "row"}
    assert row.keys() <= declared, f"{name} gives columns that it does not declare: {sorted(row.keys() - declared)}."
    assert isinstance(row.get("status"), str), f"{name} gives a row without a status: {row}."
    score = row.get("score")
    finite = isinstance(score, int | float) and math.isfinite(score)
    assert score is None or finite, f"{name} gives a score that is no finite number: {row}."
