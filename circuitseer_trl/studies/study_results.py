"""What did a study find? The results of its points as data, which tables and pages show."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import format_record, read_card, read_json, write_json, write_table
from circuitseer_trl.evaluation.crossed_intervals import FACTORS, crossed_mean, detectable_difference, holm
from circuitseer_trl.evaluation.held_out_rows import read_held_out
from circuitseer_trl.evaluation.paired import MEASURES, read_values
from circuitseer_trl.evaluation.result_files import read_results
from circuitseer_trl.selection.stored_selection import read_selection

POINTS_FILE, RESULTS_FILE, DIFFERENCES_FILE = "points.json", "results.parquet", "differences.json"
AVERAGE, HELD_OUT = "average", "held-out rows"
_KEYS = ("name", "method", "selection_method", "model", "reference_model", "budget", "selection_seed", "training_seed")
_FROM_RESULTS = (
    *("num_problems", "num_samples", "pass_at_1", "majority_at_n", "avg_at_n", "accuracy_finished", "truncated_ratio"),
    *("unanswered_ratio", "undecided_ratio", "timeout_ratio", "mean_tokens", "seconds"),
)
_FROM_SELECTION = (
    *("num_selected", "training_tokens", "mean_tokens", "rank_correlation_with_length", "effective_sample_size"),
    *("method", "sampling", "seconds"),
)
_FROM_TRAINING = ("num_trained_rows", "num_tokens", "num_steps", "train_loss", "train_seconds", "seconds")
_FROM_HELD_OUT = {"held_out_loss": "loss_nats", "held_out_exact": "exact_match"}
_COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("point", *_KEYS[1:6])),
        *((name, pa.int64()) for name in ("selection_seed", "training_seed")),
        ("benchmark", pa.string()),
        *((name, pa.int64()) for name in _FROM_RESULTS[:2]),
        *((name, pa.float64()) for name in (*_FROM_RESULTS[2:], *_FROM_HELD_OUT)),
    ]
)
Cell = tuple[str, str, str | None, str | None]  # method, model, reference model, budget
Values = Mapping[str, Mapping[str, Mapping[str, float]]]  # by measure, benchmark and problem


def write_results(root: Path, unfinished: Sequence[str] = ()) -> dict[str, Any]:
    """Writes `points.json`, `results.parquet` and `differences.json` of a study, and returns the content of the last.

    A point without results is in `points.json` alone.

    Args:
        unfinished: Names of points whose results, if they have some, are of an earlier evaluation.
    """
    plan = read_json(root / "study.json")
    entries, rows = [], list[dict[str, Any]]()
    values: dict[str, Values] = {}
    for point in plan["points"]:
        folder = root / point["folder"]
        entry = point_entry(folder, point)
        entry["finished"] = (folder / "results.json").is_file() and point["name"] not in unfinished
        if entry["finished"]:
            results = read_results(folder)
            entry["average"] = results["average"]
            values[point["name"]] = problem_values(folder, results)
            about = {"point": point["name"], **{key: point[key] for key in _KEYS[1:]}}
            for benchmark, found in results["benchmarks"].items():
                rows.append({**about, "benchmark": benchmark, **{key: found.get(key) for key in _FROM_RESULTS}})
            if (held_out := results.get("held_out")) is not None:
                measured = {name: held_out[key] for name, key in _FROM_HELD_OUT.items()}
                rows.append({**about, "benchmark": HELD_OUT, "num_problems": held_out["num_rows"], **measured})
        entries.append(entry)
    write_json(root / POINTS_FILE, {"points": entries, **format_record()})
    write_table(root / RESULTS_FILE, pa.Table.from_pylist(rows, schema=_COLUMNS))
    found = {"study": plan["study"], "baseline": plan["baseline"], "seeds_joined": plan["seeds_joined"]}
    found |= {"num_points": len(entries), "num_finished": len(values)}
    found |= compared(plan, values) | {"overlaps": overlaps(root, plan)} | format_record()
    write_json(root / DIFFERENCES_FILE, found)
    return found


def point_entry(folder: Path, point: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a point in `points.json`: what it is, and what its steps say of it."""
    entry = {key: point[key] for key in _KEYS} | {"folder": point["folder"], "shared": point["shared"]}
    entry |= {"finished": False, "selection": None, "training": None}
    for key, path, step, names in (
        ("selection", folder / "selection" / "selection.json", "select-data", _FROM_SELECTION),
        ("training", folder / "model" / "training.json", "train-sft", _FROM_TRAINING),
    ):
        if path.is_file():
            card = read_card(path, step) if key == "selection" else read_json(path)
            entry[key] = {name: card.get(name) for name in names}
    steps: dict[str, Any] = {}
    with suppress(FileNotFoundError, ValueError):
        steps = read_json(folder / "steps.json")
    return entry | {"seconds": {name: step["seconds"] for name, step in steps.items()}}


def problem_values(folder: Path, results: Mapping[str, Any]) -> Values:
    """Values of every problem, by measure and benchmark; without the benchmarks that have no value for each problem.

    Held-out rows count as a benchmark of their own.
    """
    found: dict[str, dict[str, Mapping[str, float]]] = {measure: {} for measure in MEASURES}
    for benchmark in results["benchmarks"]:
        for measure, each in read_values(folder, results, benchmark).items():
            known = {problem: value for problem, value in each.items() if value is not None}
            if known and len(known) == len(each):
                found[measure][benchmark] = known
    for measure, of_rows in read_held_out(folder, results).items():
        found[measure][HELD_OUT] = of_rows
    return found


def compared(plan: Mapping[str, Any], values: Mapping[str, Values]) -> dict[str, Any]:
    """The means of each method over its seeds, and its differences to the baseline on the same seeds and problems."""
    cells: dict[Cell, list[Mapping[str, Any]]] = {}
    for point in plan["points"]:
        cell = (point["method"], point["model"], point["reference_model"], point["budget"])
        cells.setdefault(cell, []).append(point)
    base = [cell for cell in cells if cell[0] == plan["baseline"]]
    means, differences, missing = [], list[dict[str, Any]](), []
    for cell, points in cells.items():
        for measure in MEASURES:
            design = _Design(plan, values, measure, points, None)
            means += [_about(cell) | each for each in design.estimates()]
        for other in base:
            if other == cell or not _alike(cell, other):
                continue
            for measure in MEASURES:
                design = _Design(plan, values, measure, points, cells[other])
                against = {"baseline": other[0], "baseline_budget": other[3]}
                differences += [_about(cell) | against | each for each in design.estimates()]
                missing += [_about(cell) | against | {"measure": measure, "reason": text} for text in design.missing]
    families: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for each in differences:
        families.setdefault(tuple(each[key] for key in ("model", "budget", "measure", "benchmark")), []).append(each)
    for family in families.values():
        for each, adjusted in zip(family, holm([each["p_value"] for each in family]), strict=True):
            each["p_holm"] = adjusted
    return {"means": means, "differences": differences, "not_compared": missing}


def _about(cell: Cell) -> dict[str, Any]:
    return dict(zip(("method", "model", "reference_model", "budget"), cell, strict=True))


def _alike(one: Cell, other: Cell) -> bool:
    """Whether two methods are compared: what both have is the same, such as model and budget."""
    return all(a == b or None in (a, b) for a, b in zip(one[1:], other[1:], strict=True))


class _Design:
    """One measure of a method, or its difference to another, for the seeds and problems that have it.

    Attributes:
        missing: Why benchmarks or seeds are left out.
    """

    def __init__(
        self,
        plan: Mapping[str, Any],
        values: Mapping[str, Values],
        measure: str,
        points: Sequence[Mapping[str, Any]],
        baseline: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        self.values, self.measure, self.joined = values, measure, plan["seeds_joined"]
        self.points, self.baseline = points, baseline
        self.missing: list[str] = []
        both = [*points, *(baseline or [])]
        drawn = any(point["selection_seed"] is not None for point in both)
        trained = any(point["training_seed"] is not None for point in both)
        self.seeds = list(dict.fromkeys((s if drawn else None, t if trained else None) for s, t in plan["seeds"]))

    def found(self, points: Sequence[Mapping[str, Any]], seeds: tuple[int | None, int | None]) -> str | None:
        """The name of the point with these seeds that has results. One without selection or training is the same for all."""
        for point in points:
            own = (point["selection_seed"], point["training_seed"])
            if point["name"] in self.values and all(o in (None, s) for o, s in zip(own, seeds, strict=True)):
                return point["name"]
        return None

    def pairs(self) -> dict[tuple[int | None, int | None], list[str]]:
        """The points for each pair of seeds that all have; a crossed design keeps the training seeds that are complete."""
        found = {}
        for seeds in self.seeds:
            names = [self.found(points, seeds) for points in (self.points, self.baseline) if points is not None]
            if all(name is not None for name in names):
                found[seeds] = [str(name) for name in names]
        if len(found) < len(self.seeds) and found:
            self.missing.append(
                f"{len(self.seeds) - len(found)} of {len(self.seeds)} pairs of seeds do not have results of both"
            )
        if self.joined:
            return found
        selecting = {s for s, _ in found}
        whole = {t for _, t in found if all((s, t) in found for s in selecting)}
        return {seeds: names for seeds, names in found.items() if seeds[1] in whole}

    def estimates(self) -> list[dict[str, Any]]:
        """One entry for each benchmark, and for the average of several."""
        pairs = self.pairs()
        if not pairs:
            return []
        names = [name for each in pairs.values() for name in each]
        benchmarks = list(dict.fromkeys(each for name in names for each in self.values[name].get(self.measure, {})))
        arrays = {}
        for benchmark in benchmarks:
            each = [self.values[name].get(self.measure, {}).get(benchmark, {}) for name in names]
            if any(values.keys() != each[0].keys() for values in each):
                self.missing.append(f"not all points have the same problems of {benchmark}")
            elif len(each[0]) > 1:
                arrays[benchmark] = self.array(pairs, benchmark)
        entries = [self.entry(benchmark, [array], pairs) for benchmark, array in arrays.items()]
        if len(arrays) > 1:
            entries.append(self.entry(AVERAGE, list(arrays.values()), pairs))
        return entries

    def array(self, pairs: Mapping[tuple[int | None, int | None], list[str]], benchmark: str) -> np.ndarray:
        """Values of shape (selection seeds, training seeds, problems); seeds that vary together are on the first axis."""
        rows = []
        for names in pairs.values():
            own, *other = (self.values[name][self.measure][benchmark] for name in names)
            rows.append([own[problem] - (other[0][problem] if other else 0.0) for problem in own])
        flat = np.array(rows)
        if self.joined:
            return flat[:, None, :]
        num_training = len({training for _, training in pairs})
        return flat.reshape(len(pairs) // num_training, num_training, -1)  # the seeds are in the order of their product

    def entry(
        self, benchmark: str, arrays: Sequence[np.ndarray], pairs: Mapping[tuple[int | None, int | None], list[str]]
    ) -> dict[str, Any]:
        estimate = crossed_mean(arrays)
        varied = ["seeds" if self.joined and name == FACTORS[0] else name for name in estimate.varied]
        by_seed = np.mean([array.mean(axis=2).ravel() for array in arrays], axis=0).tolist()
        known = asdict(estimate) | {"varied": varied}
        finite = np.isfinite(estimate.degrees_of_freedom)
        known["degrees_of_freedom"] = estimate.degrees_of_freedom if finite else None
        smallest = detectable_difference(estimate.standard_error, estimate.degrees_of_freedom) if finite else None
        return {
            **{"measure": self.measure, "benchmark": benchmark, "num_benchmarks": len(arrays)},
            **known,
            **{"detectable": smallest, "seeds": [list(seeds) for seeds in pairs], "by_seed": by_seed},
            "points": [names[0] for names in pairs.values()],
        }


def overlaps(root: Path, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each two methods with the same reference model, budget and seed: rows in common, and the number by chance."""
    chosen: dict[str, tuple[set[str], int]] = {}
    kept: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for point in plan["points"]:
        path = root / point["folder"] / "selection" / "selection.parquet"
        key = tuple(point[name] for name in ("method", "reference_model", "budget", "selection_seed"))
        if path.is_file() and key not in kept:  # models and training seeds have the same selection
            selection = read_selection(path)
            kept[key], chosen[point["name"]] = point, (set(selection.uids), selection.card["pool"]["num_usable"])
    found = []
    points = list(kept.values())
    for index, one in enumerate(points):
        for other in points[index + 1 :]:
            same = one["selection_seed"] == other["selection_seed"] and one["method"] != other["method"]
            if not same or not _alike(*(("", "", each["reference_model"], each["budget"]) for each in (one, other))):
                continue
            (rows, size), (theirs, _) = chosen[one["name"]], chosen[other["name"]]
            numbers = {"num_rows": [len(rows), len(theirs)], "in_common": len(rows & theirs)}
            by_chance = {"by_chance": len(rows) * len(theirs) / size}
            found.append({"points": [one["name"], other["name"]], **numbers, **by_chance})
    return found
