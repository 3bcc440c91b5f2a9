"""Every kind of pool becomes rows of problem and solution; what cannot be used is dropped with a reason."""

import json
from pathlib import Path

import datasets
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


def test_uids_name_content_and_are_distinct(pool_file: str):
    pool = load_pool(pool_file)
    assert len(set(pool.uids)) == 12
    dataset = datasets.Dataset.from_dict({"problem": ["a", "a", "b"], "solution": ["1", "1", "1"]})
    twice = build_pool(dataset)
    assert twice.uids[1] == twice.uids[0] + "-2"
    shuffled = build_pool(dataset.select([2, 0, 1]))
    assert set(shuffled.uids) == set(twice.uids)
    assert shuffled.fingerprint != twice.fingerprint


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


def test_a_broken_file_is_named_with_what_is_wrong(tmp_path: Path):
    (tmp_path / "torn.jsonl").write_text('{"problem": "a", "solution": "b"}\n{"problem":\n')
    with pytest.raises(ValueError, match=r"torn\.jsonl is not a json file that can be read: .*JSON"):
        load_pool(str(tmp_path / "torn.jsonl"))


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
