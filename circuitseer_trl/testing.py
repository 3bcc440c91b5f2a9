"""Does a scorer or a sampler keep its contract? Call these checks in the tests of your own.

    check_scorer(MyScorer(), pool)
    check_sampler(MySampler())

Each raises an `AssertionError` that names the broken part of the contract.
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

# Other rows of a batch may change a number by rounding. The tolerance is relative, and for numbers of a list also absolute.
TOLERANCE = 2e-5
LIST_TOLERANCE = 1e-6

NUM_SAMPLED = 200


def check_scorer(
    scorer: Scorer, pool: Pool, reference: Reference | None = None, heads: HeadSet | None = None
) -> list[Row]:
    """Raises if a scorer breaks its contract on a small pool.

    A row's result does not depend on the other rows of its batch or on their order. It has only columns that the class
    declares, and always a status. After a restart and after a pickle it is the same bit for bit. Scorer and pool do not change.

    Args:
        scorer: The scorer, not bound.
        pool: A pool of at most 1,024 rows, which is one batch of a run.
        reference: The reference model; None if the scorer needs none.
        heads: The reasoning heads; None if the scorer needs none.

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
                assert same_row(first, second), f"{name} scores {example.uid} differently {how}: {first}, {second}."
        unpickled = pickle.loads(pickle.dumps(bound))
        assert _same_bits(rows, unpickled.score_batch(examples)), f"{name} scores differently after a pickle."
        again = scorer.bind(pool, reference, heads, folder)
        assert _same_bits(rows, again.score_batch(examples)), f"{name} scores differently when it is bound again."
        assert bound.parameters() == again.parameters(), f"{name} has other parameters when it is bound again."
        written = score_pool(pool, scorer, name, reference, heads, folder).table
        expected = score_table(examples, rows, score_schema(bound))
        assert _same_bits(expected.to_pylist(), written.to_pylist()), f"{name} scores differently in a run."
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
    """Raises if a sampler breaks its contract.

    It chooses exactly as many examples as the budget, with repeats counted. It lists no row twice, and no row without a score.
    The same seed gives the same rows. If the sampler is nested, the rows of a smaller budget are the first rows of a larger one.
    The scores and columns do not change.

    Args:
        sampler: The sampler.
        scores (`np.ndarray` of shape `(N,)`): Scores; None takes 200 random ones, of which 20 are missing.
        columns: Other columns of the score table, with N values each; None if the sampler needs none.
        size: The budget.
        seed: Seed of the draw.

    Returns:
        The selection.
    """
    if scores is None:
        scores = np.random.default_rng(0).lognormal(size=NUM_SAMPLED)
        scores[::10] = np.nan
    name, before, given = type(sampler).__name__, scores.copy(), copy.deepcopy(dict(columns or {}))
    rows, uids = np.arange(1000, 1000 + len(scores)), [f"row-{index}" for index in range(len(scores))]
    first, second = (sampler.sample(scores, rows, uids, size, seed, columns) for _ in range(2))
    assert first.weights.sum() == size, f"{name} chooses {first.weights.sum():g} examples for a budget of {size}."
    assert len(set(first.uids)) == len(first), f"{name} lists a row twice."
    assert [uids[row - 1000] for row in first.rows.tolist()] == first.uids, (
        f"{name} gives uids and rows that do not match."
    )
    assert np.isfinite(first.scores).all(), f"{name} chooses a row without a score."
    chances = first.inclusion_probabilities
    assert (np.isnan(chances) | ((chances > 0) & (chances <= 1))).all(), f"{name} has probabilities outside (0, 1]."
    assert _same_bits(vars(first), vars(second)), f"{name} chooses other rows with the same seed."
    assert np.array_equal(scores, before, equal_nan=True), f"{name} changes the scores."
    assert _same_bits(dict(columns or {}), given), f"{name} changes the columns."
    if sampler.nested:
        smaller = sampler.sample(scores, rows, uids, size // 2, seed, columns)
        assert first.uids[: len(smaller)] == smaller.uids, f"{name} has `nested` True, but is not nested."
    return first


def same_row(first: Row, second: Row) -> bool:
    """Whether two rows are equal, apart from rounding."""
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
    assert score is None or finite, f"{name} gives a score that is not a finite number: {row}."
