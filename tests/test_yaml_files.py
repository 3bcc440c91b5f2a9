"""YAML files: an error names the file and the line; nothing in a file takes long or runs."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitseer_trl.yaml_files import MAX_BYTES, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 30)
)


def read(folder: Path, content: bytes) -> dict:
    path = folder / "recipe.yaml"
    path.write_bytes(content)
    return read_yaml(path)


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"", {}),
        (b"# nothing\n", {}),
        (b"\xef\xbb\xbfa: 1", {"a": 1}),
        (b"a: &x {b: 1}\nc: {<<: *x, d: *x}", {"a": {"b": 1}, "c": {"b": 1, "d": {"b": 1}}}),
        (b"a: '!x'", {"a": "!x"}),
    ],
)
def test_what_is_read(tmp_path: Path, content: bytes, values: dict):
    assert read(tmp_path, content) == values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb:\n  - c: 1\n    c: 2", "line 4: the key `c` is already in line 3"),
        (b"a: 1\nb: {c: {d: 1, d: 2}}", "line 2: the key `d` is already in line 2"),
        (BOMB.encode(), r"line \d: aliases make more than 100000 values"),
        (b"a: 1\nb: &b [*b]", "line 2: an alias stands within what it names"),
        (b"a: 1\nb: !!python/object/apply:os.system [ls]", "line 2: it has the tag .*os.system'"),
        (b"a: !!set {b}", "line 1: it has the tag"),
        (b"a: [1\n\tb: 2", "line 2: "),
        (b"a: 1\nb: \xff", "is not UTF-8 text: line 2"),
        ("a: 1".encode("utf-16"), "is not UTF-8 text: line 1"),
        (b'a: "\\ud800"', "line 1: the text has half of a surrogate pair"),
        (b"a: 'x\0'", "special characters are not allowed"),
        (b"[" * 5000, "nested too deeply"),
        (b"? [1]\n: 2", "line 1: a key must be one word"),
        (b"1: 2", "has the key 1, which is no word"),
        (b"a: 1\nb: 0x_", "line 2: '0x_' is no value"),
        (b"- a", "must be a mapping of keys to values, got a list"),
        (b"text", "must be a mapping of keys to values, got a str"),
        (b"false", "must be a mapping of keys to values, got a bool"),
        (b"a: 1\n---\nb: 2", "line 2: "),
        (b"#" * (MAX_BYTES + 1), "so it is no YAML file of settings"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(ValueError, match=rf"recipe\.yaml.*{message}"):
        read(tmp_path, content)


SIGNS = [*list("[]{},:&*!?|>-'\"%@\\ \n\ta1#"), "a: ", "&a ", "*a", "<<: ", "- ", "!!int ", "--- ", "0x_", "\n  "]
FOREIGN = st.binary(max_size=100) | st.lists(st.sampled_from(SIGNS)).map(lambda signs: "".join(signs).encode())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FOREIGN)
def test_any_bytes_are_read_or_refused_with_the_name(tmp_path: Path, content: bytes):
    refused = ""
    try:
        assert isinstance(read(tmp_path, content), dict)
    except ValueError as error:
        refused = str(error)
    assert not refused or "recipe.yaml" in refused
