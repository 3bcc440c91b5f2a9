"""Rows of high loss are left out before a method chooses."""

from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.selection.noise_filter import noise_filter
from tests.helpers.method_inputs import SYSTEM, config, select_rows


def test_the_highest_losses_are_left_out():
    losses = np.array([0.5, 2.0, np.nan, 1.0, 2.0, 0.1])
    found = noise_filter(losses, 0.4, "m")
    assert found.kept.tolist() == [True, False, False, True, False, True]  # two of five, and the one without a loss
    assert found.card == {
        "model": "m",
        "ratio": 0.4,
        "num_left_out": 3,
        "num_without_loss": 1,
        "highest_loss_kept_nats": 1.0,
    }
    assert noise_filter(losses, 0.2, "m").kept.tolist() == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]  # a tie: the earlier stays
    assert np.isnan(found.of(np.arange(6.0))).tolist() == (~found.kept).tolist()


@pytest.mark.parametrize("method", ["random", "longest", "mid_perplexity", "dependence"])
def test_every_method_chooses_of_the_rest(tmp_path: Path, tiny_model: str, pool_file: str, method: str):
    pool = load_pool(pool_file)
    values = {"probe_size": 3, "noise_filter_ratio": 0.5, "budget_size": 6}
    chosen = select_rows(config(tmp_path, tiny_model, method, **values), SYSTEM, pool)
    losses = np.array(read_table(tmp_path / "losses")["loss_nats"].to_pylist())
    assert sorted(chosen.rows.tolist()) == sorted(np.argsort(losses)[:6].tolist())
    card = read_json(tmp_path / "selection.json")
    assert card["noise_filter"]["num_left_out"] == 6
    assert card["noise_filter"]["highest_loss_kept_nats"] == pytest.approx(np.sort(losses)[5])
    with pytest.raises(ValueError, match="only 6 of 12 have a score"):
        select_rows(config(tmp_path / "more", tiny_model, method, **values | {"budget_size": 7}), SYSTEM, pool)


def test_ranks_are_among_the_rest(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    values = {"noise_filter_ratio": 0.5, "budget_size": 1}
    chosen = select_rows(config(tmp_path, tiny_model, "mid_perplexity", **values), SYSTEM, pool)
    losses = np.array(read_table(tmp_path / "losses")["loss_nats"].to_pylist())
    assert chosen.rows[0] in np.argsort(losses)[[2, 3]]  # the middle of the six that stay


def test_another_model_may_judge(tmp_path: Path, tiny_model: str, other_model: str, pool_file: str):
    pool = load_pool(pool_file)
    values = {"noise_filter_ratio": 0.5, "noise_filter_model": other_model, "budget_size": 6}
    chosen = select_rows(config(tmp_path, tiny_model, "random", **values), SYSTEM, pool)
    losses = np.array(read_table(tmp_path / "noise" / "losses")["loss_nats"].to_pylist())
    assert sorted(chosen.rows.tolist()) == sorted(np.argsort(losses)[:6].tolist())
    assert not (tmp_path / "losses").exists()
    assert read_json(tmp_path / "selection.json")["noise_filter"]["model"] == other_model


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"noise_filter_ratio": 0}, "`noise_filter_ratio` must be a number between 0 and 1, got 0"),
        ({"noise_filter_ratio": 1.0}, "`noise_filter_ratio` must be a number between 0 and 1, got 1.0"),
        ({"noise_filter_model": "m"}, "`noise_filter_model` needs `noise_filter_ratio`"),
    ],
)
def test_settings_that_do_not_fit(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SelectionConfig(output_dir="out", **values)


def test_a_filter_needs_a_reference_model(tmp_path: Path, pool_file: str):
    options = SelectionConfig(str(tmp_path), "random", noise_filter_ratio=0.5)
    with pytest.raises(ValueError, match="reads losses as the reference model does: set `reference_model`"):
        select_rows(options, SYSTEM, load_pool(pool_file))
