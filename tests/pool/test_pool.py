"""Every kind of pool becomes rows of problem and solution; what cannot be used is dropped with a reason."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest

from circuitseer_trl.artifacts import read_table
from circuitseer_trl.pool.build import build_pool, load_pool
from circuitseer_trl.pool.texts import plain_answer


def test_gsm8k_answers_become_worked_solutions():
    answer = "She sold 48/2 = <<48/2=24>>24 clips.\n48+24 = <<48+24=72>>72.\n#### 1,072"
    assert plain_answer(answer) == "She sold 48/2 = 24 clips.\n48+24 = 72.\n\\boxed{1072}"
    assert plain_answer("No marks #1 here") == "No marks #1 here"
    assert plain_answer("\\boxed{3}\n#### 3") == "\\boxed{3}\n#### 3"


def test_openr1_rows_take_the_first_correct_trace():
    rows = {
        "problem": ["a", "b", "c", "d"],
        "solution": ["short"] * 4,
        "generations": [["x", "y", "z"], ["x"], ["only"], []],
        "correctness_math_verify": [[False, True, True], [False], [True], []],
        "source": ["olympiads", "cn_k12", "amc", "amc"],
    }
    pool = build_pool(datasets.Dataset.from_dict(rows), completion_column="generations", category_column="source")
    assert [(example.row, example.completion, example.category) for example in pool] == [
        (0, "y", "olympiads"),
        (2, "only", "amc"),
    ]
    assert pool.dropped_counts() == {"no trace marked correct": 2}


def test_chat_messages_and_conversational_prompts():
    turn = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    longer = [*turn, {"role": "user", "content": "q2"}, {"role": "assistant", "content": "a2"}]
    dataset = datasets.Dataset.from_dict({"messages": [turn, longer]})
    pool = build_pool(dataset, prompt_column="messages", completion_column="messages")
    assert [(example.problem, example.completion) for example in pool] == [("q", "a")]
    assert len(pool.dropped) == 1
    dataset = datasets.Dataset.from_dict({"prompt": [turn[:2]], "completion": [turn[2:]]})
    assert build_pool(dataset, prompt_column="prompt", completion_column="completion")[0].completion == "a"


def test_dropped_rows_are_written_with_their_reasons(tmp_path: Path):
    dataset = datasets.Dataset.from_dict({"problem": ["a", " ", None, "d"], "solution": ["1", "2", "3", ""]})
    pool = build_pool(dataset)
    assert [example.row for example in pool] == [0]
    pool.write_dropped(tmp_path / "dropped.parquet")
    written = read_table(tmp_path / "dropped.parquet")
    assert written["row"].to_pylist() == [1, 2, 3]
    assert written["reason"].to_pylist() == ["blank problem", "no problem", "no completion"]
    assert pool.describe()["num_rows"] == 4
    assert pool.dropped_sentence() == " 3 more cannot be used: blank problem (1), no completion (1), no problem (1)."
    assert build_pool(dataset.select([0])).dropped_sentence() == ""


def test_uids_name_content_and_are_distinct(pool_file: str):
    pool = load_pool(pool_file)
    assert len(set(pool.uids)) == 12
    dataset = datasets.Dataset.from_dict({"problem": ["a", "a", "b"], "solution": ["1", "1", "1"]})
    twice = build_pool(dataset)
    assert twice.uids[1] == twice.uids[0] + "-2"
    shuffled = build_pool(dataset.select([2, 0, 1]))
    assert set(shuffled.uids) == set(twice.uids)
    assert shuffled.fingerprint != twice.fingerprint


def usable(folder: Path, rows: list[dict], **columns: str) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """What a JSONL file of rows gives: the usable texts, and the counts of the reasons."""
    path = folder / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(path), **columns)
    return [(example.problem, example.completion) for example in pool], pool.dropped_counts()


NOT_TEXT = [7, 1.5, float("nan"), True, ["p"], [["p"]], {"p": 1}, ["p", {"role": "user", "content": "p"}]]


@pytest.mark.parametrize("value", NOT_TEXT, ids=str)
def test_what_is_not_text_is_dropped(tmp_path: Path, value: object):
    good = {"problem": "p", "solution": "s"}
    texts, dropped = usable(tmp_path, [good, good | {"problem": value}])
    assert (texts, sum(dropped.values())) == ([("p", "s")], 1)
    texts, dropped = usable(tmp_path, [good, good | {"solution": value}])
    assert (texts, sum(dropped.values())) == ([("p", "s")], 1)
    # Alone, so that the file's column has one type.
    with pytest.raises(ValueError, match=r"No row of the pool .* can be used: (problem is not text|no problem) \(1\)"):
        usable(tmp_path, [good | {"problem": value}])


def test_reasons_of_texts_that_are_none(tmp_path: Path):
    good = {"problem": "p", "solution": "s"}
    user, assistant = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
    rows = [
        good,
        good | {"problem": 5},
        good | {"solution": {"text": "s"}},
        good | {"problem": "p\0"},
        good | {"problem": [{"role": "user"}]},
        good | {"problem": [{"role": "user", "content": [{"type": "text", "text": "q"}]}]},
        good | {"problem": [user, assistant], "solution": [user, assistant]},
        good | {"problem": [user], "solution": [user, assistant | {"content": None}]},
    ]
    assert usable(tmp_path, rows) == (
        [("p", "s"), ("q", "a")],
        {
            "completion is not text": 1,
            "no completion": 1,
            "no problem": 1,
            "problem has a NUL character": 1,
            "problem is not text": 2,
        },
    )


def test_traces_and_their_marks_are_checked(tmp_path: Path):
    rows = [
        {"problem": "a", "traces": ["x", "y"], "correct": [False, True]},
        {"problem": "b", "traces": ["x", "y"], "correct": [0, 1]},
        {"problem": "c", "traces": [5, "y"], "correct": [True, True]},
        {"problem": "d", "traces": ["x"], "correct": ["false"]},
        {"problem": "e", "traces": ["x"], "correct": True},
    ]
    assert usable(tmp_path, rows, completion_column="traces", correct_column="correct") == (
        [("a", "y"), ("b", "y")],
        {"completion is not text": 1, "no trace marked correct": 2},
    )


@pytest.mark.parametrize(
    ("key", "reason", "bad"),
    [
        ("id", "id is not text or a whole number", [1.5, True, ["a"], {"a": 1}]),
        ("id", "no id", [None, "", float("nan")]),
        ("category", "category is not text or a number", [["a"], {"a": 1}, False]),
        ("difficulty", "difficulty is not text or a number", [["5"], {"a": 1}, True]),
    ],
)
def test_labels_that_are_none_drop_the_row(tmp_path: Path, key: str, reason: str, bad: list):
    row = {"problem": "p", "solution": "s"}
    rows = [row | {"label": "x"}, row | {"label": 5}, *(row | {"label": value} for value in bad)]
    texts, dropped = usable(tmp_path, rows, **{f"{key}_column": "label"})
    assert (texts, dropped) == ([("p", "s"), ("p", "s")], {reason: len(bad)})


def test_a_missing_category_or_difficulty_is_none(tmp_path: Path):
    dataset = datasets.Dataset.from_dict(
        {"problem": ["a"] * 4, "solution": ["s"] * 4, "label": [3.0, 1e-05, None, np.nan]}
    )
    pool = build_pool(dataset, category_column="label", difficulty_column="label")
    assert [example.category for example in pool] == ["3.0", "1e-05", None, None]
    assert [example.difficulty for example in pool] == [3.0, 1e-05, None, None]


def test_id_column_must_name_the_rows():
    dataset = datasets.Dataset.from_dict({"problem": ["a", "b"], "solution": ["1", "2"], "id": [5, 5]})
    with pytest.raises(ValueError, match=r"1 values stand in more than one row, for instance \['5'\]"):
        build_pool(dataset, id_column="id")
    assert build_pool(dataset.remove_columns("id").add_column("id", [5, 6]), id_column="id").uids == ["5", "6"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv", "disk", "disk_dict"])
def test_local_files_and_folders(tmp_path: Path, kind: str):
    dataset = datasets.Dataset.from_dict({"problem": ["a", "b"], "solution": ["1", "x"]})
    path = tmp_path / f"pool.{kind}"
    if kind == "jsonl":
        dataset.to_json(path)
    elif kind == "parquet":
        dataset.to_parquet(path)
    elif kind == "csv":
        dataset.to_csv(path)
    elif kind == "disk":
        dataset.save_to_disk(path)
    else:
        datasets.DatasetDict({"train": dataset}).save_to_disk(path)
    assert [example.problem for example in load_pool(str(path))] == ["a", "b"]


def test_bad_pools_are_answered_with_what_was_wrong(tmp_path: Path):
    dataset = datasets.Dataset.from_dict({"question": ["a"], "solution": ["1"]})
    with pytest.raises(
        ValueError, match=r"no column 'problem' \(`prompt_column`\); its columns are question, solution"
    ):
        build_pool(dataset)
    with pytest.raises(ValueError, match="is empty"):
        build_pool(datasets.Dataset.from_dict({"problem": [], "solution": []}))
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match="is empty"):
        load_pool(str(tmp_path / "empty.jsonl"))
    with pytest.raises(FileNotFoundError, match="There is no dataset file"):
        load_pool(str(tmp_path / "none.jsonl"))
    with pytest.raises(ValueError, match="No row of the pool"):
        build_pool(datasets.Dataset.from_dict({"problem": ["a"], "solution": [""]}))


def test_a_stream_is_refused(pool_file: str):
    stream = datasets.load_dataset("json", data_files=pool_file, split="train", streaming=True)
    with pytest.raises(ValueError, match="streaming"):
        build_pool(stream)  # type: ignore[arg-type]


def test_real_gsm8k(shared: Path):
    pool = load_pool(str(shared / "gsm8k" / "train.jsonl"), prompt_column="question", completion_column="answer")
    assert len(pool) == 7473
    last = [json.loads(line) for line in (shared / "gsm8k" / "train.jsonl").read_text().splitlines()][-1]
    assert pool[7472].problem == last["question"]
    assert all("\\boxed{" in example.completion and "<<" not in example.completion for example in pool)
