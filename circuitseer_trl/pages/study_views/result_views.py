"""How good is each method of a study? Means over seeds with every seed, differences to the baseline, and single benchmarks."""

from collections.abc import Mapping, Sequence
from typing import Any

from circuitseer_trl.drawing.exhibits import Cell, DotPlot, DotRow, Exhibit, Number, Table
from circuitseer_trl.evaluation.paired import MEASURES
from circuitseer_trl.pages.measure_forms import MeasureForm, form_of
from circuitseer_trl.pages.number_cells import number_cell
from circuitseer_trl.pages.result_tables import probability
from circuitseer_trl.pages.study_views.answer_sentences import num_benchmarks, of_benchmarks, overall
from circuitseer_trl.pages.study_views.study_files import Record, StudyFiles

ABOUT = ("model", "reference_model", "budget")


def measured(study: StudyFiles) -> list[str]:
    """The measures with values, in their order."""
    return [measure for measure in MEASURES if any(each["measure"] == measure for each in study.found["means"])]


def anchor(name: str, measure: str) -> str:
    return f"{name}-{measure.replace('_', '-')}"


def groups_of(study: StudyFiles, entries: Sequence[Record]) -> dict[str, list[Record]]:
    """Entries by their model and budget."""
    found: dict[str, list[Record]] = {}
    for each in entries:
        found.setdefault(study.place(each), []).append(each)
    return found


def result_exhibits(study: StudyFiles) -> list[Exhibit]:
    """The mean of each method over its seeds, as a figure with every seed for each measure, and as a table."""
    found: list[Exhibit] = []
    for measure in measured(study):
        form = form_of(measure)
        entries = overall([each for each in study.found["means"] if each["measure"] == measure])
        groups = [
            (place, [_dots(study, each, form, each["mean"], each["interval"]) for each in group])
            for place, group in groups_of(study, entries).items()
        ]
        note = f"{_over(study, entries)}: mean over seeds, with a 95% interval over {_varied(entries)}; each small dot is a run."
        unit = form.unit if form.unit == "%" else ""
        title = f"{form.name} by method" + ("" if unit else f", {form.unit}")
        found.append(DotPlot(anchor("results", measure), title, groups, note, unit))
    return [*found, _result_table(study)] if found else []


def _over(study: StudyFiles, entries: Sequence[Record]) -> str:
    """What a figure's values are over, for the beginning of a sentence."""
    total = num_benchmarks(study.found)
    text = " or ".join(dict.fromkeys(of_benchmarks(each, total) for each in entries))
    return text[0].upper() + text[1:] if text.startswith("average") else text


def _varied(entries: Sequence[Record]) -> str:
    """What the intervals cover, for a sentence."""
    names = list(dict.fromkeys(name for each in entries for name in each["varied"]))
    return " and ".join(names) if names else "nothing"


def _dots(
    study: StudyFiles, each: Record, form: MeasureForm, mean: float, interval: tuple[float, float], signed: bool = False
) -> DotRow:
    number = form.difference(mean) if signed else form.value(mean)
    dots = [form.factor * value for value in each["by_seed"]] if len(each["by_seed"]) > 1 else []
    return DotRow(
        label=study.label(each),
        value=form.factor * mean,
        interval=(form.factor * interval[0], form.factor * interval[1]),
        dots=dots,
        text=f"{number} {form.interval(interval, signed=signed)}",
        series=study.methods.index(each["method"]),
    )


def _about(study: StudyFiles) -> list[str]:
    """The keys that tell the methods' rows apart: the model, the reference model and the budget where the study has several."""
    return [key for key in ABOUT if study.varies(key)]


def _named(study: StudyFiles, each: Record) -> list[Cell]:
    return [str(each["method"]), *(str(each[key] or "-") for key in _about(study))]


def _heading(study: StudyFiles) -> list[str]:
    return ["method", *(key.replace("_", " ") for key in _about(study))]


def _result_table(study: StudyFiles) -> Table:
    measures, total = measured(study), num_benchmarks(study.found)
    by_cell: dict[tuple[Any, ...], dict[str, Record]] = {}
    for each in overall(study.found["means"]):
        key = tuple(each[name] for name in ("method", *ABOUT))
        by_cell.setdefault(key, {})[each["measure"]] = each
    best = {
        (study.place(each), measure): _best(study, measure, study.place(each))
        for each in study.found["means"]
        for measure in measures
    }
    rows: list[list[Cell]] = []
    for found in by_cell.values():
        first = next(iter(found.values()))
        cells = [*_named(study, first), str(len(first["points"])), of_benchmarks(first, total)]
        for measure in measures:
            if measure not in found:
                cells.append(number_cell(None))
                continue
            each = found[measure]
            form = form_of(measure)
            text = f"{form.value(each['mean'])} {form.interval(each['interval'])}"
            if each["num_benchmarks"] != first["num_benchmarks"]:
                text += f", {of_benchmarks(each, total)}"
            strong = each["mean"] == best[study.place(each), measure]
            cells.append(Number(form.factor * each["mean"], text, strong=strong))
        rows.append(cells)
    heading = [*_heading(study), "runs", "over", *(_with_unit(measure) for measure in measures)]
    note = "Means over seeds with 95% intervals. The best mean is bold; that alone is no difference: see the differences below."
    return Table("results", "Results", heading, rows, note)


def _with_unit(measure: str) -> str:
    form = form_of(measure)
    return f"{form.name}, {form.unit}"


def _best(study: StudyFiles, measure: str, place: str) -> float | None:
    """The best mean of a measure, for one model and budget."""
    entries = [each for each in overall(study.found["means"]) if each["measure"] == measure]
    values = [each["mean"] for each in entries if study.place(each) == place]
    if len(set(values)) < 2:
        return None
    return min(values) if form_of(measure).less_is_better else max(values)


def difference_exhibits(study: StudyFiles) -> list[Exhibit]:
    """The differences to the baseline, as a figure for each measure, and as a table with all that is known of them."""
    entries, found = overall(study.found["differences"]), list[Exhibit]()
    for measure in measured(study):
        form = form_of(measure)
        own = [each for each in entries if each["measure"] == measure]
        if not own:
            continue
        groups = [
            (place, [_dots(study, each, form, each["mean"], each["interval"], signed=True) for each in group])
            for place, group in groups_of(study, own).items()
        ]
        note = (
            f"{_over(study, own)}: {_unit(form)} above or below {study.baseline}, on the same seeds and problems, with 95% "
            f"intervals over {_varied(own)}; each small dot is a seed. An interval that has 0 in it shows no difference."
        )
        title = f"{form.name}: differences to {study.baseline}"
        found.append(DotPlot(anchor("differences", measure), title, groups, note, signed=True))
    return [*found, _difference_table(study, "differences", "Differences", entries)] if found else []


def _unit(form: MeasureForm) -> str:
    return "percentage points" if form.unit == "%" else form.unit


def _difference_table(study: StudyFiles, name: str, title: str, entries: Sequence[Record]) -> Table:
    total = num_benchmarks(study.found)
    rows: list[list[Cell]] = []
    for each in entries:
        form = form_of(each["measure"])
        against = f" at {each['baseline_budget']}" if each["baseline_budget"] != each["budget"] else ""
        cells = [*_named(study, each), each["baseline"] + against, form.name, of_benchmarks(each, total)]
        cells += [Number(form.factor * each["mean"], form.difference(each["mean"]))]
        cells += [form.interval(each["interval"], signed=True)]
        cells += [Number(each[key], probability(each[key])) for key in ("p_value", "p_holm")]
        smallest = None if each["detectable"] is None else form.factor * each["detectable"]
        cells += [number_cell(smallest, f".{form.digits}f")]
        rows.append([*cells, str(len(each["by_seed"])), ", ".join(each["varied"])])
    heading = [*_heading(study), "baseline", "measure", "over", "difference", "95% interval", "p", "p (Holm)"]
    note = (
        "p (Holm) holds for all methods of a model and budget together. Detectable is the smallest true difference that seeds "
        "and problems like these find with 80% power. The last column says what the interval covers."
    )
    return Table(name, title, [*heading, "detectable", "seeds", "covers"], rows, note)


def benchmark_exhibits(study: StudyFiles) -> list[Exhibit]:
    """For each measure the mean of each method on each benchmark, and the differences to the baseline."""
    if num_benchmarks(study.found) < 2:
        return []
    found: list[Exhibit] = [_benchmark_table(study, measure) for measure in measured(study)]
    single = [each for each in study.found["differences"] if each["num_benchmarks"] == 1]
    if single:
        found.append(_difference_table(study, "differences-by-benchmark", "Differences on each benchmark", single))
    return found


def _benchmark_table(study: StudyFiles, measure: str) -> Table:
    form = form_of(measure)
    means = [each for each in study.found["means"] if each["measure"] == measure and each["num_benchmarks"] == 1]
    benchmarks = list(dict.fromkeys(each["benchmark"] for each in means))
    changes: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for each in study.found["differences"]:
        if each["measure"] == measure and each["num_benchmarks"] == 1 and each["budget"] == each["baseline_budget"]:
            changes[tuple(each[key] for key in ("method", *ABOUT, "benchmark"))] = each
    cells: dict[tuple[Any, ...], dict[str, Record]] = {}
    for each in means:
        cells.setdefault(tuple(each[key] for key in ("method", *ABOUT)), {})[each["benchmark"]] = each
    rows: list[list[Cell]] = []
    for key, values in cells.items():
        row = _named(study, next(iter(values.values())))
        place = study.place(next(iter(values.values())))
        for benchmark in benchmarks:
            if benchmark not in values:
                row.append(number_cell(None))
                continue
            mean, change = values[benchmark]["mean"], changes.get((*key, benchmark))
            others = [each["mean"] for each in means if each["benchmark"] == benchmark and study.place(each) == place]
            best = (min if form.less_is_better else max)(others)
            differs = form.difference(change["mean"]) if change else ""
            row.append(Number(form.factor * mean, form.value(mean), differs, len(set(others)) > 1 and mean == best))
        rows.append(row)
    note = f"Means over seeds in {form.unit}; small: the difference to {study.baseline}. The best mean of a benchmark is bold."
    return Table(
        anchor("benchmarks", measure), f"{form.name} by benchmark", [*_heading(study), *benchmarks], rows, note
    )
