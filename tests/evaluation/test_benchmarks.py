import json
from pathlib import Path

import pytest

from circuitseer_trl.evaluation.benchmarks import (
    BENCHMARKS,
    CHECKSUMS,
    PAPER_BENCHMARKS,
    Problem,
    benchmark_names,
    content_checksum,
    load_benchmark,
)
from circuitseer_trl.evaluation.errata import ERRATA_FILE, with_errata

COUNTS = {
    "aime24": 30,
    "aime25": 30,
    "amc23": 40,
    "math500": 500,
    "olympiadbench": 675,
    "gaokao2023en": 385,
    "gaokao2024_mix": 91,
    "gaokao_math_qa": 351,
    "kaoyan": 199,
}


def test_the_nine_have_their_counts_and_unique_ids(shared: Path):
    problems = [problem for name in PAPER_BENCHMARKS for problem in load_benchmark(name, shared / "benchmarks")]
    assert {name: sum(p.benchmark == name for p in problems) for name in PAPER_BENCHMARKS} == COUNTS
    assert len({problem.id for problem in problems}) == sum(COUNTS.values()) == 2301
    # Two rows of gaokao2023en have no reference answer; every other problem has one.
    assert [problem.id for problem in problems if not problem.gold] == ["gaokao2023en-167", "gaokao2023en-192"]


def test_field_quirks(shared: Path):
    folder = shared / "benchmarks"
    assert load_benchmark("amc23", folder)[0].gold == "27"  # 27.0 in the file
    first = load_benchmark("gaokao_math_qa", folder)[0]
    assert first.gold == "D"
    assert first.question.endswith("C: $\\{x \\mid-1<x<1\\}$\nD: $\\{x \\mid 1 \\leq x<2\\}$")
    mixed = load_benchmark("gaokao2024_mix", folder)
    assert (mixed[1].gold, mixed[1].choices) == ("C", {"C": "1-\\mathrm{i}"})
    assert (mixed[10].gold, mixed[10].choices) == ("(4,0)", None)
    assert load_benchmark("gsm8k", shared)[0].gold == "18"


def test_word_problems_and_the_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "word_problems").mkdir()
    row = {"problem": "1 + 1?\u2028", "answer": 2}
    (tmp_path / "word_problems" / "test.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    monkeypatch.setenv("CIRCUITSEER_BENCHMARKS_DIR", str(tmp_path))
    (problem,) = load_benchmark("word_problems")
    assert (problem.id, problem.question, problem.gold) == ("word_problems-0", "1 + 1?", "2")


def test_bad_input_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"Unknown benchmark 'aime26'.*aime24"):
        load_benchmark("aime26")
    with pytest.raises(FileNotFoundError, match="benchmarks_dir"):
        load_benchmark("word_problems", tmp_path)
    (tmp_path / "aime24").mkdir()
    file = tmp_path / "aime24" / "test.jsonl"
    file.write_text('{"problem": "p", "answer": "1"}\n')
    with pytest.raises(ValueError, match="has 1 rows, but aime24 has 30"):
        load_benchmark("aime24", tmp_path)
    file.write_text('{"text": "p", "answer": "1"}\n' * 30)
    with pytest.raises(ValueError, match=r"Row 0 of .* is not a row of aime24"):
        load_benchmark("aime24", tmp_path)
    file.write_text("{")
    with pytest.raises(ValueError, match=r"Line 1 of .* is not JSON"):
        load_benchmark("aime24", tmp_path)


def test_paper_stands_for_the_nine_once():
    assert benchmark_names(["aime25", "paper"]) == ["aime25", *[name for name in PAPER_BENCHMARKS if name != "aime25"]]
    assert len(PAPER_BENCHMARKS) == 9
    assert set(PAPER_BENCHMARKS) < set(BENCHMARKS)


def test_checksums_are_of_questions_and_references_alone(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert set(CHECKSUMS) == {*PAPER_BENCHMARKS, "gsm8k"}
    for name in PAPER_BENCHMARKS:
        load_benchmark(name, shared / "benchmarks")
    assert not caplog.records  # all nine are the copies that published results are of
    rows = [json.loads(line) for line in (shared / "benchmarks" / "aime25" / "test.jsonl").read_text().splitlines()]
    (tmp_path / "aime25").mkdir()
    file = tmp_path / "aime25" / "test.jsonl"
    # Other columns, another order of them: the same benchmark.
    file.write_text(
        "".join(json.dumps({"answer": r["answer"], "problem": r["question"], "year": 2025}) + "\n" for r in rows)
    )
    load_benchmark("aime25", tmp_path)
    assert not caplog.records
    rows[3]["answer"] = "0"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_benchmark("aime25", tmp_path)[3].gold == "0"
    assert CHECKSUMS["aime25"] in caplog.text
    assert content_checksum(load_benchmark("aime25", tmp_path)) in caplog.text


def test_errata_replace_what_is_wrong_and_nothing_else(shared: Path):
    problems = [problem for name in PAPER_BENCHMARKS for problem in load_benchmark(name, shared / "benchmarks")]
    entries = json.loads(ERRATA_FILE.read_text(encoding="utf-8"))
    corrected, count = with_errata(problems)
    assert count == len(entries) >= 6  # every entry meets the reference it corrects
    changed = {new.id: new.gold for old, new in zip(problems, corrected, strict=True) if new != old}
    assert changed == {key: entry["gold"] for key, entry in entries.items()}
    mended = [Problem("gaokao2023en-107", "?", "145")]
    assert with_errata(mended) == (mended, 0)
