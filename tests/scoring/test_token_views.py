"""Token views: the attention of a few rows, whose variance is their score."""

from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pool.load import load_pool
from circuitseer_trl.scoring import token_views
from circuitseer_trl.selection.steps import SelectionSteps


def score(folder: Path, pool_file: str, model: str, **keys: str) -> SelectionSteps:
    config = SelectionConfig(output_dir=str(folder), reference_model=model, head_set="all", **keys)
    steps = SelectionSteps.from_config(config, ChatSettings(""))
    steps.score(load_pool(pool_file))
    return steps


def test_the_variance_of_a_views_attention_is_its_score(tmp_path: Path, pool_file: str, tiny_model: str):
    score(tmp_path, pool_file, tiny_model)
    views = read_json(tmp_path / "token_views.json")["views"]
    assert [view["group"] for view in views] == ["highest", "highest", "middle", "middle", "lowest", "lowest"]
    assert [view["score"] for view in views] == sorted((view["score"] for view in views), reverse=True)
    for view in views:
        assert len(view["tokens"]) == view["num_tokens"] == len(view["attention_received"])
        assert np.var(view["attention_received"]) == pytest.approx(view["score"], abs=1e-4)


def test_they_are_computed_once(tmp_path: Path, pool_file: str, tiny_model: str, monkeypatch: pytest.MonkeyPatch):
    score(tmp_path, pool_file, tiny_model)

    def refuse(*_: object) -> None:
        raise AssertionError("it is computed again")

    monkeypatch.setattr(token_views, "explain", refuse)
    score(tmp_path, pool_file, tiny_model)


def test_other_scores_have_none(tmp_path: Path, pool_file: str, tiny_model: str):
    score(tmp_path, pool_file, tiny_model, statistic="entropy")
    assert not (tmp_path / "token_views.json").exists()
