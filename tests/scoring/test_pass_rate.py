"""Pass rates: from a pool to a benchmark, an evaluation and back to the rows; the band, and difficulty for Select2Reason."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.evaluation.benchmarks import load_benchmark
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.pool_benchmark import PoolBenchmarkConfig, write_pool
from circuitseer_trl.evaluation.run import evaluate
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.scoring.pass_rate import PassRate, PassRateBand, read_pass_rates
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from tests.helpers.method_inputs import select_rows, write_verdicts


def marks_of(pool: Pool) -> dict[str, list[bool]]:
    """Row i is right in i % 11 of ten answers; the last row was not evaluated."""
    return {uid: [number < row % 11 for number in range(10)] for row, uid in enumerate(pool.uids[:-1])}


def config(folder: Path, **values: object) -> SelectionConfig:
    return SelectionConfig(**({"output_dir": str(folder), "method": "pass_rate"} | values))  # type: ignore[arg-type]


def test_the_band_is_drawn_from_evenly_and_keeps_every_pass_rate(tmp_path: Path, pool_file: str):
    pool = load_pool(pool_file)
    verdicts = write_verdicts(tmp_path / "run" / "verdicts" / "pool.jsonl", marks_of(pool))
    chosen = select_rows(
        config(tmp_path / "a", budget_size=7, method_args={"verdicts": str(tmp_path / "run")}), "", pool
    )
    # 0.1 < p < 0.9: rates 0.2 to 0.8 are those of rows 2 to 8, all of which are taken.
    assert sorted(chosen.rows.tolist()) == list(range(2, 9))
    rows = read_table(tmp_path / "a" / "scores").to_pylist()
    assert [row["score"] for row in rows[:11]] == pytest.approx([row / 10 for row in range(11)])
    assert {row["num_answers"] for row in rows[:11]} == {10}
    assert (rows[11]["score"], rows[11]["status"]) == (None, "no_verdict")
    card = read_json(tmp_path / "a" / "selection.json")
    assert read_json(tmp_path / "a" / "scores.json")["counts"] == {"no_verdict": 1, "ok": 11}
    assert card["combination"] == {"lowest": 0.1, "highest": 0.9}
    options = {"verdicts": verdicts, "lowest": 0.4, "highest": 0.95}
    chosen = select_rows(config(tmp_path / "b", budget_size=2, method_args=options), "", pool)
    assert set(chosen.rows.tolist()) <= set(range(5, 10))
    [first, second] = chosen.inclusion_probabilities.tolist()
    assert 0 < first == second < 1  # uniform
    with pytest.raises(ValueError, match="Cannot choose 6 examples: only 5 of 12 have a score"):
        select_rows(config(tmp_path / "c", budget_size=6, method_args=options), "", pool)


def test_the_band_by_hand():
    table = pa.table({"score": [0.1, 0.11, 0.5, 0.9, None]})
    assert np.isfinite(PassRateBand().combine(table, None)).tolist() == [False, True, True, False, False]


def test_pass_rates_are_of_samples_or_else_of_the_greedy_answer(tmp_path: Path):
    path = tmp_path / "verdicts.jsonl"
    lines = [
        {"id": "a", "greedy": True, "sample": 0, "verdict": True},
        *({"id": "a", "greedy": False, "sample": number, "verdict": number == 2} for number in range(4)),
        {"id": "b", "greedy": True, "sample": 0, "verdict": True},
        {"id": "c", "verdict": False, "extracted": None, "reason": "no answer", "seconds": 0.1},  # of eval.grade
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_pass_rates(str(path)) == {"a": PassRate(0.25, 4), "b": PassRate(1.0, 1), "c": PassRate(0.0, 1)}


def test_a_column_of_the_pool_takes_the_place_of_verdicts(tmp_path: Path):
    rows = [{"problem": f"p {i}", "solution": "s", "rate": i / 10} for i in range(10)]
    rows[0]["solution"] = ""  # dropped, so that rows of the pool are not rows of the file
    rows[8]["rate"], rows[9]["rate"] = 0.95, None
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool, options = load_pool(str(path)), {"pass_rate_column": "rate"}
    chosen = select_rows(config(tmp_path / "a", budget_size=6, method_args=options), "", pool)
    assert sorted(chosen.rows.tolist()) == [2, 3, 4, 5, 6, 7]
    table = {row["row"]: row for row in read_table(tmp_path / "a" / "scores").to_pylist()}
    assert table[8]["score"] == 0.95
    assert (table[9]["score"], table[9]["status"]) == (None, "no_verdict")
    for column, message in [
        ("none", r"no column 'none' \(`pass_rate_column`\); its columns are problem"),
        ("solution", r"numbers in \[0, 1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            select_rows(config(tmp_path / column, budget_size=1, method_args={"pass_rate_column": column}), "", pool)
    changed = load_pool(str(path))
    changed.source = changed.source.map(lambda row: {"rate": 0.3})
    with pytest.raises(ValueError, match="holds results of other inputs"):
        select_rows(config(tmp_path / "a", budget_size=6, method_args=options), "", changed)


def test_bad_verdicts_are_refused(tmp_path: Path, pool_file: str):
    pool = load_pool(pool_file)
    foreign = write_verdicts(tmp_path / "foreign.jsonl", {"aime24-0": [True]})
    for text, message in [
        ("{", r"Line 1 of .* is not a verdict"),
        ('{"verdict": true}', "is not a verdict .*'id'"),
        ('{"id": "a", "verdict": 1}', "has the verdict 1. It must be true or false"),
        ("\n", r"The verdicts .* are empty"),
    ]:
        bad = tmp_path / "bad.jsonl"
        bad.write_text(text)
        with pytest.raises(ValueError, match=message):
            CircuitSeerDataSelector(method="pass_rate", method_args={"verdicts": str(bad)})
    with pytest.raises(FileNotFoundError, match=r"There are no verdicts in .*none: .*`circuitseer pool-benchmark`"):
        CircuitSeerDataSelector(method="pass_rate", method_args={"verdicts": str(tmp_path / "none")})
    for arguments in (None, {"verdicts": foreign, "pass_rate_column": "x"}):
        with pytest.raises(ValueError, match="needs either `verdicts`"):
            CircuitSeerDataSelector(method="pass_rate", method_args=arguments)
    for band, message in [({"lowest": 0.9, "highest": 0.1}, "must be below"), ({"lowest": "a"}, "must be a number")]:
        with pytest.raises(ValueError, match=message):
            CircuitSeerDataSelector(method="pass_rate", method_args={"verdicts": foreign} | band)
    with pytest.raises(
        ValueError, match=f"None of the 12 rows of the pool has a verdict .* {pool.uids[0]}, .* aime24-0"
    ):
        select_rows(config(tmp_path / "run", method_args={"verdicts": foreign}), "", pool)


@pytest.mark.thorough
def test_select2reason_takes_difficulty_from_verdicts(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    verdicts = write_verdicts(tmp_path / "verdicts.jsonl", marks_of(pool))
    options = {"difficulty": "verdicts", "verdicts": verdicts, "difficulty_weight": 1.0}
    settings = config(
        tmp_path / "a", method="select2reason", reference_model=tiny_model, budget_size=4, method_args=options
    )
    assert select_rows(settings, "", pool).rows.tolist() == [0, 1, 2, 3]  # the lowest pass rates
    rows = read_table(tmp_path / "a" / "scores").to_pylist()
    assert [row["score"] for row in rows[:11]] == pytest.approx([1 - row / 10 for row in range(11)])
    assert (rows[11]["score"], rows[11]["status"]) == (None, "no_verdict")
    assert rows[11]["trace_length"] > 0
    for arguments in ({"difficulty": "verdicts"}, {"verdicts": verdicts}):
        with pytest.raises(ValueError, match="belong together: set both"):
            CircuitSeerDataSelector(tiny_model, method="select2reason", method_args=arguments)
    foreign = write_verdicts(tmp_path / "foreign.jsonl", {"aime24-0": [True]})
    settings = config(
        tmp_path / "b", method="select2reason", reference_model=tiny_model, method_args=options | {"verdicts": foreign}
    )
    with pytest.raises(ValueError, match="None of the 12 rows of the pool has a verdict"):
        select_rows(settings, "", pool)


@pytest.mark.thorough
def test_from_a_pool_over_an_evaluation_to_its_pass_rates(tmp_path: Path, tiny_model: str, pool_file: str):
    """The whole way, with a model: what it is asked is called as the rows are."""
    pool_config, pool = PoolConfig(pool_file), load_pool(pool_file)
    path, written, left_out = write_pool(pool_config, PoolBenchmarkConfig(str(tmp_path / "benchmarks"), name="mine"))
    assert (written, left_out) == (12, 0)
    problems = load_benchmark("mine", tmp_path / "benchmarks")
    assert [problem.id for problem in problems] == pool.uids
    assert [problem.question for problem in problems] == list(pool.examples["problem"])
    assert [problem.gold for problem in problems][:4] == ["7", "4", "140", "42"]
    evaluate(
        EvaluationConfig(
            tiny_model,
            str(tmp_path / "run"),
            benchmarks=["mine"],
            benchmarks_dir=str(tmp_path / "benchmarks"),
            num_samples=3,
            max_new_tokens=8,
            dtype="float32",
        )
    )
    rates = read_pass_rates(str(tmp_path / "run"))
    assert set(rates) == set(pool.uids)
    assert {rate.num_answers for rate in rates.values()} == {3}
    options = {"verdicts": str(tmp_path / "run"), "lowest": -1.0}
    chosen = select_rows(config(tmp_path / "s", budget_size=5, method_args=options), "", pool)
    assert len(chosen) == 5
    counts = read_json(tmp_path / "s" / "scores.json")["counts"]
    assert counts == {"ok": 12}
    path.write_text('{"uid": "a", "problem": "p", "answer": "1"}\n' * 2)
    with pytest.raises(ValueError, match=r"Line 2 of .* has the `uid` 'a' of Line 1"):
        load_benchmark("mine", tmp_path / "benchmarks")


def test_pools_as_benchmarks_that_make_no_sense_are_refused(tmp_path: Path, pool_file: str):
    for name in ("aime24", "paper", "a/b", ""):
        with pytest.raises(ValueError, match="`name` must be"):
            PoolBenchmarkConfig(str(tmp_path), name=name)
    with pytest.raises(ValueError, match=r"no column 'answer' \(`answer_column`\)"):
        write_pool(PoolConfig(pool_file), PoolBenchmarkConfig(str(tmp_path), answer_column="answer"))
    with pytest.raises(ValueError, match="has an answer in a box"):
        write_pool(PoolConfig(pool_file, completion_column="problem"), PoolBenchmarkConfig(str(tmp_path)))
    write_pool(PoolConfig(pool_file), PoolBenchmarkConfig(str(tmp_path), answer_column="topic"))
    assert [problem.gold for problem in load_benchmark("pool", tmp_path)][:2] == ["story", "sum"]
    with pytest.raises(ValueError, match=r"Unknown benchmark 'mine'.* write DIR/mine/test\.jsonl"):
        EvaluationConfig("m", "o", benchmarks=["mine"], benchmarks_dir=str(tmp_path))


def test_a_column_of_answers_is_read_as_an_evaluation_reads_it(tmp_path: Path):
    def golds(*answers: object) -> list[str]:
        rows = [{"problem": f"p{place}", "solution": "s", "answer": answer} for place, answer in enumerate(answers)]
        (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        write_pool(PoolConfig(str(tmp_path / "pool.jsonl")), PoolBenchmarkConfig(str(tmp_path), answer_column="answer"))
        return [problem.gold for problem in load_benchmark("pool", tmp_path)]

    assert golds(" 7 ", None, "", "8") == ["7", "8"]
    assert golds(27.0, 0.5) == ["27", "0.5"]
    for answer, shown in (([1, 2], r"\[1, 2\]"), (True, "True")):
        with pytest.raises(ValueError, match=rf"Row 1 of .*pool\.jsonl has no reference in 'answer' .*, got {shown}\."):
            golds("3", answer)
