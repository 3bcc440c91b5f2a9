"""One pass over shards chooses what the whole table gives: rows, order, scores, probabilities and errors."""

import numpy as np
import pyarrow as pa
import pytest

from circuitseer_trl.sampling.base import Sampler
from circuitseer_trl.sampling.soft import SoftSampler
from circuitseer_trl.sampling.stratified import Allocation, StratifiedSampler, Within
from circuitseer_trl.sampling.top_k import TopKSampler
from circuitseer_trl.selection import one_pass
from circuitseer_trl.selection.budget import rows_within
from circuitseer_trl.selection.one_pass import choose_in_one_pass

SAMPLERS = [SoftSampler(), SoftSampler(inverse=True), TopKSampler(), TopKSampler(lowest=True)]


def table_of(num_rows: int, seed: int = 0) -> pa.Table:
    """Scores with ties, zeros and missing ones, rows that are not consecutive, and tokens."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.lognormal(size=num_rows), 1)
    scores[rng.random(num_rows) < 0.1] = 0
    missing = rng.random(num_rows) < 0.1
    return pa.table(
        {
            "uid": [f"{rng.integers(10**9):09d}-{index}" for index in range(num_rows)],
            "row": np.cumsum(rng.integers(1, 3, num_rows)),
            "score": pa.array(scores, mask=missing),
            "training_tokens": rng.integers(5, 50, num_rows),
        }
    )


def parts_of(table: pa.Table, size: int) -> list[pa.Table]:
    return [table.slice(start, size) for start in range(0, len(table), size)]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("slack", [0, 150, 100_000])
def test_equals_the_whole_table(monkeypatch: pytest.MonkeyPatch, sampler: Sampler, slack: int):
    monkeypatch.setattr(one_pass, "SLACK_ROWS", slack)
    table = table_of(1000)
    scores = table["score"].to_numpy()
    for size in (1, 37, 600):
        whole = sampler.sample(scores, table["row"].to_numpy(), table["uid"].to_pylist(), size, 7)
        for shard in (64, 333, 1000):
            found, chosen = choose_in_one_pass(sampler, parts_of(table, shard), size, 7)
            assert found.to_table().equals(whole.to_table())
            assert table.take(chosen["place"]).equals(chosen.select(table.column_names))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_a_budget_of_tokens_equals_that_of_the_whole_table(monkeypatch: pytest.MonkeyPatch, sampler: Sampler):
    monkeypatch.setattr(one_pass, "SLACK_ROWS", 20)
    table = table_of(500)
    scores, tokens = table["score"].to_numpy(), table["training_tokens"].to_numpy()
    drawable = sampler.drawable(scores)
    rows, uids = np.arange(500), table["uid"].to_pylist()
    order = sampler.sample(np.where(drawable, scores, np.nan), rows, uids, int(drawable.sum()), 3).rows
    for most in (60, 1000, 4000):
        whole = sampler.sample(scores, table["row"].to_numpy(), uids, rows_within(most, tokens[order]), 3)
        found, chosen = choose_in_one_pass(sampler, parts_of(table, 50), 0, 3, most)
        assert found.to_table().equals(whole.to_table())
        spent = chosen["training_tokens"].to_numpy().sum()
        assert most - 50 < spent <= most


@pytest.mark.parametrize("allocation", ["equal", "proportional"])
@pytest.mark.parametrize("within", ["uniform", "scores"])
def test_quotas_over_categories_equal_those_of_the_whole_table(
    monkeypatch: pytest.MonkeyPatch, allocation: Allocation, within: Within
):
    """Also where a category has fewer rows than its share, and where rows cannot be drawn but count for the quotas."""
    monkeypatch.setattr(one_pass, "SLACK_ROWS", 30)
    table = table_of(800)
    rng = np.random.default_rng(3)
    names = np.array(["algebra", "geometry", "numbers", "rare", None], dtype=object)
    table = table.append_column(
        "category", pa.array(rng.choice(names, 800, p=[0.5, 0.2, 0.18, 0.02, 0.1]), pa.string())
    )
    sampler = StratifiedSampler(allocation, within)
    scores, columns = table["score"].to_numpy(), {"category": table["category"].to_pylist()}
    for size in (3, 40, 200) if within == "uniform" else (3, 40):  # scores of 0 cannot fill a quota
        whole = sampler.sample(scores, table["row"].to_numpy(), table["uid"].to_pylist(), size, 7, columns)
        for shard in (50, 800):
            found, chosen = choose_in_one_pass(sampler, parts_of(table, shard), size, 7)
            assert found.to_table().equals(whole.to_table())
            assert table.take(chosen["place"]).equals(chosen.select(table.column_names))
    negative = table.set_column(2, "score", pa.array(-np.ones(800)))
    if within == "scores":
        with pytest.raises(ValueError, match="800 are negative"):
            choose_in_one_pass(sampler, parts_of(negative, 50), 3, 7)


def refusals() -> list[tuple[Sampler, pa.Table, int]]:
    table = table_of(300)
    values = table["score"].to_pylist()

    def with_values(places: list[int], value: float | None) -> pa.Table:
        changed = [value if place in places else old for place, old in enumerate(values)]
        return table.set_column(2, "score", pa.array(changed, pa.float64()))

    return [
        (SoftSampler(), with_values([5, 250], np.inf), 10),
        (TopKSampler(), with_values([5, 250], -np.inf), 10),
        (SoftSampler(), with_values([7, 8, 9, 299], -1.0), 10),
        (SoftSampler(), table, 290),
        (TopKSampler(), table, 290),
        (SoftSampler(), with_values(list(range(100)), 0.0), 180),
        (SoftSampler(), with_values(list(range(300)), 0.0), 1),
    ]


@pytest.mark.parametrize(("sampler", "table", "size"), refusals(), ids=range(7))
def test_bad_scores_get_the_same_line(sampler: Sampler, table: pa.Table, size: int):
    with pytest.raises(ValueError, match=r"\w") as whole:
        sampler.sample(table["score"].to_numpy(), table["row"].to_numpy(), table["uid"].to_pylist(), size, 7)
    with pytest.raises(ValueError, match=r"\w") as parted:
        choose_in_one_pass(sampler, parts_of(table, 40), size, 7)
    assert str(parted.value) == str(whole.value)
