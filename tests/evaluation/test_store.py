"""The answers on disk: what is torn, damaged or foreign is named, and generated again where it can be."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from circuitseer_trl.answers import Sample, read_samples, sample_line
from circuitseer_trl.evaluation.answering.backends.base import Request
from circuitseer_trl.evaluation.answering.schedule import missing_requests
from circuitseer_trl.evaluation.answering.store import SampleStore
from circuitseer_trl.evaluation.benchmark_files import check_benchmark_name

REQUESTS = [Request(f"x-{number}", (), "f0", False, sample) for number in range(2) for sample in range(2)]
SAMPLES = [Sample(each.id, False, each.sample, f"text {each.id}", 3, "stop", 42, "f0") for each in REQUESTS]
LINES = [sample_line(sample) for sample in SAMPLES]


def write(folder: Path, *lines: bytes) -> SampleStore:
    (folder / "x.jsonl").write_bytes(b"".join(lines))
    return SampleStore(folder, "x")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda line: line[:25] + b"\n", "Line 3 of {} is not a sample"),
        (lambda line: line[:25] + LINES[0], "Line 3 of {} is not a sample"),  # a full disk, and then an append
        (lambda line: b"\x00" * len(line) + b"\n", "Line 3 of {} is not a sample"),
        (lambda line: line.replace(b"text", b"t\xffxt"), "Line 3 of {} is not a sample"),
        (lambda line: line.replace(b"text x", b"text y"), "Line 3 of {} is not as it was written"),
        (lambda line: line.replace(b'"stop"', b'"stap"'), "Line 3 of {} is not as it was written"),
        (lambda line: b'{"id": "x-1", "greedy": false, "sample": 0, "text": null}\n', "`text` must be of type str"),
        (lambda line: line + line.replace(b"text x", b"text y"), "Line 4 of {} is not as it was written"),
        (lambda line: b"", None),
    ],
)
def test_a_damaged_line_is_named_and_its_answer_made_again(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str | None
):
    store = write(tmp_path, *LINES[:2], damage(LINES[2]), LINES[3])
    found = store.examine()
    assert all(found.samples[sample.key] == sample for sample in SAMPLES if sample.key in found.samples)
    assert [text for text in found.broken if (message or "").format(store.path) in text] == found.broken
    assert bool(found.broken) == (message is not None)
    missing = missing_requests(found, REQUESTS, {"x-0", "x-1"})
    assert missing in ([], [REQUESTS[2]], REQUESTS[2:3])
    assert {(each.id, each.sample) for each in missing} == {
        (each.id, each.sample) for each in REQUESTS if (each.id, False, each.sample) not in found.samples
    }
    store.append(sample for sample in SAMPLES if sample.key not in found.samples)
    store.merge(["x-0", "x-1"])
    assert store.path.read_bytes() == b"".join(LINES)


def test_of_two_answers_for_one_key_neither_counts(tmp_path: Path):
    other = sample_line(Sample("x-0", False, 1, "another", 3, "stop", 42, "f0"))
    store = write(tmp_path, *LINES, LINES[0], other)  # the first line twice is no contradiction
    found = store.examine()
    assert found.broken == [f"Line 6 of {store.path} and Line 2 of {store.path} are two answers to x-0 (sample 1)."]
    assert missing_requests(found, REQUESTS, {"x-0", "x-1"}) == [REQUESTS[1]]


def test_other_prompts_problems_and_settings_are_refused(tmp_path: Path):
    stale = sample_line(Sample("x-1", False, 0, "text", 3, "stop", 42, "f1"))
    with pytest.raises(
        ValueError, match=r"Line 2 of .*x.jsonl answers x-1 \(sample 0\), another prompt than it has now"
    ):
        missing_requests(write(tmp_path, LINES[0], stale).examine(), REQUESTS, {"x-0", "x-1"})
    with pytest.raises(ValueError, match=r"Line 3 of .* x-1 \(sample 0\), which is no problem of the benchmark"):
        missing_requests(write(tmp_path, *LINES).examine(), REQUESTS[:2], {"x-0"})
    # A problem beyond `limit` is one of the benchmark.
    assert missing_requests(write(tmp_path, *LINES).examine(), REQUESTS[:2], {"x-0", "x-1"}) == []

    ours = SampleStore(tmp_path / "ours", "x", made_with="a")
    ours.append(SAMPLES)
    assert ours.read().keys() == {sample.key for sample in SAMPLES}
    assert {sample.made_with for sample in ours.read().values()} == {"a"}
    with pytest.raises(ValueError, match=r"Line 1 of .* evaluation with other settings"):
        SampleStore(tmp_path / "ours", "x", made_with="b").examine()
    assert len(SampleStore(tmp_path, "x", made_with="b").read()) == 4  # of version 0.1.0, which does not say it


def test_parts_of_ranks_are_told_from_benchmarks(tmp_path: Path):
    """`quiz` once took `quiz.ranked` for a part, and deleted it."""
    names = ["quiz", "quiz.ranked", "quiz-2", "Ärzte_1.2"]
    for name in names:
        check_benchmark_name(name)
        for rank in (0, 1, 12):
            SampleStore(tmp_path, name, rank).append([Sample(name, True, rank, name)])
    for name in names:
        assert len(SampleStore(tmp_path, name).read()) == 3
        SampleStore(tmp_path, name).merge([name])
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.jsonl" for name in names}
    assert all(len(read_samples(tmp_path / f"{name}.jsonl")) == 3 for name in names)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "quiz.rank1", "quiz[1]", "", ".", "..", ".x", "x.", "a b", "x\n", "-x", 5]
)
def test_names_that_are_no_files_are_refused(name: object):
    with pytest.raises(ValueError, match="A benchmark cannot be called"):
        check_benchmark_name(name)


def answer_again(folder: Path) -> None:
    """Makes the missing answers of a folder again."""
    from accelerate import PartialState

    from circuitseer_trl.evaluation.answering.backends.base import Job, SamplingSettings
    from circuitseer_trl.evaluation.answering.backends.replay import ReplayBackend
    from circuitseer_trl.evaluation.answering.schedule import Wanted, answer_all

    (folder / "given").mkdir()
    (folder / "given" / "x.jsonl").write_bytes(b"".join(LINES))
    backend, job = ReplayBackend(str(folder / "given")), Job("m", None, None, SamplingSettings(5))
    answer_all([Wanted(folder, "x", REQUESTS, {"x-0", "x-1"})], backend, job, PartialState(cpu=True))


def test_an_answer_that_was_there_twice_is_made_again(tmp_path: Path):
    write(tmp_path, *LINES, sample_line(Sample("x-0", False, 1, "another", 3, "stop", 42, "f0")))
    answer_again(tmp_path)
    assert (tmp_path / "x.jsonl").read_bytes() == b"".join(LINES)


def test_the_main_process_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write(tmp_path, b"{\n" * 9)
    with caplog.at_level(logging.WARNING):
        answer_again(tmp_path)
    [record] = [each for each in caplog.records if "left out" in each.message]
    assert (
        f"{tmp_path / 'x.jsonl'}: 9 lines are left out, and their answers are generated again. Line 1 of"
        in record.message
    )
    assert "(and 6 more)" in record.message
    assert (tmp_path / "x.jsonl").read_bytes() == b"".join(LINES)
