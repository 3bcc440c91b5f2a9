"""What a selection's card says of chance, of length, and of what is likely unwanted."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.circuits.head_card import first_layer_warning
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.ranks import average_ranks
from circuitseer_trl.sampling.soft import SoftSampler
from circuitseer_trl.sampling.top_k import TopKSampler
from circuitseer_trl.scripts import select_data
from circuitseer_trl.selection.card_warnings import even_draw_warning
from circuitseer_trl.selection.stored_selection import read_selection
from tests.conftest import PROBLEMS
from tests.helpers.method_inputs import select_rows


def test_an_even_draw_is_seen():
    # Half the weights 1, half w: the effective sample size is (1 + w)^2 / (2 (1 + w^2)) of the rows.
    near, far = np.tile([1.0, 1.2], 50), np.tile([1.0, 3.0], 50)  # 4.84 / 4.88 = 0.992 and 16 / 20 = 0.8
    warning = even_draw_warning(SoftSampler(), near)
    assert warning is not None
    assert warning.startswith(
        "The draw is nearly uniform: the effective sample size of its weights is 0.992 of the rows"
    )
    assert even_draw_warning(SoftSampler(inverse=True), near) is not None  # weights 1 and 1 / 1.2
    # Rows that cannot be drawn do not make the others' weights less equal.
    assert even_draw_warning(SoftSampler(), np.concatenate([near, np.zeros(50), np.full(50, np.nan)])) == warning
    assert even_draw_warning(SoftSampler(), far) is None
    assert even_draw_warning(SoftSampler(), np.ones(100)) is None  # `random`
    assert even_draw_warning(SoftSampler(), np.full(3, np.nan)) is None
    assert even_draw_warning(TopKSampler(), near) is None
    # 99.01^2 / (100 * 99.0001) = 0.990; inverse weights are 1 and once 100: 199^2 / (100 * 10,099) = 0.039.
    skewed = np.array([1.0] * 99 + [0.01])
    assert even_draw_warning(SoftSampler(), skewed) is not None
    assert even_draw_warning(SoftSampler(inverse=True), skewed) is None


def test_heads_of_the_first_layer_are_seen():
    warning = first_layer_warning([[0, 3], [0, 1]])
    assert warning is not None
    assert warning.startswith("All 2 selected heads are in the first layer.")
    assert first_layer_warning([(0, 3), (1, 1)]) is None
    assert first_layer_warning([]) is None


def config(folder: Path, model: str, **values: Any) -> SelectionConfig:
    return SelectionConfig(str(folder), reference_model=model, probe_size=3, **values)


def test_a_card_tells_what_it_rests_on(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    select_rows(config(tmp_path, tiny_model, budget_size=3), "", pool)
    card, scores = read_json(tmp_path / "selection.json"), read_json(tmp_path / "scores.json")
    assert card["overlap_by_chance"] == 3 / 12
    assert card["effective_sample_size_meaning"].startswith("share of the rows that would carry a soft draw")
    lengths = np.array([len(solution) for _, solution in PROBLEMS], dtype=np.float64)
    assert pool.figures.solution_characters.tolist() == lengths.tolist()
    values = select_rows(config(tmp_path / "all", tiny_model, budget_size=12), "", pool)
    by_row = values.scores[np.argsort(values.rows)]
    expected = np.corrcoef(average_ranks(by_row), average_ranks(lengths))[0, 1]
    for each in (card, scores):
        found = each["rank_correlation_with_solution_length"]
        assert found == {"value": pytest.approx(expected), "unit": "characters"}
    select_rows(config(tmp_path / "tokens", tiny_model, budget_tokens=100), "", pool)
    assert (
        read_json(tmp_path / "tokens" / "selection.json")["rank_correlation_with_solution_length"]["unit"] == "tokens"
    )


def test_warnings_are_on_the_card_and_logged_once(
    tmp_path: Path, tiny_model: str, pool_file: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    pool = load_pool(pool_file)
    # The tiny model's heads are nothing to rely on: this test says which are found.
    monkeypatch.setattr("circuitseer_trl.circuits.heads.top_heads", lambda importance, size: [(0, 1), (0, 0)])
    with caplog.at_level(logging.WARNING):
        select_rows(config(tmp_path / "found", tiny_model, budget_size=3), "", pool)
    heads, card = (read_json(tmp_path / "found" / name) for name in ("heads.json", "selection.json"))
    [warning] = heads["warnings"]
    assert warning in card["warnings"]
    logged = [record.getMessage().removeprefix("[RANK 0] ") for record in caplog.records]
    assert sorted(each for each in logged if each in card["warnings"]) == sorted(card["warnings"])
    caplog.clear()
    heads_file = str(tmp_path / "found" / "heads.json")
    with caplog.at_level(logging.WARNING):
        select_rows(config(tmp_path / "given", tiny_model, budget_size=3, heads_file=heads_file), "", pool)
    assert sum(warning in record.getMessage() for record in caplog.records) == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        select_rows(config(tmp_path / "random", tiny_model, method="random", budget_size=3), "", pool)
    assert read_json(tmp_path / "random" / "selection.json")["warnings"] == []
    assert not caplog.records


def test_select_data_counts_the_rows_that_it_shares(tmp_path: Path, pool_file: str, capsys: pytest.CaptureFixture[str]):
    def select(folder: str, *words: str) -> str:
        words = ("--dataset_name", pool_file, "--method", "random", "--output_dir", str(tmp_path / folder), *words)
        select_data.main([*words, "--budget_size", "6"])
        return capsys.readouterr().out

    first = select("one")
    assert "An independent draw of as many rows shares 50.0% of them." in first
    assert "this selection" not in first
    select("two", "--selection_seed", "7", "--sampling", "top_k")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "selection.parquet").write_text("no table")
    printed = select("three", "--shared_noise", "true")
    lines = {line.split("  ")[0]: line for line in printed.splitlines() if line.startswith("this selection, ")}
    assert list(lines) == ["this selection, one", "this selection, two"]
    rows = {name: set(read_selection(tmp_path / name / "selection.parquet").uids) for name in ("one", "two", "three")}
    shared = len(rows["one"] & rows["three"])
    assert f"{shared} of 6 ({100 * shared / 6:.1f}%)" in lines["this selection, one"]
    assert "3.0 (50.0%)" in lines["this selection, one"]
    assert "same random numbers" not in printed
