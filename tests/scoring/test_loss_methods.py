"""Max-Loss, Mid-PPL and IFD: what is made of response losses, against the model's own logits."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.circuits.probe import hardest
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.combination import MiddleRank
from circuitseer_trl.scoring.ifd import IFDScorer, answer_header
from circuitseer_trl.scoring.max_loss import MaxLossScorer
from tests.helpers.method_inputs import HEADER, SYSTEM, chat_prompt, compute_scores, config, pool_of, select_rows

pytestmark = pytest.mark.thorough


def plain_loss(reference: Reference, prompt: str, answer: str, max_answer: int | None = None) -> float:
    """Mean loss of an answer after a prompt, from the model's own logits."""
    first, rest = (reference.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, answer))
    rest = rest[:max_answer]
    logits = reference.model()(torch.tensor([first + rest])).logits[0, len(first) - 1 : -1].double()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(rest)).item()


def test_max_loss_is_the_mean_loss_of_the_models_own_logits(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    selection = select_rows(config(tmp_path, tiny_model, "max_loss"), SYSTEM, pool)
    for example, row in zip(pool, read_table(tmp_path / "scores").to_pylist(), strict=True):
        assert row["score"] == pytest.approx(plain_loss(reference, chat_prompt(example.problem), example.completion))
        assert row["num_tokens"] == len(reference.tokenizer(example.completion)["input_ids"])
    # The stored pass is the probe's, and the choice is the probe's.
    assert selection.rows.tolist() == hardest(read_table(tmp_path / "losses"), 3).tolist()


def test_the_loss_pass_is_shared(tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch):
    pool = load_pool(pool_file)
    compute_scores(config(tmp_path / "a", tiny_model, "circuitseer", probe_size=3), SYSTEM, pool)
    (tmp_path / "b").mkdir()
    for name in ("losses", "losses.manifest.json"):
        (tmp_path / "a" / name).rename(tmp_path / "b" / name)
    monkeypatch.setattr("circuitseer_trl.modeling.stored_losses.response_losses", None)  # to call it would fail
    compute_scores(config(tmp_path / "b", tiny_model, "max_loss"), SYSTEM, pool)
    with pytest.raises(ValueError, match="holds results of other inputs"):
        compute_scores(config(tmp_path / "b", tiny_model, "max_loss"), "Another prompt.", pool)


def test_ifd_is_the_ratio_of_losses_of_the_same_tokens(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    compute_scores(config(tmp_path, tiny_model, "ifd"), SYSTEM, pool)
    table = read_table(tmp_path / "scores").to_pylist()
    for example, row in zip(pool, table, strict=True):
        with_problem = plain_loss(reference, chat_prompt(example.problem), example.completion)
        ratio = with_problem / plain_loss(reference, HEADER, example.completion)
        assert row["ifd"] == pytest.approx(ratio)
        assert row["status"] == ("ok" if ratio <= 1 else "above_max")
        assert row["score"] == (pytest.approx(ratio) if ratio <= 1 else None)
    card = read_json(tmp_path / "scores.json")
    above = sum(row["ifd"] > 1 for row in table)
    assert 0 < above < 12
    assert card["ifd"]["num_above_max"] == card["counts"]["above_max"] == above
    assert card["ifd"]["quantiles"]["1"] == max(row["ifd"] for row in table)
    assert card["ifd"]["interquartile_range"] > 0


def test_truncation_leaves_ifd_the_same_tokens_on_both_sides(tmp_path: Path, tiny_model: str, pool_file: str):
    example = max(load_pool(pool_file), key=lambda item: len(item.completion))
    long = example.completion * 5
    reference = Reference(tiny_model, max_length=100, system_prompt=SYSTEM)
    pool = pool_of(Example(0, "long", example.problem, long))
    [row] = IFDScorer(max_ifd=None).bind(pool, reference, None, tmp_path).score_batch(list(pool))
    left = 100 - len(reference.tokenizer(chat_prompt(example.problem), add_special_tokens=False)["input_ids"])
    assert row["status"] == "truncated"
    assert row["num_tokens"] == left
    expected = plain_loss(reference, chat_prompt(example.problem), long, left) / plain_loss(
        reference, HEADER, long, left
    )
    assert row["score"] == pytest.approx(expected)


def test_a_row_with_hardly_any_solution_left_has_no_loss_score(tmp_path: Path, tiny_model: str, pool_file: str):
    example = load_pool(pool_file)[0]
    width = len(Reference(tiny_model).tokenizer(chat_prompt(example.problem), add_special_tokens=False)["input_ids"])
    for scorer in (MaxLossScorer(), IFDScorer()):
        for left in (0, 3):
            reference = Reference(tiny_model, max_length=width + left, system_prompt=SYSTEM)
            [row] = scorer.bind(pool_of(example), reference, None, tmp_path / str(left)).score_batch([example])
            assert row["status"] == "truncated"
            assert row["score"] is None


def test_headers_before_a_solution_without_its_problem(tiny_model: str):
    tokenizer = Reference(tiny_model).tokenizer
    assert tokenizer.decode(answer_header(tokenizer, "chat")) == HEADER
    assert tokenizer.decode(answer_header(tokenizer, "plain")) == "Solution:\n"
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(ValueError, match="has no separate header for the assistant's turn"):
        answer_header(tokenizer, "chat")


def test_bad_values_of_ifd_are_refused():
    with pytest.raises(ValueError, match="`max_ifd` must be a number above 0, got -1"):
        IFDScorer(max_ifd=-1)


def test_mid_perplexity_takes_the_rows_around_the_median(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    chosen = select_rows(config(tmp_path, tiny_model, "mid_perplexity", budget_size=4), SYSTEM, pool)
    losses = read_table(tmp_path / "losses")["loss_nats"].to_numpy()
    # Perplexity is exp(loss), so its order is that of the loss: places 4 to 7 of 0 to 11 are the middle four.
    assert set(chosen.rows.tolist()) == set(np.argsort(np.exp(losses))[4:8].tolist())
    assert set(chosen.rows.tolist()[:2]) == set(np.argsort(losses)[5:7].tolist())
    assert read_table(tmp_path / "scores")["score"].to_numpy().tolist() == losses.tolist()


def test_distance_from_the_middle_by_hand():
    # Four rows have a loss; places (rank + 1/2) / 4 are 1/8, 3/8 and, shared by two, 3/4. 1 - |2 p - 1|: 1/4, 3/4, 1/2.
    table = pa.table({"score": [0.1, 0.2, 9.0, None, 9.0]})
    scores = MiddleRank().combine(table, None)
    assert scores[[0, 1, 2, 4]].tolist() == pytest.approx([1 / 4, 3 / 4, 1 / 2, 1 / 2])
    assert np.isnan(scores[3])
