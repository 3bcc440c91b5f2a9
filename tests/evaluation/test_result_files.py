"""A `results.json` that is cut, changed, foreign, or of other verdicts is refused with what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from circuitseer_trl.answers import file_digest
from circuitseer_trl.artifacts import sealed
from circuitseer_trl.evaluation.paired import compare_runs
from circuitseer_trl.evaluation.result_files import read_results
from tests.helpers.evaluation_folders import write_run


def write_whole(folder: Path, **changes: Any) -> Path:
    """A run whose results have all that this version writes."""
    _, results = write_run(folder, {"x": ["+", "-", "-"], "y": [".++--", ".----"]})
    for name, values in results["benchmarks"].items():
        values |= {"verdicts_digest": file_digest(folder / "verdicts" / f"{name}.jsonl"), "benchmark_checksum": "c0"}
        values |= changes
    (folder / "results.json").write_text(json.dumps(sealed(results), indent=2))
    return folder


def test_whole_results_are_read(tmp_path: Path):
    results = read_results(write_whole(tmp_path / "run"))
    assert results["benchmarks"]["x"]["pass_at_1"] == pytest.approx(1 / 3)
    write_run(tmp_path / "old", {"x": ["+", "-", "-"]})  # without checksums, as of version 0.1.0
    assert read_results(tmp_path / "old")["model"] == "m"


def test_every_cut_and_every_changed_character_is_noticed(tmp_path: Path):
    path = write_whole(tmp_path / "run") / "results.json"
    whole = path.read_text()
    for position in range(0, len(whole) - 1, 7):
        path.write_text(whole[:position])
        with pytest.raises(ValueError, match=r"results\.json"):
            read_results(path.parent)
    digits = [position for position, letter in enumerate(whole) if letter.isdigit()]
    assert len(digits) > 100
    for position in digits:
        changed = whole[:position] + str((int(whole[position]) + 1) % 10) + whole[position + 1 :]
        path.write_text(changed)
        if json.loads(changed) == json.loads(whole):
            continue  # the last digit of a number that has one too many
        with pytest.raises(ValueError, match=r"results\.json"):
            read_results(path.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda results: [], "is not what `circuitseer evaluate` writes: it is no JSON object"),
        (
            lambda results: {"results": {"gsm8k": {"exact_match": 0.5}}},
            "is not what `circuitseer evaluate` writes: it has no key 'model'",
        ),
        (lambda results: results | {"settings": None}, "`settings` must be of type dict, got None"),
        (lambda results: results | {"benchmarks": {}}, "has no benchmarks"),
        (lambda results: results | {"benchmarks": {"x": 5}}, "`x` must be an object, got 5"),
        (
            lambda results: results | {"average": {"pass_at_1": 0.9, "pass_at_1_interval": [0, 1]}},
            "the average Pass@1 is 0.9",
        ),
        (lambda results: results | {"settings": {"vote": "all"}}, "the setting `vote` is 'all'"),
        (lambda results: change_x(results, pass_at_1=None), "`pass_at_1` of x must be a number in .0, 1., got None"),
        (lambda results: change_x(results, pass_at_1=33.3), "`pass_at_1` of x must be a number"),
        (
            lambda results: change_x(results, pass_at_1_interval=[0.5, 0.6]),
            "`pass_at_1_interval` of x must be two numbers around",
        ),
        (lambda results: change_x(results, pass_at_1_interval=None), "`pass_at_1_interval` of x"),
        (lambda results: change_x(results, num_problems="3"), "`num_problems` of x must be a count, got '3'"),
        (lambda results: change_x(results, truncated_ratio=float("nan")), "`truncated_ratio` of x"),
        (lambda results: change_x(results, seconds=None), "`seconds` of x must be a number"),
        (lambda results: without_tokens_of_x(results), "`mean_tokens` of x must be a number, got None"),
        (lambda results: change_x(results, pass_at_k={"k": 1}), "`pass_at_k` of x must be shares by k"),
    ],
)
def test_foreign_results_are_named(tmp_path: Path, change: Callable[[dict], Any], message: str):
    folder, results = write_run(tmp_path / "run", {"x": ["+", "-", "-"]})
    (folder / "results.json").write_text(json.dumps(change(results)))
    with pytest.raises(
        ValueError, match=rf"results\.json.*{message}.*(D|d)elete it and run `circuitseer evaluate` again"
    ):
        read_results(folder)


def change_x(results: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return results | {"benchmarks": {"x": results["benchmarks"]["x"] | changes}}


def without_tokens_of_x(results: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in results["benchmarks"]["x"].items() if name != "mean_tokens"}
    return results | {"benchmarks": {"x": kept}}


def test_verdicts_that_do_not_fit_are_named(tmp_path: Path):
    folder = write_whole(tmp_path / "run")
    whole = (folder / "verdicts" / "y.jsonl").read_text()
    for text in (whole.replace("true", "false", 1), whole[:-40], "", (folder / "verdicts" / "x.jsonl").read_text()):
        (folder / "verdicts" / "y.jsonl").write_text(text)
        with pytest.raises(ValueError, match=r"verdicts/y\.jsonl does not fit .*results\.json"):
            read_results(folder)
    (folder / "verdicts" / "y.jsonl").unlink()
    assert read_results(folder)["benchmarks"]["y"]["num_samples"] == 4  # results that were copied alone can be shown


def test_other_versions_of_a_benchmark_are_not_compared(tmp_path: Path):
    ours, theirs = write_whole(tmp_path / "ours"), write_whole(tmp_path / "theirs", benchmark_checksum="d1")
    found = compare_runs(ours, read_results(ours), theirs, read_results(theirs))
    assert "not the same questions and references: the benchmark's checksum is c0... here and d1..." in str(
        found.benchmarks["x"]
    )
    write_run(tmp_path / "old", {"x": ["+", "-", "-"], "y": [".++--", ".----"]})  # does not say it
    old = compare_runs(ours, read_results(ours), tmp_path / "old", read_results(tmp_path / "old"))
    assert old.benchmarks["x"].value == 0
