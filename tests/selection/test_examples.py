"""The rows that are shown with a score table: the highest, the lowest, and a draw that has nothing to do with scores."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from circuitseer_trl.artifacts import read_table
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.scripts import score_pool, select_data
from circuitseer_trl.selection.examples import as_text, example_rows, ranked


def table_of(pool: Pool, scores: list[float | None]) -> pa.Table:
    columns = {"row": pool.rows, "uid": pool.uids, "score": pa.array(scores, pa.float64())}
    return pa.table(columns | {"num_tokens": pa.array([5] * len(pool))})


@pytest.fixture(scope="module")
def pool(pool_file: str) -> Pool:
    return load_pool(pool_file)


def test_rows_by_hand(pool: Pool):
    scores = [3, 1, None, 7, 5, 2, float("nan"), 7, 0, 4, 6, -1]
    table = table_of(pool, scores)
    assert ranked(table).tolist() == [3, 7, 10, 4, 9, 0, 5, 1, 8, 11]
    found = example_rows([table], pool, {pool.uids[7]}, num_rows=3)
    assert [line["row"] for line in found["highest"]] == [3, 7, 10]
    assert [line["row"] for line in found["lowest"]] == [11, 8, 1]
    assert [line["selected"] for line in found["highest"]] == [False, True, False]
    assert all(line["problem"] == pool[line["row"]].problem for group in found.values() for line in group)
    everything = example_rows([table], pool, num_rows=12)
    assert {line["row"] for line in everything["random"] if line["score"] is None} == {2, 6}
    json.dumps(everything, allow_nan=False)
    assert as_text(everything).count("         -") == 2


def test_no_row_is_both_high_and_low(pool: Pool):
    found = example_rows([table_of(pool, list(range(12)))], pool, num_rows=10)
    assert (len(found["highest"]), len(found["lowest"])) == (10, 2)
    assert "selected" not in found["highest"][0]


def test_equal_scores_have_no_ends(pool: Pool):
    found = example_rows([table_of(pool, [1.0] * 12)], pool)
    assert (found["highest"], found["lowest"], len(found["random"])) == ([], [], 10)
    assert as_text(found).splitlines()[0] == "Random rows:"


def test_a_row_without_a_number_of_tokens_has_no_number(pool: Pool):
    table = table_of(pool, [1.0] * 12)
    table = table.set_column(3, "num_tokens", pa.array([None] * 12, pa.int64()))
    assert all(" 1.0000      - tokens " in line for line in as_text(example_rows([table], pool)).splitlines()[1:])


def test_the_draw_does_not_look_at_scores(pool: Pool):
    one, other = (example_rows([table_of(pool, scores)], pool, num_rows=4) for scores in ([1.0] * 12, list(range(12))))
    drawn = [line["row"] for line in one["random"]]
    assert drawn == [line["row"] for line in other["random"]]
    assert len(set(drawn)) == 4
    assert len(example_rows([table_of(pool, [1.0] * 12)], pool, num_rows=50)["random"]) == 12


def test_commands_print_and_keep_them(
    tmp_path: Path, pool_file: str, tiny_model: str, capsys: pytest.CaptureFixture[str]
):
    flags = ["--dataset_name", pool_file, "--method", "longest", "--reference_model", tiny_model]
    flags += ["--output_dir", str(tmp_path)]
    score_pool.main(flags)
    printed = capsys.readouterr().out
    for title in ("Highest scores:", "Lowest scores:", "Random rows:"):
        assert title in printed
    select_data.main([*flags, "--budget_size", "2"])
    printed = capsys.readouterr().out
    assert printed.count(" *") >= 2
    kept = json.loads((tmp_path / "examples.json").read_text())
    scores = read_table(tmp_path / "scores")["score"].to_numpy()
    assert [line["score"] for line in kept["highest"]] == np.sort(scores)[::-1][:10].tolist()
    selected = {line["uid"] for line in kept["highest"] + kept["lowest"] if line["selected"]}  # all twelve rows
    assert selected == set(read_table(tmp_path / "selection.parquet")["uid"].to_pylist())
