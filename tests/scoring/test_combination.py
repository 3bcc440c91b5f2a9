"""Combinations of whole score tables, length control and several methods in one, against cases worked out by hand."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.sampling.base import Selection
from circuitseer_trl.scoring.combination import (
    CategoryRank,
    control_length,
    length_residual,
    rank_in_length_bin,
    weighted_scores,
)
from circuitseer_trl.scoring.diagnostics import rank_correlation
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from circuitseer_trl.selection.steps import SelectionSteps
from tests.helpers.method_inputs import compute_scores, select_rows


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
    with pytest.raises(ValueError, match=r"1 scores are below 0, .* `length_control: bin`"):
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


def scored(folder: Path, model: str, pool_file: str, method: str, **values: object) -> str:
    compute_scores(
        SelectionConfig(str(folder), method=method, reference_model=model, **values),  # type: ignore[arg-type]
        "",
        load_pool(pool_file),
    )
    return str(folder)


def combined(folder: Path, arguments: dict[str, object], pool_file: str, **values: object) -> Selection:
    options = {"method": "combine", "budget_size": 3, "method_args": arguments} | values
    return select_rows(SelectionConfig(str(folder), **options), "", load_pool(pool_file))  # type: ignore[arg-type]


def test_weighted_sums_of_scores_by_hand():
    first, second = np.array([1.0, 2, 3, np.nan, 4]), np.array([10.0, 10, 40, 50, np.nan])
    # Rows 0 to 2 have both. Ranks (r + 1/2) / 3: 1/6, 3/6, 5/6 and, for the tie, 2/6, 2/6, 5/6.
    ranks = weighted_scores([first, second], [0.5, 2.0], "rank", ["a", "b"])
    assert ranks[:3].tolist() == pytest.approx([1 / 12 + 4 / 6, 3 / 12 + 4 / 6, 5 / 12 + 10 / 6])
    assert np.isnan(ranks[3:]).all()
    # Means 2 and 20, standard deviations sqrt(2/3) and sqrt(200).
    scores = weighted_scores([first, second], [1.0, -1.0], "z_score", ["a", "b"])
    step, wide = 1 / (2 / 3) ** 0.5, 10 / 200**0.5
    assert scores[:3].tolist() == pytest.approx([-step + wide, wide, step - 2 * wide])
    with pytest.raises(ValueError, match="The scores in b are all 7, which ranks nothing"):
        weighted_scores([first, np.full(5, 7.0)], [1, 1], "rank", ["a", "b"])
    with pytest.raises(ValueError, match="No row has a score in all of a, b"):
        weighted_scores([first, np.where(np.isnan(first), 1.0, np.nan)], [1, 1], "rank", ["a", "b"])


@pytest.mark.thorough
def test_folders_of_scores_become_one_score(tmp_path: Path, tiny_model: str, pool_file: str):
    folders = [scored(tmp_path / name, tiny_model, pool_file, name) for name in ("length", "ifd")]
    chosen = combined(tmp_path / "both", {"folders": folders, "weights": [1, 3]}, pool_file)
    length, ifd = (read_table(Path(folder) / "scores") for folder in folders)
    assert length["uid"] == ifd["uid"]
    whole = [row for row in range(12) if ifd["score"][row].is_valid]
    assert 3 < len(whole) < 12

    def place(column: list[float | None], row: int) -> float:
        known = [column[other] for other in whole]
        return sum(value < column[row] for value in known) + known.count(column[row]) / 2  # type: ignore[operator]

    columns = [table["score"].to_pylist() for table in (length, ifd)]
    expected = {row: (place(columns[0], row) + 3 * place(columns[1], row)) / len(whole) for row in whole}
    rows = read_table(tmp_path / "both" / "scores").to_pylist()
    for row in rows:
        assert row["scores"] == [columns[0][row["row"]], columns[1][row["row"]]]
        assert row["num_tokens"] == length["num_tokens"][row["row"]].as_py()
        if row["row"] in expected:
            assert row["score"] == pytest.approx(expected[row["row"]])
        else:
            assert (row["score"], row["status"]) == (None, "missing")
    best = sorted(whole, key=lambda row: (-expected[row], rows[row]["uid"]))[:3]
    assert chosen.rows.tolist() == best
    card = read_json(tmp_path / "both" / "scores.json")
    assert card["counts"] == {"missing": 12 - len(whole), "ok": len(whole)}
    of = [read_json(Path(folder) / "scores.json")["fingerprint"] for folder in folders]
    assert card["parameters"]["scores_fingerprints"] == of


@pytest.mark.thorough
def test_ranks_can_be_drawn_from_softly_and_distances_cannot(tmp_path: Path, tiny_model: str, pool_file: str):
    folders = [scored(tmp_path / name, tiny_model, pool_file, name) for name in ("length", "trace_length")]
    assert len(combined(tmp_path / "a", {"folders": folders}, pool_file, sampling="soft")) == 3
    with pytest.raises(ValueError, match=r"Soft sampling needs scores of at least 0.* Set `sampling: top_k`"):
        combined(tmp_path / "b", {"folders": folders, "normalise": "z_score"}, pool_file, sampling="soft")


@pytest.mark.thorough
def test_folders_that_cannot_be_combined_are_refused(tmp_path: Path, tiny_model: str, pool_file: str):
    folders = [scored(tmp_path / name, tiny_model, pool_file, name) for name in ("length", "trace_length")]
    smaller = tmp_path / "smaller.jsonl"
    smaller.write_text("".join(Path(pool_file).read_text().splitlines(keepends=True)[:9]))
    other = scored(tmp_path / "other", tiny_model, str(smaller), "length")
    for arguments, message in [
        ({}, "needs at least two folders of scores"),
        ({"folders": folders[:1]}, "needs at least two folders"),
        ({"folders": folders, "weights": [1]}, "must be a list of 2 numbers, one for each folder, got"),
        ({"folders": folders, "weights": [1, 0]}, "must be numbers other than 0, got 0"),
        ({"folders": folders, "weights": [1, "a"]}, "must be numbers other than 0, got 'a'"),
        ({"folders": folders, "normalise": "max"}, "must be one of rank, z_score, got 'max'"),
        ({"folders": [folders[0], other]}, "have scores of different pools .fingerprints: "),
    ]:
        with pytest.raises(ValueError, match=message):
            CircuitSeerDataSelector(method="combine", method_args=arguments)
    with pytest.raises(FileNotFoundError, match=r"There is no none/scores\.json. `circuitseer score-pool`"):
        CircuitSeerDataSelector(method="combine", method_args={"folders": [folders[0], "none"]})
    with pytest.raises(ValueError, match="are of another pool"):
        combined(tmp_path / "run", {"folders": folders}, str(smaller))


def test_ranks_within_categories_by_hand(tmp_path: Path, tiny_model: str, pool_file: str):
    scores = np.array([5.0, -1, 3, np.nan, 8, 3])
    plain = pa.table({"score": scores})
    # One category: -1, 3 and 3, 5, 8 have the ranks 0, 1.5 twice, 3, 4 of five.
    assert CategoryRank().combine(plain, None).tolist() == pytest.approx([0.7, 0.1, 0.4, np.nan, 0.9, 0.4], nan_ok=True)
    named = plain.append_column("category", pa.array(["a", "a", "b", "b", "b", None]))
    assert CategoryRank().combine(named, None).tolist() == pytest.approx(
        [0.75, 0.25, 0.25, np.nan, 0.75, 0.5], nan_ok=True
    )
    pool = load_pool(pool_file, category_column="topic")
    config = SelectionConfig(
        str(tmp_path), method="attention_influence", reference_model=tiny_model, head_set="random", budget_size=3
    )
    chosen = SelectionSteps.from_config(config, ChatSettings()).select(pool)
    # Ranks are at most 6.5 / 7, 3.5 / 4 and 0.5 / 1: both of the highest are stories.
    ratios = dict(zip(pool.uids, chosen.scores.table["ratio"].to_pylist(), strict=True))
    stories = sorted((ratios[each.uid] for each in pool if each.category == "story"), reverse=True)
    sums = sorted((ratios[each.uid] for each in pool if each.category == "sum"), reverse=True)
    assert [ratios[uid] for uid in chosen.selection.uids] == [stories[0], sums[0], stories[1]]
