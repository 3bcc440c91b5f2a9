"""Gradient similarity: cosines of autograd's gradients without a projection, and what cannot be compared."""

import json
from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.modeling.gradients import linear_layers
from circuitseer_trl.modeling.projected_gradients import Projection, projected_gradients
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.gradient_similarity import CircuitGradientScorer, GradientSimilarityScorer
from tests.helpers.method_inputs import pool_of

TARGETS = [Example(0, "a", "What is 3 + 3?", "3 + 3 = 6"), Example(1, "b", "Halve 8.", "It is \\boxed{4}")]


@pytest.fixture
def queries(tmp_path: Path) -> str:
    rows = [{"problem": each.problem, "solution": each.completion} for each in TARGETS]
    (tmp_path / "targets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "targets.jsonl")


def test_scores_are_cosines_to_the_targets(tmp_path: Path, tiny_model: str, pool_file: str, queries: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    rows = (
        GradientSimilarityScorer(queries, projection_size=None)
        .bind(pool, reference, None, tmp_path)
        .score_batch(list(pool))
    )
    model = reference.model(for_scores=True)
    layers = linear_layers(model, r"layers\.\d+\.")
    whole = projected_gradients(model, layers, reference.encode([*pool, *TARGETS]), Projection(None), 500)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    cosines = whole[:-2] @ whole[-2:].T
    assert [row["similarities"] for row in rows] == [pytest.approx(each, abs=1e-6) for each in cosines.tolist()]
    assert [row["score"] for row in rows] == [pytest.approx(each.max(), abs=1e-6) for each in cosines]
    near = GradientSimilarityScorer(queries).bind(pool, reference, None, tmp_path).score_batch(list(pool))
    assert np.array([row["similarities"] for row in near]) == pytest.approx(cosines, abs=0.25)


def test_a_row_that_is_a_target_has_similarity_one(tmp_path: Path, tiny_model: str, queries: str):
    pool = pool_of(TARGETS[1], Example(1, "c", "Name a colour.", "red"))
    for scorer, heads in (
        (GradientSimilarityScorer(queries), None),
        (CircuitGradientScorer(queries), HeadSet([(1, 2)], {"selected": [[1, 2]]})),
    ):
        rows = scorer.bind(pool, Reference(tiny_model), heads, tmp_path / type(scorer).__name__).score_batch(list(pool))
        assert rows[0]["similarities"][1] == pytest.approx(1, abs=1e-6)
        assert rows[1]["score"] < 0.99


def test_the_circuits_gradient_is_another_one(tmp_path: Path, tiny_model: str, pool_file: str, queries: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    found = [
        CircuitGradientScorer(queries).bind(pool, reference, HeadSet([head], {"selected": [list(head)]}), tmp_path)
        for head in ((0, 0), (1, 3))
    ]
    scores = [[row["score"] for row in scorer.score_batch(list(pool))] for scorer in found]
    assert scores[0] != scores[1]
    assert len(list((tmp_path / "fitted").glob("queries-*.parquet"))) == 2


def test_rows_without_a_score(tmp_path: Path, tiny_model: str, queries: str):
    pool = pool_of(Example(0, "a", "A very long problem " * 30, "5"), Example(1, "b", "What is 2 + 2?", "4"))
    reference = Reference(tiny_model, max_length=64, system_prompt="")
    rows = GradientSimilarityScorer(queries).bind(pool, reference, None, tmp_path).score_batch(list(pool))
    assert [(row["status"], row["score"] is None) for row in rows] == [("truncated", True), ("ok", False)]


def test_inputs_that_are_wrong(tmp_path: Path, tiny_model: str, queries: str):
    with pytest.raises(ValueError, match="need target problems with solutions"):
        GradientSimilarityScorer()
    with pytest.raises(ValueError, match="no column 'answer' \\(`query_solution_column`\\)"):
        GradientSimilarityScorer(queries, query_solution_column="answer").read_inputs()
    (tmp_path / "empty.jsonl").write_text(json.dumps({"problem": "x", "solution": " "}) + "\n")
    with pytest.raises(ValueError, match="have no row with a problem and a solution"):
        GradientSimilarityScorer(str(tmp_path / "empty.jsonl")).read_inputs()
    long = {"problem": "A very long problem " * 30, "solution": "5"}
    (tmp_path / "long.jsonl").write_text(json.dumps(long) + "\n")
    scorer = GradientSimilarityScorer(str(tmp_path / "long.jsonl"))
    with pytest.raises(ValueError, match="nothing of its solution is left"):
        scorer.bind(pool_of(TARGETS[0]), Reference(tiny_model, max_length=64), None, tmp_path)
