"""Dependence on a set of heads: against attention written anew, against the sweep, and what cannot be scored."""

from pathlib import Path

import pytest
import torch
from transformers import AttentionInterface, AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.circuits.sweep import head_loss_increases
from circuitseer_trl.modeling.losses import response_losses
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Row
from circuitseer_trl.scoring.dependence import DependenceScorer
from tests.helpers.method_inputs import SYSTEM, compute_scores, config, pool_of

HEADS = [(0, 1), (1, 2), (1, 3)]


def head_set(reference: Reference, heads: list[tuple[int, int]]) -> HeadSet:
    return HeadSet(heads, {"model": reference.describe(), "selected": [list(head) for head in heads]})


def scored(folder: Path, pool: Pool, reference: Reference, heads: list[tuple[int, int]], **values: object) -> list[Row]:
    scorer = DependenceScorer(**values)  # type: ignore[arg-type]
    return scorer.bind(pool, reference, head_set(reference, heads), folder).score_batch(list(pool))


def averaging(heads: list[tuple[int, int]]):
    """An attention of its own: the output of a head is the mean of the values up to each token, without any query."""

    def attend(module, query, key, value, attention_mask, **kwargs):
        output, weights = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        per_key = query.shape[1] // value.shape[1]
        for layer, head in heads:
            if module.layer_idx == layer:
                values = value[:, head // per_key]
                counts = torch.arange(1, values.shape[1] + 1)[None, :, None]
                output[:, :, head] = values.cumsum(dim=1) / counts
        return output, weights

    return attend


def test_it_is_the_rise_under_an_attention_that_averages(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model, system_prompt=SYSTEM)
    rows = scored(tmp_path, pool, reference, HEADS)
    AttentionInterface.register("averaging", averaging(HEADS))
    try:
        changed = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32, attn_implementation="averaging")
        for row, item in zip(rows, reference.encode(list(pool)), strict=True):
            ids = torch.tensor([item.input_ids])
            losses = []
            for model in (reference.model(), changed.eval()):
                with torch.no_grad():
                    logits = model(ids).logits[0, item.num_prompt_tokens - 1 : -1].double()
                losses.append(torch.nn.functional.cross_entropy(logits, ids[0, item.num_prompt_tokens :]).item())
            assert row["loss_nats"] == pytest.approx(losses[0], abs=1e-6)
            assert row["loss_without_heads_nats"] == pytest.approx(losses[1], abs=1e-6)
            assert row["score"] == row["difference_nats"] == pytest.approx(losses[1] - losses[0], abs=1e-6)
            assert row["ratio"] == pytest.approx(losses[1] / losses[0] - 1, abs=1e-6)
    finally:
        del AttentionInterface._global_mapping["averaging"]
    assert max(abs(row["score"]) for row in rows) > 1e-3


def test_one_head_is_the_sweeps_own_number(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model, system_prompt=SYSTEM)
    rows = scored(tmp_path, pool, reference, [(1, 2)])
    for row, item in zip(rows, reference.encode(list(pool)), strict=True):
        sweep = head_loss_increases(reference.model(), item, [(1, 2)])
        assert row["score"] == pytest.approx(sweep.increase[1, 2], abs=1e-6)
        assert row["loss_nats"] == pytest.approx(sweep.base_loss, abs=1e-6)


def test_a_block_without_heads_changes_nothing(tiny_model: str, pool_file: str):
    from circuitseer_trl.circuits.attention import ablate

    reference = Reference(tiny_model)
    encoded = reference.encode(list(load_pool(pool_file)))
    plain = response_losses(reference.model(), encoded)
    assert response_losses(reference.model(), encoded, around=lambda: ablate(reference.model(), [])) == plain


def test_the_ratio_and_the_first_layer(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model, system_prompt=SYSTEM)
    above = scored(tmp_path, pool, reference, HEADS, without_first_layer=True, rise="ratio")
    assert above == scored(tmp_path, pool, reference, HEADS[1:], rise="ratio")
    assert [row["score"] for row in above] == [row["ratio"] for row in above]
    with pytest.raises(ValueError, match=r"All 1 heads are in the first layer.*Raise `head_ratio`"):
        scored(tmp_path, pool, reference, HEADS[:1], without_first_layer=True)
    with pytest.raises(ValueError, match="`rise` must be one of difference, ratio"):
        DependenceScorer(rise="sum")  # type: ignore[arg-type]


def test_the_stored_losses_are_read(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    options = config(tmp_path, tiny_model, "dependence", probe_size=3)
    table = compute_scores(options, SYSTEM, pool).table
    losses = read_table(tmp_path / "losses")
    assert table["loss_nats"].to_pylist() == losses["loss_nats"].to_pylist()
    card = read_json(tmp_path / "scores.json")
    assert card["heads"] == read_json(tmp_path / "heads.json")["selected"]
    assert card["parameters"]["rise"] == "difference"


def test_a_row_without_its_solution_has_no_score(tmp_path: Path, tiny_model: str):
    pool = pool_of(Example(0, "a", "A very long problem " * 30, "5"), Example(1, "b", "What is 2 + 2?", "2 + 2 = 4"))
    rows = scored(tmp_path, pool, Reference(tiny_model, max_length=64, system_prompt=""), HEADS)
    assert (rows[0]["score"], rows[0]["status"], rows[0]["difference_nats"]) == (None, "truncated", None)
    assert rows[1]["score"] is not None
