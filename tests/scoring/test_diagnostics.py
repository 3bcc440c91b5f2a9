"""What cards say of scores, against cases worked out by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.texts import difficulty_number
from circuitseer_trl.scoring.diagnostics import (
    diagnostics,
    effective_sample_size,
    partial_rank_correlation,
    rank_correlation,
    top_overlap,
)
from tests.conftest import PROBLEMS
from tests.helpers.method_inputs import select_rows


def test_rank_correlation_against_hand_worked_cases():
    assert rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])) == pytest.approx(1)
    # Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: covariance 4.5, variances 4.5 and 5 (sums of squares).
    tied = rank_correlation(np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert tied == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert rank_correlation(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None
    assert rank_correlation(np.array([np.nan, 1.0, 2.0]), np.array([5.0, 1.0, 2.0])) == pytest.approx(1)


def test_effective_sample_size():
    assert effective_sample_size(np.ones(7)) == pytest.approx(7)
    assert effective_sample_size(np.array([1.0, 0.0, 0.0])) == pytest.approx(1)


def test_partial_rank_correlation():
    # 1 - 6 sum d^2 / (4 * 15), with sums of squared differences 2, 4 and 2.
    left, right, given = np.array([[1.0, 2, 3, 4], [1, 2, 4, 3], [2, 1, 4, 3]])
    r_lr, r_lg, r_rg = 0.8, 0.6, 0.8
    assert [rank_correlation(*pair) for pair in ((left, right), (left, given), (right, given))] == pytest.approx(
        [r_lr, r_lg, r_rg]
    )
    # (0.8 - 0.6 * 0.8) / sqrt((1 - 0.36) (1 - 0.64)) = 0.32 / 0.48
    assert partial_rank_correlation(left, right, given) == pytest.approx(2 / 3)
    assert partial_rank_correlation(left, right, left) is None  # nothing is left of `left`
    assert partial_rank_correlation(left, np.ones(4), given) is None


def test_overlap_of_the_top():
    scores = np.array([9.0, 8, 1, 2, 3, 4, 5, 6, 7, 0])
    lengths = np.array([9.0, 1, 8, 2, 3, 4, 5, 6, 7, 0])
    assert top_overlap(scores, lengths, share=0.2) == 0.5  # rows 0 and 1 against rows 0 and 2
    assert top_overlap(scores, scores, share=0.2) == 1
    assert top_overlap(scores, lengths, share=0.01) is None
    assert top_overlap(np.ones(10), lengths) is None
    holed = np.where(scores == 9, np.nan, scores)
    assert top_overlap(holed, lengths, share=0.2) == 0.5  # rows 1 and 8 against rows 2 and 8


def test_a_score_that_is_a_length_is_seen_through():
    tokens = np.arange(1.0, 101)
    card = diagnostics(tokens**2, tokens, difficulty=np.tile([1.0, 2.0], 50))
    assert card["rank_correlation_with_length"] == pytest.approx(1)
    assert card["overlap_with_longest"] == 1
    assert card["rank_correlation_with_difficulty"]["given_length"] is None
    assert diagnostics(-tokens, tokens)["effective_sample_size"] is None
    assert diagnostics(np.ones(4), np.full(4, np.nan)) == {
        "rank_correlation_with_length": None,
        "overlap_with_longest": None,
        "effective_sample_size": 1,
    }


@pytest.mark.parametrize(
    ("value", "number"), [("Level 5", 5), (3, 3), ("2.5", 2.5), (None, None), ("Level ?", None), (-1.0, -1)]
)
def test_marks_of_difficulty(value: object, number: float | None):
    assert difficulty_number(value) == number


def test_both_cards_have_the_figures(tmp_path: Path, tiny_model: str):
    rows = [
        {"problem": problem, "solution": solution, "level": f"Level {index % 3 + 1}"}
        for index, (problem, solution) in enumerate(PROBLEMS)
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(tmp_path / "pool.jsonl"), difficulty_column="level")
    assert pool.difficulty.tolist() == [1, 2, 3] * 4
    assert pool.subset([1, 5]).uids == [pool.uids[1], pool.uids[5]]
    assert pool.fingerprint == load_pool(str(tmp_path / "pool.jsonl")).fingerprint
    assert load_pool(str(tmp_path / "pool.jsonl")).difficulty is None
    options = SelectionConfig(str(tmp_path), reference_model=tiny_model, head_set="all", budget_ratio=0.5)
    select_rows(options, "", pool)
    scores, selection = read_json(tmp_path / "scores.json"), read_json(tmp_path / "selection.json")
    for card in (scores, selection):
        assert -1 < card["rank_correlation_with_length"] <= 1
        assert card["overlap_with_longest"] in (0, 1)
        assert 0 < card["effective_sample_size"] < 1
        assert card["rank_correlation_with_difficulty"]["num_rows"] == 12
        assert -1 < card["rank_correlation_with_difficulty"]["given_length"] < 1
    assert selection["mean_sink_share"]["pool"] == scores["mean_sink_share"]
