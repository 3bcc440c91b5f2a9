"""The rows of JSONL, JSON and CSV files: what is read, and what is refused with the file and the line."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitseer_trl.pool import file_rows
from circuitseer_trl.pool.file_rows import READERS

BOM = b"\xef\xbb\xbf"
DEEP = b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}"


def rows(folder: Path, name: str, content: bytes) -> list[tuple[int, dict]]:
    path = folder / name
    path.write_bytes(content)
    return [(row.line, row.values) for row in READERS[path.suffix](path, name)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"a": 1}\n\n {"a": null}\r\n', [(1, {"a": 1}), (3, {"a": None})]),
        (BOM + b'{"a": "\xe2\x80\xa8"}', [(1, {"a": "\u2028"})]),
        (b'{"a": 1}\n{"b": [{"c": "x"}]}', [(1, {"a": 1}), (2, {"b": [{"c": "x"}]})]),
        (BOM + b' [\n{"a": 1},\n\n{"a": 2} , {"a": 3}]\n', [(2, {"a": 1}), (4, {"a": 2}), (4, {"a": 3})]),
        (b"[]", []),
        (b"", []),
        (b" \n\n", []),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_json_rows(tmp_path: Path, suffix: str, content: bytes, expected: list):
    assert rows(tmp_path, f"pool{suffix}", content) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a":\n', "Line 2 of pool.jsonl is not a row in JSON: Expecting value at character 6"),
        (b'{"a": 1}\n\n{"a": 1} x', "Line 3 of pool.jsonl is not a row in JSON: Extra data"),
        (b'{"a": 1}\n{"b": {"c": 1, "c": 2}}', "Line 2 of pool.jsonl is not a row in JSON: the key 'c' is there twice"),
        (b'{"a": 1}\n[1]', "Line 2 of pool.jsonl is not a row in JSON: it must be an object, but is [1]"),
        (b'{"a": 1}\n{"a": "\xff"}', "Line 2 of pool.jsonl is not UTF-8 text"),
        ("\ufeff{}".encode("utf-16-le"), "Line 1 of pool.jsonl is not UTF-8 text"),
        (DEEP, "Line 1 of pool.jsonl is not a row in JSON: its lists and objects are more than 32 levels deep"),
        (b"[" * 100_000, "Line 1 of pool.jsonl is not a row in JSON: it is nested too deeply"),
        (b"\0\0\n", "Line 1 of pool.jsonl is not a row in JSON"),
        (b'[{"a": 1},\n{"a": 2},\n]', "Line 3 of pool.jsonl is not a row in JSON: Expecting value"),
        (b'[{"a": 1}\n{"a": 2}]', "Line 2 of pool.jsonl: the array has no comma or bracket here"),
        (b'[{"a": 1},\n{"a": 2', "Line 2 of pool.jsonl is not a row in JSON"),
        (b'[{"a": 1}]\n[]', "Line 2 of pool.jsonl: the array has no comma or bracket here, or text after its end"),
        (b"[\n1]", "Line 2 of pool.jsonl is not a row in JSON: it must be an object, but is 1"),
    ],
)
def test_broken_json_names_file_and_line(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        rows(tmp_path, "pool.jsonl", content)


def test_an_array_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    values = [{"a": "x" * (7 * place % 60), "b": [place]} for place in range(50)]
    for chunk in (1, 2, 7, 64):
        monkeypatch.setattr(file_rows, "_CHUNK", chunk)
        read = rows(tmp_path, "pool.json", json.dumps(values, indent=1).encode())
        assert [row for _, row in read] == values
        assert [line for line, _ in read] == [2 + 6 * place for place in range(50)]  # an object takes six lines


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            BOM + b'a,b\r\n"x, ""y""\nz",2\r\n\r\n,3\r\n',
            [(2, {"a": 'x, "y"\nz', "b": "2"}), (5, {"a": None, "b": "3"})],
        ),
        (b",b\n0,NA\n", [(2, {"Unnamed: 0": "0", "b": "NA"})]),
        (b"a\n007\n", [(2, {"a": "007"})]),
        (b'a\n"' + b"x" * 200_000 + b'"\n', [(2, {"a": "x" * 200_000})]),
        (b"a,b\n", []),
        (b"\n \n", []),
    ],
)
def test_csv_rows(tmp_path: Path, content: bytes, expected: list):
    assert rows(tmp_path, "pool.csv", content) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'a,b\n"1\n1",2\n1,2,3\n', "Line 4 of pool.csv has 3 fields, but the header has 2"),
        (b"a,b\n1\n", "Line 2 of pool.csv has 1 fields, but the header has 2"),
        (b"a,b,a\n1,2,3\n", "The header of pool.csv has the column 'a' twice"),
        (b'a,b\n1,2\n"1,2\n3,4\n', "Line 3 of pool.csv is not CSV: unexpected end of data"),
        (b'a,b\n"1"x,2\n', "Line 2 of pool.csv is not CSV"),
        (b"a,b\n1,\xe4\n", "Line 2 of pool.csv is not UTF-8 text"),
    ],
)
def test_broken_csv_names_file_and_line(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        rows(tmp_path, "pool.csv", content)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
# Pieces of which a broken file is made are likelier to get far than random bytes are.
SIGNS = [bytes([sign]) for sign in b'[]{},:"\\ \n\r1a-\0\xff']
PIECES = [*SIGNS, BOM, b"null", b'{"a":', b'{"a":1}', b"a,b\n"]
FOREIGN = st.binary() | st.lists(st.sampled_from(PIECES)).map(b"".join)


@FUZZ
@given(st.lists(st.dictionaries(st.text(), JSON_VALUES, max_size=3), min_size=1), st.booleans())
def test_what_json_writes_is_read(tmp_path: Path, values: list[dict], as_array: bool):
    text = json.dumps(values) if as_array else "\n".join(map(json.dumps, values))
    assert [row for _, row in rows(tmp_path, "pool.json", text.encode())] == values


@FUZZ
@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1))
def test_what_csv_writes_is_read(tmp_path: Path, values: list[tuple[str, str]]):
    written = io.StringIO(newline="")
    csv.writer(written).writerows([("a", "b"), *values])
    try:
        content = written.getvalue().encode()
    except UnicodeEncodeError:
        return
    read = rows(tmp_path, "pool.csv", content)
    assert [(row["a"], row["b"] or "") for _, row in read] == values


@FUZZ
@given(FOREIGN, st.sampled_from(sorted(READERS)))
def test_any_bytes_are_read_or_refused_with_the_name(tmp_path: Path, content: bytes, suffix: str):
    refused = ""
    try:
        rows(tmp_path, f"pool{suffix}", content)
    except ValueError as error:
        refused = str(error)
    assert not refused or f"pool{suffix}" in refused
