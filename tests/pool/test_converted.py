"""JSONL, JSON and CSV files become Parquet once, under a key of their content; what is stale or broken is never read."""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from circuitseer_trl.pool import converted
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.sources import read_dataset
from tests.pool.test_file_rows import FOREIGN, JSON_VALUES


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache" / "circuitseer_trl"


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def to_jsonl(path: Path, texts: list[str]) -> None:
    write(path, *({"problem": text, "solution": "s"} for text in texts))


def to_csv(path: Path, texts: list[str]) -> None:
    path.write_text("problem,solution\n" + "".join(f"{text},s\n" for text in texts))


def to_parquet(path: Path, texts: list[str]) -> None:
    datasets.Dataset.from_dict({"problem": texts, "solution": ["s"] * len(texts)}).to_parquet(path)


def to_folder(path: Path, texts: list[str]) -> None:
    path.mkdir(exist_ok=True)
    to_csv(path / "train.csv", texts)


@pytest.mark.parametrize(
    ("name", "write_pool"),
    [("p.jsonl", to_jsonl), ("p.csv", to_csv), ("p.parquet", to_parquet), ("p", to_folder)],
)
def test_other_content_is_read_though_its_time_is_the_same(tmp_path: Path, name: str, write_pool: Callable):
    path = tmp_path / name
    for texts in (["a", "b"], ["a", "c"], ["a", "b"]):
        write_pool(path, texts)
        for each in [path, *path.rglob("*")]:
            os.utime(each, (1, 1))
        assert [example.problem for example in load_pool(str(path))] == texts


def test_a_saved_dataset_is_known_by_its_content(tmp_path: Path):
    for name, text in (("a", "x"), ("b", "y")):
        datasets.Dataset.from_dict({"problem": [text], "solution": ["s"]}).save_to_disk(tmp_path / name)
        assert load_pool(str(tmp_path / name))[0].problem == text
    [new], [old] = ([*(tmp_path / name).glob("data-*.arrow")] for name in ("b", "a"))
    shutil.copy(new, old)
    assert load_pool(str(tmp_path / "a"))[0].problem == "y"


def test_a_changed_reader_reads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "p.jsonl", {"problem": "a", "solution": "s"})
    load_pool(str(path))
    monkeypatch.setattr(
        "circuitseer_trl.pool.build.usable_text", lambda *_: {"problem": "x", "completion": "y", "reason": ""}
    )
    assert load_pool(str(path))[0].problem == "a"  # the result is cached, and the version is the same
    monkeypatch.setattr("circuitseer_trl.pool.build.READER_VERSION", 0)
    assert load_pool(str(path))[0].problem == "x"


def test_a_broken_copy_is_made_again(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture):
    path = write(tmp_path / "p.jsonl", {"a": 1}, {"a": 2})
    read_dataset(str(path))
    [folder] = cache.iterdir()
    (folder / converted.FILE).write_bytes(b"PAR1")
    assert read_dataset(str(path))["a"] == [1, 2]
    assert f"{folder} of {path} is broken" in caplog.text


def test_processes_that_convert_at_once_agree(tmp_path: Path, cache: Path):
    path = write(tmp_path / "p.jsonl", *({"a": number} for number in range(100)))
    folder = converted.content_folder({str(path): path})
    with ThreadPoolExecutor(4) as workers:
        list(workers.map(lambda _: converted._make({str(path): path}, folder), range(8)))
    assert [each.name for each in cache.iterdir()] == [folder.name]  # nothing temporary is left
    assert pq.read_table(folder / converted.FILE)["a"].to_pylist() == list(range(100))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    path, other = write(tmp_path / "p.jsonl", {"a": 1}), write(tmp_path / "q.jsonl", {"a": 2})
    convert = converted.convert
    monkeypatch.setattr(converted, "convert", lambda *words: (convert(*words), shutil.copy(other, path)))
    with pytest.raises(ValueError, match=r"p\.jsonl changed while it was read"):
        read_dataset(str(path))
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, 2], datasets.Value("int64")),
        ([1, 2.5], datasets.Value("float64")),
        ([2**60 + 1, 0.5], datasets.Json()),  # no float holds the first
        (["x", 5, None, [1, "y"], {"z": None}], datasets.Json()),
        ([{}], datasets.Json()),
        ([None], datasets.Value("null")),
        (["2024-01-01"], datasets.Value("string")),
        ([[1], [2.5], []], datasets.List(datasets.Value("float64"))),
    ],
)
@pytest.mark.parametrize("group_rows", [1, 10])
def test_types_of_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list, kind: object, group_rows: int):
    monkeypatch.setattr(converted, "GROUP_ROWS", group_rows)
    path = write(tmp_path / "p.jsonl", *({"a": value} for value in values))
    if group_rows == 1 and values[0] == 2**60 + 1:
        with pytest.raises(ValueError, match=r"Line 1 of .*p\.jsonl: `a` cannot be stored"):
            read_dataset(str(path))
        return
    read = read_dataset(str(path))
    assert read.features == {"a": kind}
    assert list(read["a"]) == values


def test_row_groups_are_bounded(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(converted, "GROUP_ROWS", 4)
    rows = [{"a": number, "b" if number % 2 else "c": "x"} for number in range(10)]
    read = read_dataset(str(write(tmp_path / "p.jsonl", *rows)))
    assert [{key: value for key, value in row.items() if value is not None} for row in read] == rows
    [folder] = cache.iterdir()
    metadata = pq.read_metadata(folder / converted.FILE)
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4, 4, 2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "p.jsonl",
            '{"a": "x"}\n{"a": "\\ud800"}',
            r"Line 2 of .*p\.jsonl: `a` cannot be stored: half of a surrogate pair",
        ),
        ("p.jsonl", '{"a": "x"}\n{"a": [1, 9999999999999999999999]}', r"Line 2 of .*p\.jsonl: `a` cannot be stored"),
        ("p.jsonl", "\n \n", r"The pool .*p\.jsonl is empty"),
        ("p.jsonl", "{}\n", r"The pool .*p\.jsonl is empty: it has no rows with values"),
        ("p.jsonl", json.dumps(dict.fromkeys(map(str, range(1001)), 1)), r"p\.jsonl have more than 1000 keys"),
        ("p.json", "[]", r"The pool .*p\.json is empty"),
        ("p.csv", "a,b\n", r"The pool .*p\.csv is empty"),
        ("p.csv", "a,b\n1,2,3\n", r"Line 2 of .*p\.csv has 3 fields"),
        ("p.txt", "x", r"Cannot tell what kind of file .*p\.txt is"),
        ("p.parquet", "x", r"p\.parquet is not a parquet file that can be read"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str, text: str, message: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_dataset(str(tmp_path / name))


def test_a_folder_has_the_rows_of_its_split(tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train-1.jsonl").write_text('{"a": 1}\n')
    (folder / "train-2.jsonl").write_text('{"a": "x"}\n')
    (folder / "test.jsonl").write_text('{"a": ')
    assert list(read_dataset(str(folder))["a"]) == [1, "x"]
    with pytest.raises(ValueError, match=r"Line 1 of .*test\.jsonl is not a row in JSON"):
        read_dataset(str(folder), split="test")
    with pytest.raises(ValueError, match="no files of the split 'dev'; it has train, test"):
        read_dataset(str(folder), split="dev")


FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(FOREIGN)
def test_any_lines_are_stored_or_refused(tmp_path: Path, content: bytes):
    _stores_or_names(tmp_path, content)


@FUZZ
@given(JSON_VALUES, JSON_VALUES)
def test_any_values_are_stored_or_refused(tmp_path: Path, one: object, other: object):
    _stores_or_names(tmp_path, (json.dumps({"a": one}) + "\n" + json.dumps({"a": other})).encode())


def _stores_or_names(folder: Path, content: bytes) -> None:
    path, refused = folder / "p.jsonl", ""
    path.write_bytes(content)
    try:
        converted.convert({str(path): path}, folder / "p.parquet")
    except ValueError as error:
        refused = str(error)
    assert not refused or str(path) in refused


@pytest.mark.parametrize("write_pool", [to_jsonl, to_csv, to_parquet])
def test_a_path_is_no_pattern(tmp_path: Path, write_pool: Callable, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a[1] *" / f"x[2]?{write_pool.__name__.replace('to_', '.')}"
    path.parent.mkdir()
    write_pool(path, ["right"])
    write_pool(path.with_name(path.name.replace("?", "y")), ["wrong"])
    monkeypatch.chdir(path.parent)
    assert [read_dataset(name)["problem"][0] for name in (str(path), path.name)] == ["right", "right"]
    with pytest.raises(ValueError, match=r"a\[1\] \* has .* which `datasets` reads as a pattern. Rename the folder"):
        read_dataset(".")
