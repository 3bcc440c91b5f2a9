"""`method_args`: fields of a method's scorer, combination and sampler, checked before any work."""

from pathlib import Path

import pytest

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from tests.helpers.method_inputs import SYSTEM, config, select_rows

pytestmark = pytest.mark.thorough


def test_method_args_reach_scorer_combination_and_sampler(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file, category_column="topic")
    options = {"deduplicate_steps": True, "difficulty_weight": 0.5, "allocation": "proportional"}
    settings = config(tmp_path, tiny_model, "select2reason", method_args=options, sampling="stratified")
    select_rows(settings, SYSTEM, pool)
    card = read_json(tmp_path / "selection.json")
    assert card["scores"]["parameters"]["deduplicate_steps"] is True
    assert card["combination"]["difficulty_weight"] == 0.5
    assert card["sampler"]["allocation"] == "proportional"


def test_method_args_are_checked_before_any_work(tmp_path: Path, tiny_model: str):
    for method, arguments, message in [
        ("ifd", {"max_idf": 1}, "no key 'max_idf' for this method. Did you mean `max_ifd`"),
        ("length", {"length_of": "solution"}, "no key 'length_of'"),
        ("random", {"inverse": True}, "Keys are none"),
        ("diversity", {"allocation": "fair"}, "must be one of equal, proportional, s1, got 'fair'"),
        ("select2reason", {"difficulty_weight": 2}, r"in \[0, 1\], got 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            CircuitSeerDataSelector(tiny_model, method=method, method_args=arguments)
    with pytest.raises(ValueError, match="must be JSON"):
        SelectionConfig(output_dir="x", method_args="{max_ifd")
    with pytest.raises(ValueError, match="must be a mapping of names to values, got 3"):
        SelectionConfig(output_dir="x", method_args="3")
    line = ["--output_dir", "x", "--method", "ifd", "--method_args", '{"max_ifd": 1.2}']
    assert parse_recipe(SelectionConfig, args=line).method_args == {"max_ifd": 1.2}
