"""Budgets in training tokens, against trying every number of rows; and the orders that they need."""

import json
from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.sampling.base import Sampler, Selection
from circuitseer_trl.sampling.soft import SoftSampler
from circuitseer_trl.sampling.stratified import StratifiedSampler
from circuitseer_trl.scripts import select_data
from circuitseer_trl.selection.budget import rows_within
from circuitseer_trl.selection.methods import SAMPLERS
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from tests.helpers.method_inputs import named_sampler, select_rows

ORDERED = {name: sampler for name in SAMPLERS if (sampler := named_sampler(name)).nested} | {
    "s1": StratifiedSampler("s1"),
    "stratified by scores": StratifiedSampler(within="scores"),
}


def config(folder: Path, model: str | None, **values: object) -> SelectionConfig:
    return SelectionConfig(**({"output_dir": str(folder), "reference_model": model, "method": "length"} | values))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(ORDERED))
def test_a_smaller_subset_is_the_first_rows_of_a_larger_one(name: str):
    chance = np.random.default_rng(0)
    uids, scores = [f"row-{row}" for row in range(60)], chance.lognormal(size=60)
    columns = {
        "category": ["a"] * 40 + ["b"] * 17 + ["c"] * 3,
        "similarities": chance.random((60, 4)),
        "trace_length": chance.integers(1, 99, 60),
        "influences_correct": chance.normal(size=(60, 3)),
        "influences_incorrect": chance.normal(size=(60, 2)),
    }
    whole = ORDERED[name].sample(scores, np.arange(60), uids, 60, 3, columns)
    for size in range(1, 60):
        assert ORDERED[name].sample(scores, np.arange(60), uids, size, 3, columns).uids == whole.uids[:size]


def test_proportional_quotas_have_no_such_order():
    """The Alabama paradox: of 6, 6 and 2 rows, 10 are 4, 4 and 2, but 11 are 5, 5 and 1."""
    sampler = StratifiedSampler("proportional")
    uids, columns = [f"row-{row}" for row in range(14)], {"category": ["a"] * 6 + ["b"] * 6 + ["c"] * 2}
    ten, eleven = (
        {
            columns["category"][row] + uids[row]
            for row in sampler.sample(np.ones(14), np.arange(14), uids, n, 0, columns).rows
        }
        for n in (10, 11)
    )
    assert sum(row.startswith("c") for row in ten) == 2
    assert sum(row.startswith("c") for row in eleven) == 1
    assert not sampler.nested


def test_rows_within_against_adding_up():
    chance = np.random.default_rng(1)
    for _ in range(200):
        tokens = chance.integers(1, 9, size=12)
        budget = int(chance.integers(tokens[0], tokens.sum() + 1))
        size = rows_within(budget, tokens)
        assert sum(tokens[:size].tolist()) <= budget
        assert size == 12 or sum(tokens[: size + 1].tolist()) > budget
    with pytest.raises(ValueError, match="is 4, but the first row alone has 5 tokens"):
        rows_within(4, np.array([5, 1]))
    with pytest.raises(ValueError, match="Cannot choose 7 tokens: the 2 rows that can be chosen have only 6"):
        rows_within(7, np.array([5, 1]))


def token_counts(model: str, pool_file: str) -> dict[str, int]:
    tokenizer = Reference(model).tokenizer
    return {
        example.uid: len(tokenizer(example.problem)["input_ids"]) + len(tokenizer(example.completion)["input_ids"])
        for example in load_pool(pool_file)
    }


@pytest.mark.thorough
@pytest.mark.parametrize("sampling", ["soft", "soft_inverse", "top_k", "bottom_k", "stratified"])
def test_a_budget_of_tokens_is_filled_in_the_samplers_order(
    tmp_path: Path, tiny_model: str, pool_file: str, sampling: str
):
    pool, counts = load_pool(pool_file, category_column="topic"), token_counts(tiny_model, pool_file)
    before: list[str] = []

    def choose(**budget: int) -> Selection:
        # One folder: the scores are the same, and are computed once.
        return select_rows(config(tmp_path, tiny_model, sampling=sampling, **budget), "", pool)

    for tokens in (120, 300, sum(counts.values())):
        chosen = choose(budget_tokens=tokens)
        kept = sum(counts[uid] for uid in chosen.uids)
        card = read_json(tmp_path / "selection.json")
        assert card["training_tokens"] == {"selected": kept, "pool": sum(counts.values())}
        assert len(chosen) == card["num_selected"]
        assert kept <= tokens
        assert chosen.uids[: len(before)] == before  # nested
        # The same rows, in the same order and as likely, as by their number; and one more would be too many.
        by_size = choose(budget_size=len(chosen))
        assert by_size.uids == chosen.uids
        assert by_size.inclusion_probabilities.tolist() == chosen.inclusion_probabilities.tolist()
        if len(chosen) < 12:
            assert sum(counts[uid] for uid in choose(budget_size=len(chosen) + 1).uids) > tokens
        before = chosen.uids
    assert len(before) == 12


@pytest.mark.thorough
def test_tokens_are_kept_and_read_again(tmp_path: Path, tiny_model: str, other_model: str, pool_file: str):
    pool, counts = load_pool(pool_file), token_counts(tiny_model, pool_file)
    options = config(tmp_path, tiny_model, method="random", budget_tokens=200)
    first = select_rows(options, "", pool)
    table = read_table(tmp_path / "tokens").to_pylist()
    assert {row["uid"]: row["num_problem_tokens"] + row["num_completion_tokens"] for row in table} == counts
    assert select_rows(options, "", pool).uids == first.uids
    with pytest.raises(ValueError, match="holds results of other inputs"):
        select_rows(config(tmp_path, other_model, method="random", budget_tokens=200), "", pool)


def test_a_budget_above_the_pool_is_refused_before_scoring(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, total = load_pool(pool_file), sum(token_counts(tiny_model, pool_file).values())
    with pytest.raises(ValueError, match=f"Cannot choose {total + 1} tokens: the pool's 12 rows have only {total}"):
        select_rows(config(tmp_path, tiny_model, budget_tokens=total + 1), "", pool)
    with pytest.raises(ValueError, match="Cannot choose 13 examples: the pool has only 12 usable rows"):
        select_rows(config(tmp_path, tiny_model, budget_size=13), "", pool)
    assert not (tmp_path / "scores").exists()


@pytest.mark.thorough
def test_rows_that_cannot_be_drawn_count_for_nothing(tmp_path: Path, tiny_model: str):
    rows = [{"problem": "?" if number % 2 else f"Add {number}.", "solution": "So 1."} for number in range(8)]
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(path))
    # One token after the first, the sink, is left out: texts of one token have a score of 0.
    options = {"method": "circuitseer", "head_set": "all"}
    tokenizer = Reference(tiny_model).tokenizer
    drawable = sum(len(tokenizer(row["problem"] + row["solution"])["input_ids"]) for row in rows[::2])
    assert len(tokenizer("?")["input_ids"]) == 1
    with pytest.raises(ValueError, match=rf"the 4 rows that can be chosen have only {drawable}"):
        select_rows(config(tmp_path / "a", tiny_model, **options, budget_tokens=drawable + 1), "", pool)
    chosen = select_rows(config(tmp_path / "b", tiny_model, **options, budget_tokens=drawable), "", pool)
    assert sorted(chosen.rows.tolist()) == [0, 2, 4, 6]


@pytest.mark.thorough
def test_the_step_says_how_many_tokens_it_took(
    tmp_path: Path, tiny_model: str, pool_file: str, capsys: pytest.CaptureFixture[str]
):
    words = ["--dataset_name", pool_file, "--reference_model", tiny_model, "--method", "random"]
    select_data.main([*words, "--budget_tokens", "200", "--output_dir", str(tmp_path)])
    kept = read_json(tmp_path / "selection.json")["training_tokens"]["selected"]
    assert 0 < kept <= 200
    assert f"Training tokens: {kept}." in capsys.readouterr().out


def test_budgets_that_say_too_much_or_too_little_are_refused(tiny_model: str):
    with pytest.raises(ValueError, match="`budget_size` and `budget_tokens` both set the budget"):
        SelectionConfig("x", budget_size=3, budget_tokens=5)
    with pytest.raises(ValueError, match="`budget_tokens` must be a whole number of at least 1, got 0"):
        SelectionConfig("x", budget_tokens=0)
    with pytest.raises(ValueError, match="counts with the reference model's tokenizer: set `reference_model`"):
        CircuitSeerDataSelector(method="random", budget_tokens=5)
    with pytest.raises(
        ValueError, match=r"in the sampler's order, but StratifiedSampler\(allocation='proportional'.* has none"
    ):
        CircuitSeerDataSelector(
            tiny_model, method="diversity", budget_tokens=5, method_args={"allocation": "proportional"}
        )


def test_a_sampler_of_ones_own_has_no_order_unless_it_says_so():
    assert not Sampler.nested.fget(SoftSampler())  # type: ignore[attr-defined]
