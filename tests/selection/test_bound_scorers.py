"""Bound scorers travel: what another process scores with an unpickled one is the same to the bit."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scoring.category import CategoryScorer
from circuitseer_trl.scoring.max_loss import MaxLossScorer
from circuitseer_trl.scoring.rds import RDSScorer
from circuitseer_trl.selection.methods import METHODS
from circuitseer_trl.selection.steps import SelectionSteps
from tests.conftest import ROOT
from tests.helpers.method_inputs import SYSTEM, needed_args, pool_of


@pytest.mark.thorough
def test_every_method_scores_the_same_in_a_fresh_process(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, expected = load_pool(pool_file, category_column="topic"), {}
    (tmp_path / "pickles").mkdir()
    for method in METHODS:
        arguments = needed_args(method, pool, tiny_model, tmp_path / "inputs" / method)
        config = SelectionConfig(str(tmp_path / method), method, reference_model=tiny_model, method_args=arguments)
        config.probe_size = 6
        steps = SelectionSteps.from_config(config, ChatSettings(SYSTEM))
        bound = steps.parts.scorer.bind(pool, steps.reference, steps.heads(pool), config.output_dir)
        expected[method] = repr(bound.score_batch(list(pool)))
        state = pickle.dumps(bound)  # after scoring, with everything loaded
        assert len(state) < 20_000, f"{method}: a model or a table is in the pickle"
        (tmp_path / "pickles" / f"{method}.pickle").write_bytes(state)
    words = ["-m", "tests.programs.score_pickles", str(tmp_path / "pickles"), pool_file]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    for method, rows in expected.items():
        assert (tmp_path / "pickles" / f"{method}.rows").read_text() == rows, method


def test_a_constructor_opens_nothing(tmp_path: Path):
    scorer = RDSScorer(queries=str(tmp_path / "none.jsonl"))
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        scorer.read_inputs()


def test_what_is_not_bound_says_so(tiny_model: str, pool_file: str, tmp_path: Path):
    pool = load_pool(pool_file)
    with pytest.raises(ValueError, match=r"MaxLossScorer has no reference model. Score with what `bind"):
        MaxLossScorer().bind(pool, None, None, tmp_path)
    scorer = CategoryScorer().bind(load_pool(pool_file, category_column="topic"), Reference(tiny_model), None, tmp_path)
    with pytest.raises(ValueError, match="its class has `needs = 'text'`"):
        scorer.reference  # noqa: B018
    with pytest.raises(ValueError, match="its class has `needs = 'text'`"):
        scorer.heads  # noqa: B018


@pytest.mark.thorough
def test_a_bound_scorer_can_be_bound_again_and_takes_nothing_along(
    tmp_path: Path, tiny_model: str, other_model: str, pool_file: str
):
    pool, queries = load_pool(pool_file), tmp_path / "queries.jsonl"
    queries.write_text('{"problem": "How many apples are left?"}\n')
    scorer = RDSScorer(queries=str(queries))
    first = scorer.bind(pool, Reference(tiny_model), None, tmp_path)
    rows = first.score_batch(list(pool))
    other = first.bind(pool, Reference(other_model), None, tmp_path)
    assert other.score_batch(list(pool)) != rows
    assert other.score_batch(list(pool)) == scorer.bind(pool, Reference(other_model), None, tmp_path).score_batch(
        list(pool)
    )
    assert first.score_batch(list(pool)) == rows
    assert len(list((tmp_path / "fitted").glob("queries-*.parquet"))) == 2
    losses = MaxLossScorer().bind(pool_of(pool[0]), Reference(tiny_model), None, tmp_path / "one")
    [alone] = losses.score_batch([pool[0]])
    again = losses.bind(pool, Reference(tiny_model), None, tmp_path / "all").score_batch(list(pool))
    assert again[0]["score"] == pytest.approx(alone["score"])
    assert len(again) == 12
