"""RDS: similarity of hidden states to target problems, against a plain loop."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from circuitseer_trl.artifacts import read_table
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scoring.rds import mean_hidden_states
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from tests.helpers.method_inputs import SYSTEM, config, select_rows

pytestmark = pytest.mark.thorough


def test_rds_against_a_plain_loop(tmp_path: Path, tiny_model: str, pool_file: str):
    queries = tmp_path / "queries.jsonl"
    texts = ["How many apples are left?", "Find the sum of 3 and 9.", "Is 9 prime?"]
    queries.write_text("".join(json.dumps({"problem": text}) + "\n" for text in texts))
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    options = {"queries": str(queries)}
    chosen = select_rows(config(tmp_path / "run", tiny_model, "rds", budget_size=7, method_args=options), SYSTEM, pool)

    def state(text: str) -> torch.Tensor:
        ids = torch.tensor([reference.tokenizer(text)["input_ids"]])
        return reference.model()(ids, output_hidden_states=True).hidden_states[-1][0].mean(0)

    nearness = [
        [torch.cosine_similarity(state(query), state(example.problem), dim=0).item() for query in texts]
        for example in pool
    ]
    table = read_table(tmp_path / "run" / "scores").to_pylist()
    for row, expected in zip(table, nearness, strict=True):
        assert row["similarities"] == pytest.approx(expected, rel=1e-4)
        assert row["score"] == max(row["similarities"])
    taken: list[int] = []
    for turn in range(7):
        free = [row for row in range(12) if row not in taken]
        taken.append(max(free, key=lambda row: nearness[row][turn % 3]))
    assert chosen.rows.tolist() == taken


def test_weighted_states_count_later_tokens_more(tiny_model: str):
    reference = Reference(tiny_model)
    ids = reference.tokenizer("Halve 18.")["input_ids"]
    states = reference.model()(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0].double().numpy()
    expected = sum((place + 1) * row for place, row in enumerate(states))
    [found] = mean_hidden_states(reference.model(), [ids], "weighted", 100)
    assert found == pytest.approx(expected / np.linalg.norm(expected), rel=1e-4)


def test_bad_queries_are_refused_before_any_work(tmp_path: Path, tiny_model: str, pool_file: str):
    (tmp_path / "blank.jsonl").write_text('{"problem": " "}\n')
    for arguments, message in [
        (None, "needs target problems"),
        ({"queries": pool_file, "query_column": "text"}, "no column 'text'"),
        ({"queries": pool_file, "pooling": "max"}, "must be one of mean, weighted"),
        ({"queries": str(tmp_path / "blank.jsonl")}, "have no text"),
    ]:
        with pytest.raises(ValueError, match=message):
            CircuitSeerDataSelector(tiny_model, method="rds", method_args=arguments)
    with pytest.raises(FileNotFoundError, match="There is no dataset file"):
        CircuitSeerDataSelector(tiny_model, method="rds", method_args={"queries": "./none.jsonl"})
    with pytest.raises(ValueError, match="needs the column 'similarities'"):
        select_rows(config(tmp_path, tiny_model, "random", sampling="round_robin"), SYSTEM, load_pool(pool_file))
