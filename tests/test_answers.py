"""The lines of generations and verdicts: what is written is read again, and what is broken is named."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from circuitseer_trl.answers import (
    Sample,
    VerdictLine,
    file_digest,
    json_lines,
    read_samples,
    read_verdict_lines,
    sample_line,
    verdict_text,
)


def test_samples_are_read_as_they_were_written(tmp_path: Path):
    samples = [
        Sample("x-0", True, 0, "a\u2028b\nc", 3, "stop", 42, "f0"),
        Sample("x-0", False, 0, "é", None, None, 42, "f0"),
    ]
    (tmp_path / "x.jsonl").write_bytes(b"".join(map(sample_line, samples)))
    assert list(read_samples(tmp_path / "x.jsonl").values()) == samples
    (tmp_path / "x.jsonl").write_bytes(sample_line(Sample("x-0", True, 0, "a\ud800")))  # has no UTF-8 form
    assert read_samples(tmp_path / "x.jsonl")["x-0", True, 0].text == "a?"


def test_verdicts_are_read_as_they_were_written(tmp_path: Path):
    of_first = {"id": "x-0", "verdict": False, "question": "?", "reference": "1", "erratum": "2"}
    lines = [
        VerdictLine(greedy=True, reason="no_answer", undecided=False, **of_first),
        VerdictLine(extracted="7", reason="timeout", undecided=True, vote_class=0, **of_first),
        VerdictLine(id="x-1", verdict=True, reason="value", undecided=False, vote_class=0, question="!", reference=""),
    ]
    text = verdict_text(lines)
    # The text of a problem is on its first line alone.
    assert text == (
        '{"id": "x-0", "greedy": true, "sample": 0, "extracted": null, "verdict": false, "reason": "no_answer", '
        '"undecided": false, "vote_class": null, "question": "?", "reference": "1", "erratum": "2"}\n'
        '{"id": "x-0", "greedy": false, "sample": 0, "extracted": "7", "verdict": false, "reason": "timeout", '
        '"undecided": true, "vote_class": 0}\n'
        '{"id": "x-1", "greedy": false, "sample": 0, "extracted": null, "verdict": true, "reason": "value", '
        '"undecided": false, "vote_class": 0, "question": "!", "reference": ""}\n'
    )
    (tmp_path / "verdicts.jsonl").write_text(text)
    assert read_verdict_lines(tmp_path / "verdicts.jsonl") == lines
    (tmp_path / "verdicts.jsonl").write_text("".join(reversed(text.splitlines(keepends=True))))
    assert read_verdict_lines(tmp_path / "verdicts.jsonl") == lines[::-1]


def test_a_torn_last_line_of_samples_counts_as_not_written(tmp_path: Path):
    whole = [Sample("x-0", True, 0, "é", 3, "stop", 42, "f0"), Sample("x-1", True, 0, "é", 3, "stop", 42, "f0")]
    content = b"".join(map(sample_line, whole))
    path = tmp_path / "x.jsonl"
    end = len(sample_line(whole[0]))
    for cut in (end + 1, content.index("é".encode(), end) + 1, len(content) - 1):  # also within a letter
        path.write_bytes(content[:cut])
        assert list(read_samples(path).values()) == whole[:1]
    path.write_bytes(content[:-1])
    assert [row["id"] for _, row in json_lines(path)] == ["x-0", "x-1"]  # a file of someone else may end so


def test_every_flipped_bit_of_a_sample_is_noticed(tmp_path: Path):
    """The line is refused, torn, or reads as it was: never as another sample."""
    sample = Sample("x-0", True, 0, "so \\boxed{12}", 3, "stop", 42, "f0", "a1")
    line, path = sample_line(sample), tmp_path / "x.jsonl"
    num_refused = 0
    for position in range(len(line)):
        for bit in range(8):
            changed = bytearray(line)
            changed[position] ^= 1 << bit
            path.write_bytes(bytes(changed))
            try:
                found = read_samples(path)
            except ValueError as error:
                num_refused += 1
                assert f"of {path}" in str(error)  # noqa: PT017
            else:
                # What is left is a key that the reader does not know, or the end of the line.
                key = bytes(changed).count(b'"check"') == 0
                assert list(found.values()) in ([], [sample]), (position, bit, changed)
                assert found == {} or key or position >= len(line) - 1
    assert num_refused > 0.9 * 8 * len(line)


def test_lines_of_other_versions(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": 7, "verdict": true, "extracted": "1", "reason": "value", "seconds": 0.1}\n\n')
    assert read_verdict_lines(path) == [VerdictLine(id="7", extracted="1", verdict=True, reason="value")]
    path.write_text('{"id": "a", "greedy": false, "sample": 1, "text": "t", "of_tomorrow": 1}\n')
    assert read_samples(path) == {("a", False, 1): Sample("a", False, 1, "t")}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Line 2 of .*x.jsonl is not a verdict"),
        ("[1]", "Line 2 of .* is not a JSON object"),
        ('{"verdict": true}', "Line 2 of .* is not a verdict .*'id'"),
        ('{"id": "a"}', "Line 2 of .* is not a verdict .*'verdict'"),
        ('{"id": "a", "verdict": null}', "Line 2 of .* has the verdict None"),
    ],
)
def test_broken_verdicts_are_named(tmp_path: Path, line: str, message: str):
    (tmp_path / "x.jsonl").write_text(f'{{"id": "a", "verdict": true}}\n{line}\n')
    with pytest.raises(ValueError, match=message):
        read_verdict_lines(tmp_path / "x.jsonl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": 5}, "`text` must be of type str, got 5"),
        ({"greedy": 1}, "`greedy` must be of type bool, got 1"),
        ({"sample": -1}, "`sample` must be of type int, at least 0, got -1"),
        ({"sample": True}, "`sample` must be of type int, at least 0, got True"),
        ({"num_tokens": "3"}, "`num_tokens` must be of type int or null"),
        ({"id": None}, "`id` must be of type str, got None"),
        ({"finish_reason": "tired"}, "the `finish_reason` 'tired'. It must be one of stop, length, prompt_too_long"),
        ({"finish_reason": ["stop"]}, "the `finish_reason`"),
        ({"check": "0"}, "is not as it was written"),
    ],
)
def test_samples_of_wrong_types_are_named(tmp_path: Path, changes: dict, message: str):
    good = sample_line(Sample("x-0", True, 0, "a")).decode()
    row = {"id": "x-1", "greedy": True, "sample": 0, "text": "b"} | changes
    (tmp_path / "x.jsonl").write_text(f"{good}{json.dumps(row)}\n")
    with pytest.raises(ValueError, match=f"Line 2 of .*x.jsonl.*{re.escape(message)}"):
        read_samples(tmp_path / "x.jsonl")


def test_broken_samples_are_named(tmp_path: Path):
    good = sample_line(Sample("x-0", True, 0, "a")).decode()
    deep = "[" * 100_000
    for line in ("{}", "{", '{"id": "x-1", "text": "b", "greedy": true}', "5", good[:30] + good.strip(), deep):
        (tmp_path / "x.jsonl").write_text(f"{good}{line}\n{good}")
        with pytest.raises(ValueError, match=r"Line 2 of .* is not a (sample|JSON object)"):
            read_samples(tmp_path / "x.jsonl")


def test_two_answers_for_one_key_are_named(tmp_path: Path):
    lines = [sample_line(Sample("x-0", True, 0, text)) for text in ("a", "a", "b")]
    (tmp_path / "x.jsonl").write_bytes(b"".join(lines[:2]))  # a kill between merging and deleting leaves such
    assert len(read_samples(tmp_path / "x.jsonl")) == 1
    (tmp_path / "x.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match=r"Line 3 of .*x.jsonl is another answer to x-0 \(greedy\)"):
        read_samples(tmp_path / "x.jsonl")


def test_verdicts_of_another_evaluation_are_named(tmp_path: Path):
    """Every reader of verdicts checks them against the results that were computed from them."""
    path = tmp_path / "verdicts" / "x.jsonl"
    path.parent.mkdir()
    path.write_text('{"id": "a", "greedy": true, "sample": 0, "verdict": true}\n')
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"benchmarks": {"x": {"verdicts_digest": file_digest(path)}}}))
    assert len(read_verdict_lines(path)) == 1
    path.write_text(path.read_text().replace("true}", "false}"))
    with pytest.raises(ValueError, match=r"x.jsonl does not fit .*results.json"):
        read_verdict_lines(path)
    for old in ('{"benchmarks": {"x": {}}}', '{"benchmarks": {}}', "{}"):  # of version 0.1.0, or of other benchmarks
        results.write_text(old)
        assert len(read_verdict_lines(path)) == 1
    results.write_text("{")
    with pytest.raises(ValueError, match=r"results.json is not JSON"):
        read_verdict_lines(path)


def test_a_verdict_that_stands_twice_is_named(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": "a", "greedy": false, "sample": 1, "verdict": true}\n' * 2)
    with pytest.raises(ValueError, match=r"Line 2 of .* another verdict on a \(sample 1\)"):
        read_verdict_lines(path)
    path.write_text('{"id": "a", "verdict": true}\n' * 2)  # of `circuitseer grade`, whose ids are the user's
    assert len(read_verdict_lines(path)) == 2


def test_the_reader_is_light():
    code = "import sys, circuitseer_trl.answers; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "datasets", "pyarrow", "numpy", "circuitseer_trl.evaluation"} & set(loaded)
