import json
from pathlib import Path

import pytest

from circuitseer_trl.evaluation.benchmark_files import (
    benchmark_named,
    benchmark_names,
    benchmark_specs,
    paper_benchmarks,
    read_benchmark,
)
from circuitseer_trl.evaluation.benchmark_rows import READERS
from circuitseer_trl.evaluation.benchmarks import Problem, content_checksum, load_benchmark
from circuitseer_trl.evaluation.errata import ERRATA_FILE, with_errata
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig

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
    problems = [problem for name in paper_benchmarks() for problem in load_benchmark(name, shared / "benchmarks")]
    assert {name: sum(p.benchmark == name for p in problems) for name in paper_benchmarks()} == COUNTS
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
    with pytest.raises(ValueError, match=r"Line 1 of .* is not a row of aime24: no text in any of the fields"):
        load_benchmark("aime24", tmp_path)
    for text in ("{", '{"problem": "p", "problem": "q", "answer": "1"}'):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"Line 1 of .* is not a row in JSON"):
            load_benchmark("aime24", tmp_path)


def test_paper_stands_for_the_nine_once():
    nine = [
        "aime24",
        "aime25",
        "amc23",
        "math500",
        "olympiadbench",
        "gaokao2023en",
        "gaokao2024_mix",
        "gaokao_math_qa",
        "kaoyan",
    ]
    assert paper_benchmarks() == nine
    assert benchmark_names(["aime25", "paper"]) == ["aime25", *[name for name in nine if name != "aime25"]]
    assert set(benchmark_specs()) == {*nine, "gsm8k", "word_problems"}
    assert {name: benchmark_named(name).samples for name in nine if benchmark_named(name).samples} == dict.fromkeys(
        ("aime24", "aime25", "amc23"), 16
    )


def test_where_the_hub_has_them():
    sources = {name: benchmark_named(name).source for name in ("aime24", "gaokao_math_qa", "kaoyan")}
    assert sources["aime24"] == {
        "path": "HuggingFaceH4/aime_2024", "revision": "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
    }  # fmt: skip
    assert sources["gaokao_math_qa"] == {
        "path": "HuggingFaceTB/math_tasks", "data_files": {"test": "data/gaokao_math_qa/test.jsonl"},
    }  # fmt: skip
    assert sources["kaoyan"]["path"] == "json"
    assert {benchmark_named(name).reader for name in benchmark_specs()} <= READERS.keys()


PLAIN = {"hub": "someone/problems", "number": 2, "question": "task", "answer": "result"}


def write_spec(folder: Path, name: str = "mine", **changes: object) -> Path:
    path = folder / "eval" / "benchmarks" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({key: value for key, value in (PLAIN | changes).items() if value != "left out"}))
    return path


def test_a_plain_benchmark_of_ones_own_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_spec(tmp_path, samples=4)
    (tmp_path / "rows" / "mine").mkdir(parents=True)
    rows = [{"task": "1 + 1?", "result": 2}, {"task": "Half of 1?", "result": 0.5}]
    (tmp_path / "rows" / "mine" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems = load_benchmark("mine", tmp_path / "rows")
    assert [(each.id, each.question, each.gold) for each in problems] == [
        ("mine-0", "1 + 1?", "2"),
        ("mine-1", "Half of 1?", "0.5"),
    ]
    assert "mine" not in paper_benchmarks()  # unasked
    assert EvaluationConfig("m", "o", ["mine"]).plan("mine") == (False, 4)
    # The working directory wins over what is shipped.
    write_spec(tmp_path, "aime24", number=2)
    assert benchmark_named("aime24").hub == "someone/problems"
    assert "aime24" not in paper_benchmarks()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": "left out"}, r"mine\.yaml lacks the key `number`"),
        ({"answer": "left out"}, r"mine\.yaml lacks the key `answer`"),
        ({"anser": "x"}, r"mine\.yaml has the unknown key `anser`. Did you mean `answer`\?"),
        ({"number": "30"}, r"`number` in .*mine\.yaml must be of the type int \| None, got '30'"),
        ({"number": True}, "`number` in .* got True"),
        ({"samples": None}, "`samples` in .* must be of the type int, got None"),
        ({"configs": ["a", 1]}, "`configs` in .* got"),
        ({"number": 0}, r"mine\.yaml: `number` must be at least 1, got 0"),
        ({"samples": -1}, r"mine\.yaml: `samples` must be at least 0, got -1"),
        ({"question": []}, r"mine\.yaml: `question` must name a field"),
        ({"answer": ["a", "b"]}, "`answer` in .* must be of the type str, got"),
    ],
)
def test_a_bad_benchmark_file_is_named_with_its_key(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        read_benchmark(write_spec(tmp_path, **changes))


def test_a_broken_benchmark_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_spec(tmp_path)
    for text, message in (("hub: [", r"mine\.yaml is not YAML: line 1"), ("- a", r"mine\.yaml must be a mapping")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_benchmark(path)
    write_spec(tmp_path, reader="olympiad")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"`reader` of mine must be one of plain, .*, got 'olympiad'"):
        load_benchmark("mine")


def test_checksums_are_of_questions_and_references_alone(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert {name for name in benchmark_specs() if benchmark_named(name).checksum} == {*paper_benchmarks(), "gsm8k"}
    for name in paper_benchmarks():
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
    assert str(benchmark_named("aime25").checksum) in caplog.text
    assert content_checksum(load_benchmark("aime25", tmp_path)) in caplog.text


def test_errata_replace_what_is_wrong_and_nothing_else(shared: Path):
    problems = [problem for name in paper_benchmarks() for problem in load_benchmark(name, shared / "benchmarks")]
    entries = json.loads(ERRATA_FILE.read_text(encoding="utf-8"))
    corrected = with_errata(problems)
    assert sum(each.erratum is not None for each in corrected) == len(entries) >= 6  # every entry meets its reference
    changed = {new.id: new.gold for old, new in zip(problems, corrected, strict=True) if new != old}
    assert changed == {key: entry["gold"] for key, entry in entries.items()}
    assert {each.id: each.erratum for each in corrected if each.erratum} == {
        key: entry["was"] for key, entry in entries.items()
    }
    mended = [Problem("gaokao2023en-107", "?", "145")]
    assert with_errata(mended) == mended


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": [1, 2]}, r"the answer must be text or a number, got \[1, 2\]"),
        ({"answer": float("nan")}, "the answer must be text or a number, got nan"),
        ({"answer": float("inf")}, "the answer must be text or a number, got inf"),
        ({"answer": True}, "the answer must be text or a number, got True"),
        ({"answer": {"a": [1]}}, r"the answer must be text or a number, got \[1\]"),
        ({"answer": {"a": None}}, "the answer must be text or a number, got None"),
        ({"answer": "\ud800"}, "surrogates not allowed"),
        ({"problem": ["a"]}, r"`problem` must be text, got \['a'\]"),
        ({"problem": 5, "question": "How many?"}, "`problem` must be text, got 5"),
        ({"problem": None}, "no text in any of the fields problem, question"),
        ({"problem": " "}, "no text in any of the fields"),
        ({"uid": None}, "`uid` must be text or a whole number, got None"),
        ({"uid": 1.5}, "`uid` must be text or a whole number, got 1.5"),
        ({"uid": ""}, "`uid` must be text or a whole number, got ''"),
    ],
)
def test_rows_of_wrong_types_are_named_by_their_line(tmp_path: Path, row: dict, message: str):
    write_rows(tmp_path, [{"problem": "p", "answer": "1"}, {"problem": "p", "answer": "1"} | row])
    with pytest.raises(ValueError, match=f"Line 2 of .*test.jsonl is not a row of quiz: .*{message}"):
        load_benchmark("quiz", tmp_path)


def write_rows(folder: Path, rows: list[dict], name: str = "quiz") -> Path:
    (folder / name).mkdir(exist_ok=True)
    path = folder / name / "test.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_names_and_references_of_ones_own_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    answers = ["1", 2, 3.0, 0.5, 10**20, {"a": 1, "b": "2"}]
    write_rows(tmp_path, [{"uid": number, "problem": "p", "answer": answer} for number, answer in enumerate(answers)])
    problems = load_benchmark("quiz", tmp_path)
    assert [problem.id for problem in problems] == ["0", "1", "2", "3", "4", "5"]
    assert [problem.gold for problem in problems] == ["1", "2", "3", "0.5", f"1{'0' * 20}", "a=1, b=2"]
    assert not caplog.records
    # No reference is a problem that no answer solves, and it is said.
    write_rows(tmp_path, [{"problem": "p", "answer": answer} for answer in ("1", None, "")])
    assert [problem.gold for problem in load_benchmark("quiz", tmp_path)] == ["1", "", ""]
    assert "quiz: 2 of 3 problems have no reference, such as Line 2 of" in caplog.text
    path = write_rows(tmp_path, [{"uid": uid, "problem": "p", "answer": "1"} for uid in (1, "a", "1")])
    with pytest.raises(ValueError, match=rf"Line 3 of {path} has the `uid` '1' of Line 1 of {path}"):
        load_benchmark("quiz", tmp_path)


def test_a_file_of_another_kind_is_named(tmp_path: Path):
    for name in ("quiz", "aime24"):  # also where the Hub has the rows
        (tmp_path / name).mkdir()
        for suffix in ("csv", "parquet"):
            (tmp_path / name / f"test.{suffix}").write_text("problem,answer\n1,2\n")
            with pytest.raises(
                ValueError, match=rf"test.csv is not read: .*JSONL. Convert the file to .*{name}/test.jsonl"
            ):
                load_benchmark(name, tmp_path)
    write_rows(tmp_path, [{"problem": "p", "answer": "1"}], "quiz")
    assert len(load_benchmark("quiz", tmp_path)) == 1
    (tmp_path / "quiz" / "test.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=r"test.jsonl has no rows"):
        load_benchmark("quiz", tmp_path)


def test_readers_name_answers_that_they_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for reader, row, message in [
        ("first_of_list", {"result": "42"}, "must be a list of texts, got '42'"),  # was "4"
        ("first_of_list", {"result": [4]}, "the first answer must be text, got 4"),
        ("options", {"result": "A"}, "`options` must be texts by letter, got None"),
        ("options", {"result": None, "options": {"A": "1"}}, "the answer must be text, got None"),
        ("letter_and_option", {"result": "A. 1", "choice_answer": 1}, "`choice_answer` must be text, got 1"),
        ("after_hashes", {"result": "1"}, "the answer has no `####`"),
        ("plain", {}, "there is no field `result`; the row has task"),
    ]:
        write_spec(tmp_path, reader=reader, number=1)
        write_rows(tmp_path, [{"task": "t"} | row], "mine")
        with pytest.raises(ValueError, match=f"Line 1 of .* is not a row of mine: .*{message}"):
            load_benchmark("mine", tmp_path)
