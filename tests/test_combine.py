"""Length control, against cases worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.data import load_pool
from circuitseer_trl.scoring.combine import control_length, length_residual, rank_in_length_bin
from circuitseer_trl.scoring.diagnostics import rank_correlation
from circuitseer_trl.selection.selector import select_rows


def test_ranks_within_bins_of_equal_count():
    lengths = np.array([1.0, 2, 3, 10, 20, 30])
    scores = np.array([5.0, 7, 6, 100, 100, 900])
    # Two bins of three rows; ranks 0 to 2 become 1/6, 3/6, 5/6, and the tie shares (1/6 + 3/6) / 2.
    expected = [1 / 6, 5 / 6, 3 / 6, 2 / 6, 2 / 6, 5 / 6]
    assert rank_in_length_bin(scores, lengths, num_bins=2).tolist() == pytest.approx(expected)


def test_rows_of_one_length_share_a_bin():
    scores, lengths = np.arange(4.0), np.full(4, 7.0)
    assert rank_in_length_bin(scores, lengths, num_bins=4).tolist() == [1 / 8, 3 / 8, 5 / 8, 7 / 8]


def test_a_row_without_a_score_changes_nothing():
    scores, lengths = np.array([3.0, np.nan, 1.0]), np.array([5.0, np.nan, 6.0])
    for control in (rank_in_length_bin, length_residual):
        with_hole, without = control(scores, lengths), control(scores[[0, 2]], lengths[[0, 2]])
        assert with_hole[[0, 2]].tolist() == without.tolist()
        assert np.isnan(with_hole[1])


def test_residual_of_a_power_of_length_is_even():
    lengths = np.array([2.0, 4, 8, 16])
    assert length_residual(3 * lengths**0.7, lengths).tolist() == pytest.approx([1] * 4)
    # Log2 score 1, 2, 2, 3 on log2 length 1, 2, 3, 4: slope 0.6, line 1.1, 1.7, 2.3, 2.9; residuals -.1, .3, -.3, .1.
    residual = length_residual(np.array([2.0, 4, 4, 8]), lengths)
    assert residual.tolist() == pytest.approx([2**r for r in (-0.1, 0.3, -0.3, 0.1)])
    assert length_residual(np.array([0.0, 4, 4, 8]), lengths)[0] == 0
    assert length_residual(np.array([1.0, 4]), np.array([5.0, 5])).tolist() == pytest.approx([0.5, 2])


@pytest.mark.parametrize("control", ["bin", "residual"])
def test_control_takes_the_correlation_with_length_out(control: str):
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.normal(4, 0.6, size=2000)).round()
    scores = lengths * np.exp(rng.normal(0, 0.3, size=2000))
    assert rank_correlation(scores, lengths) > 0.85
    assert abs(rank_correlation(control_length(control, scores, lengths), lengths)) < 0.15
    order = rng.permutation(2000)
    shuffled = control_length(control, scores[order], lengths[order])
    np.testing.assert_allclose(shuffled, control_length(control, scores, lengths)[order], rtol=1e-12)


def test_what_cannot_be_controlled_is_refused():
    with pytest.raises(ValueError, match="2 of 2 scored rows have no `num_tokens`"):
        control_length("bin", np.ones(2), np.full(2, np.nan))
    with pytest.raises(ValueError, match=r"1 scores are below 0 .* `length_control: bin`"):
        control_length("residual", np.array([-1.0, 1.0]), np.array([3.0, 4.0]))


@pytest.mark.parametrize("control", ["none", "bin", "residual"])
def test_a_selection_samples_by_the_controlled_scores(tmp_path: Path, tiny_model: str, pool_file: str, control: str):
    options = SelectionConfig(
        str(tmp_path), reference_model=tiny_model, head_set="all", length_control=control, sampling="top_k"
    )
    selection = select_rows(SelectionConfig(**(vars(options) | {"budget_size": 12})), "", load_pool(pool_file))
    card, scores = read_json(tmp_path / "selection.json"), read_json(tmp_path / "scores.json")
    assert card["length_control"] == control
    assert card["score_quantiles"]["pool"]["1"] == max(selection.scores)
    assert (card["rank_correlation_with_length"] == scores["rank_correlation_with_length"]) == (control == "none")
    assert card["scores"]["fingerprint"] == scores["fingerprint"]  # of the scores as they were
