"""Is a `results.json` whole, of an evaluation, and does it fit its verdicts?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from circuitseer_trl.answers import check_verdict_file
from circuitseer_trl.artifacts import read_card
from circuitseer_trl.checks import is_number
from circuitseer_trl.evaluation.metrics import TIE_RULES

_ADVICE = "Delete it and run `circuitseer evaluate` again, which keeps the answers."
_PARTS = {"model": str, "settings": dict, "benchmarks": dict, "average": dict}
_COUNTS = ("num_problems", "num_samples")
_SHARES = ("pass_at_1", "majority_at_n")  # None for what was not measured
_RATIOS = (
    *("accuracy_finished", "avg_at_n", "truncated_ratio", "unanswered_ratio", "timeout_ratio"),
    *("rest_exact_match", "rest_rouge_l", "pool_overlap_ratio"),  # where contamination was measured
)


def read_results(folder: Path) -> dict[str, Any]:
    """Reads the `results.json` of a folder, of this version or of 0.1.0, and checks that the verdicts beside it fit.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is cut, changed, or not of an evaluation; or a file of verdicts is not the one that it was computed from.
    """
    results = read_results_alone(folder)
    for name in results["benchmarks"]:
        verdicts = folder / "verdicts" / f"{name}.jsonl"
        if verdicts.is_file():
            check_verdict_file(verdicts)
    return results


def read_results_alone(folder: Path) -> dict[str, Any]:
    """Reads the `results.json` of a folder as `read_results` does, without its verdicts."""
    path = folder / "results.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no results.json. `circuitseer evaluate --output_dir {folder} ...` writes it."
        )
    results = read_card(path, "evaluate", list(_PARTS))
    try:
        _check(path, results)
    except ValueError as error:
        raise ValueError(f"{error} {_ADVICE}") from error
    return results


def _check(path: Path, results: dict[str, Any]) -> None:
    for name, kind in _PARTS.items():
        if not isinstance(results[name], kind):
            raise ValueError(f"{path}: `{name}` must be of type {kind.__name__}, got {results[name]!r}.")
    if results["settings"].get("vote") not in (None, *TIE_RULES):
        raise ValueError(
            f"{path}: the setting `vote` is {results['settings']['vote']!r}, not {' or '.join(TIE_RULES)}."
        )
    if not results["benchmarks"]:
        raise ValueError(f"{path} has no benchmarks.")
    for name, values in {**results["benchmarks"], "average": results["average"]}.items():
        if not isinstance(values, dict):
            raise ValueError(f"{path}: `{name}` must be an object, got {values!r}.")
        for key in _SHARES:
            _check_share(f"{path}: `{key}` of {name}", values.get(key), needed=key == "pass_at_1")
            _check_interval(f"{path}: `{key}_interval` of {name}", values.get(f"{key}_interval"), values.get(key))
    for name, values in results["benchmarks"].items():
        _check_benchmark(f"{path}: ", name, values)
    mean = sum(values["pass_at_1"] for values in results["benchmarks"].values()) / len(results["benchmarks"])
    if abs(mean - results["average"]["pass_at_1"]) > 1e-9:
        raise ValueError(
            f"{path}: the average Pass@1 is {results['average']['pass_at_1']}, and that of its benchmarks {mean}."
        )


def _check_benchmark(place: str, name: str, values: Mapping[str, Any]) -> None:
    for key in _COUNTS:
        if not isinstance(values.get(key), int) or values[key] < (key == "num_problems"):
            raise ValueError(f"{place}`{key}` of {name} must be a count, got {values.get(key)!r}.")
    for key in _RATIOS:
        _check_share(f"{place}`{key}` of {name}", values.get(key))
    for key in ("mean_tokens", "seconds", "tokens_per_second"):
        optional = key != "seconds" and key in values and values[key] is None
        if not optional and not is_number(values.get(key)):
            raise ValueError(f"{place}`{key}` of {name} must be a number, got {values.get(key)!r}.")
    if not isinstance(values.get("pass_at_k"), dict) or not all(map(str.isdecimal, values["pass_at_k"])):
        raise ValueError(f"{place}`pass_at_k` of {name} must be shares by k, got {values.get('pass_at_k')!r}.")
    for share in values["pass_at_k"].values():
        _check_share(f"{place}`pass_at_k` of {name}", share, needed=True)


def _check_share(place: str, value: Any, needed: bool = False) -> None:
    if (needed or value is not None) and not (is_number(value) and 0 <= value <= 1):
        raise ValueError(f"{place} must be a number in [0, 1], got {value!r}.")


def _check_interval(place: str, value: Any, middle: float | None) -> None:
    if middle is None:
        return
    numbers = isinstance(value, list) and len(value) == 2 and all(map(is_number, value))
    if not (numbers and value[0] - 1e-9 <= middle <= value[1] + 1e-9):
        raise ValueError(f"{place} must be two numbers around {middle}, got {value!r}.")
