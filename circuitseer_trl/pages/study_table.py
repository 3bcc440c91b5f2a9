"""How are the results of a study shown in a terminal? One row for each method, benchmark and measure."""

from collections.abc import Iterable, Mapping
from typing import Any

from circuitseer_trl.drawing.text_tables import text_table
from circuitseer_trl.evaluation.paired import MEASURES
from circuitseer_trl.pages.measure_forms import form_of
from circuitseer_trl.pages.result_tables import probability
from circuitseer_trl.pages.study_views.answer_sentences import num_benchmarks, of_benchmarks

_KEYS = ("method", "model", "reference_model", "budget", "measure", "benchmark")


def study_table(found: Mapping[str, Any]) -> str:
    """The means over seeds, with the difference to the baseline.

    Args:
        found: The content of `differences.json`.
    """
    shown = ["method", *(key for key in _KEYS[1:4] if len({each[key] for each in found["means"]} - {None}) > 1)]
    differences: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for each in found["differences"]:
        differences.setdefault(tuple(each[key] for key in _KEYS), []).append(each)
    rows, total = [], num_benchmarks(found)
    for mean in found["means"]:
        cells = [str(mean[key] or "-") for key in shown]
        cells += [over(mean, total), MEASURES[mean["measure"]], str(len(mean["points"]))]
        form = form_of(mean["measure"])
        cells.append(f"{form.value(mean['mean'])} {form.interval(mean['interval'])}")
        for each in differences.get(tuple(mean[key] for key in _KEYS), []):
            interval = form.interval(each["interval"], signed=True)
            against = (
                f" ({each['baseline_budget']})"
                if each["baseline_budget"] != each["budget"] and each["budget"] is None
                else ""
            )
            smallest = "-" if each["detectable"] is None else form.value(each["detectable"])
            difference = form.difference(each["mean"]) + against
            if each["num_benchmarks"] != mean["num_benchmarks"]:
                difference += f" ({over(each, total)})"
            rows.append([*cells, difference, interval, probability(each["p_holm"]), smallest])
            cells = [""] * len(cells)
        if any(cells):
            rows.append([*cells, "", "", "", ""])
    varied = sorted({name for each in found["differences"] for name in each["varied"]})
    heading = [*shown, "benchmark", "measure", "runs", "mean", "difference", "95% interval", "p", "detectable"]
    lines = [
        f"{found['num_finished']} of {found['num_points']} points are finished. Differences are to {found['baseline']}, in "
        "percentage points (the loss in nats per token), on the same seeds and problems"
        + (f"; intervals cover {', '.join(varied)}; p is Holm's, over the methods" if varied else "")
        + "; detectable is the smallest true difference that is found with 80% power.",
        text_table(heading, rows) if rows else "No point has results.",
    ]
    for each in found["not_compared"]:
        lines.append(f"{each['method']} and {each['baseline']}, {MEASURES[each['measure']]}: {each['reason']}.")
    lines += overlap_lines(found["overlaps"])
    return "\n".join(lines)


def over(each: Mapping[str, Any], total: int) -> str:
    """What a row is over: a benchmark, or an average that says of how many."""
    return str(each["benchmark"]) if each["num_benchmarks"] == 1 else of_benchmarks(each, total)


def overlap_lines(overlaps: Iterable[Mapping[str, Any]]) -> list[str]:
    """For each two methods the rows in common, the mean over seeds and what else their points share."""
    pairs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in overlaps:
        one, other = (name.split(".")[0] for name in each["points"])
        pairs.setdefault((one, other), []).append(each)
    lines = []
    for (one, other), found in pairs.items():
        rows, chance, size = (
            sum(values) / len(found)
            for values in (
                [each["in_common"] for each in found],
                [each["by_chance"] for each in found],
                [min(each["num_rows"]) for each in found],
            )
        )
        lines.append(f"{one} and {other} share {rows:.1f} of {size:.0f} rows; by chance {chance:.1f}.")
    return lines
