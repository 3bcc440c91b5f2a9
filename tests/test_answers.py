"""The lines of generations and verdicts: what is written is read again, and what is broken is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from circuitseer_trl.answers import Sample, VerdictLine, json_line, json_lines, read_samples, read_verdict_lines


def test_lines_are_read_as_they_were_written(tmp_path: Path):
    samples = [
        Sample("x-0", True, 0, "a\u2028b\nc", 3, "stop", 42, "f0"),
        Sample("x-0", False, 0, "é", None, None, 42, "f0"),
    ]
    (tmp_path / "x.jsonl").write_text("".join(map(json_line, samples)), encoding="utf-8")
    assert list(read_samples(tmp_path / "x.jsonl").values()) == samples
    line = VerdictLine(id="x-0", greedy=True, sample=0, extracted=None, verdict=False, reason="no_answer", question="?")
    # The keys and their order are those of every file written before.
    assert json_line(line) == (
        '{"id": "x-0", "greedy": true, "sample": 0, "extracted": null, "verdict": false, "reason": "no_answer", '
        '"question": "?"}\n'
    )
    (tmp_path / "verdicts.jsonl").write_text(json_line(line))
    assert read_verdict_lines(tmp_path / "verdicts.jsonl") == [line]


def test_a_torn_last_line_of_samples_counts_as_not_written(tmp_path: Path):
    whole = [Sample("x-0", True, 0, "é", 3, "stop", 42, "f0"), Sample("x-1", True, 0, "é", 3, "stop", 42, "f0")]
    content = "".join(map(json_line, whole)).encode()
    path = tmp_path / "x.jsonl"
    end = len(json_line(whole[0]).encode())
    for cut in (end + 1, content.index("é".encode(), end) + 1, len(content) - 1):  # also within a letter
        path.write_bytes(content[:cut])
        assert list(read_samples(path).values()) == whole[:1]
    path.write_bytes(content[:-1])
    assert [row["id"] for _, row in json_lines(path)] == ["x-0", "x-1"]  # a file of someone else may end so


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


def test_broken_samples_are_named(tmp_path: Path):
    good = json_line(Sample("x-0", True, 0, "a"))
    for line in ("{}", "{", '{"id": "x-1", "text": "b", "greedy": true}'):
        (tmp_path / "x.jsonl").write_text(f"{good}{line}\n")
        with pytest.raises(ValueError, match=r"Line 2 of .* is not a sample"):
            read_samples(tmp_path / "x.jsonl")


def test_the_reader_is_light():
    code = "import sys, circuitseer_trl.answers; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "datasets", "pyarrow", "numpy", "circuitseer_trl.evaluation"} & set(loaded)
