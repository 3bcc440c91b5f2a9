"""Diversity: rows spread over the categories of a column, or over clusters of like problems."""

from pathlib import Path

import numpy as np
import pytest
from method_inputs import SYSTEM, config

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.data import load_pool
from circuitseer_trl.selection.selector import CircuitSeerDataSelector, select_rows

pytestmark = pytest.mark.thorough


def test_diversity_takes_as_many_of_every_topic(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file, category_column="topic")
    # Seven stories, four sums, one prime: water-filling gives the prime's rest to the others.
    select_rows(config(tmp_path, tiny_model, "diversity", budget_size=7), SYSTEM, pool)
    categories = read_json(tmp_path / "selection.json")["categories"]
    assert {name: counts["selected"] for name, counts in categories.items()} == {"prime": 1, "story": 3, "sum": 3}


def test_diversity_needs_categories_or_the_extra(tmp_path: Path, tiny_model: str, pool_file: str):
    with pytest.raises(ValueError, match=r"This pool has no categories\. Set `category_column`, or `method_args"):
        select_rows(config(tmp_path, tiny_model, "diversity"), SYSTEM, load_pool(pool_file))
    with pytest.raises(ValueError, match=r"needs the column 'category'.*Set `category_column`"):
        select_rows(config(tmp_path, tiny_model, "random", sampling="stratified"), SYSTEM, load_pool(pool_file))


def test_an_extra_that_is_missing_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("circuitseer_trl.scoring.category.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'circuitseer-trl\[diversity\]'"):
        CircuitSeerDataSelector(method="diversity", method_args={"num_clusters": 3})


def test_clusters_take_the_place_of_a_column(
    tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch
):
    """Around the two calls of the extra's libraries, which are stood in for."""
    monkeypatch.setattr("circuitseer_trl.scoring.category.find_spec", lambda name: name)
    monkeypatch.setattr(
        "circuitseer_trl.scoring.category.embed", lambda texts, model: np.array([[len(text) > 40] for text in texts])
    )
    monkeypatch.setattr(
        "circuitseer_trl.scoring.category.cluster", lambda vectors, number, seed: vectors[:, 0].astype(int).tolist()
    )
    pool = load_pool(pool_file)
    settings = config(tmp_path, tiny_model, "diversity", budget_size=4, method_args={"num_clusters": 2})
    chosen = select_rows(settings, SYSTEM, pool)
    assert sum(len(pool[row].problem) > 40 for row in chosen.rows.tolist()) == 2
    settings = config(tmp_path / "many", tiny_model, "diversity", method_args={"num_clusters": 13})
    with pytest.raises(ValueError, match="has only 12 usable rows"):
        select_rows(settings, SYSTEM, pool)
