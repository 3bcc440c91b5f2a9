"""How do a study's results look in the paper's own tables and figures? With its published numbers beside ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.drawing.exhibits import Bars, Cell, Exhibit, Histogram, Number, Table
from circuitseer_trl.pages.study_views.study_files import StudyFiles
from circuitseer_trl.selection.methods import WITHOUT_SELECTION
from circuitseer_trl.studies.paper_tables import AVERAGE, Figure, Metric, paper_figures, paper_slips

MEASURE: Mapping[Metric, str] = {"pass_at_1": "pass_at_1", "majority_at_16": "majority_at_n"}
SHORT: Mapping[Metric, str] = {"pass_at_1": "P@1", "majority_at_16": "M@16"}
RANDOM = "random"
WORDS = {"top_k": (3393.2, 2834.5), RANDOM: (2551.1, 1893.5)}  # mean and median, section 4.4 and figure 5
NOTE = (
    "Percent. Rows and columns marked \u201cpaper\u201d are published numbers (arXiv 2510.18470), not measured here; * marks one "
    "that the table's other numbers contradict. Small: the difference to random. Bold: the best of a model's selections."
)


@dataclass(frozen=True)
class Results:
    """What one source has: percent by model, method, benchmark and metric."""

    source: str
    values: Mapping[tuple[str, str, str, Metric], float]
    slips: frozenset[tuple[str, str, str, Metric]] = frozenset()

    def cell(self, model: str, method: str, benchmark: str, metric: Metric, methods: Sequence[str]) -> Number:
        key = (model, method, benchmark, metric)
        if key not in self.values:
            return Number(None, "-")
        value, base = self.values[key], self.values.get((model, RANDOM, benchmark, metric))
        compared = method not in (RANDOM, *WITHOUT_SELECTION) and base is not None
        rivals = [
            self.values[model, each, benchmark, metric]
            for each in methods
            if each not in WITHOUT_SELECTION and (model, each, benchmark, metric) in self.values
        ]
        change = f"{value - base:+.1f}" if compared and base is not None and f"{value - base:.1f}" != "0.0" else ""
        strong = method not in WITHOUT_SELECTION and len(rivals) > 1 and value == max(rivals)
        return Number(value, f"{value:.1f}" + ("*" if key in self.slips else ""), change, strong)


def measured_here(study: StudyFiles) -> Results:
    """The study's means over seeds; a method with several budgets or reference models has those of the first."""
    values: dict[tuple[str, str, str, Metric], float] = {}
    for metric, measure in MEASURE.items():
        for each in study.found["means"]:
            if each["measure"] == measure and (each["num_benchmarks"] == 1 or each["benchmark"] == AVERAGE):
                values.setdefault((each["model"], each["method"], each["benchmark"], metric), 100 * each["mean"])
    return Results("here", values)


def published(number: int) -> tuple[Results, list[Figure]]:
    figures = [figure for figure in paper_figures() if figure.table == number]
    values = {(each.model, each.method, each.benchmark, each.metric): each.percent for each in figures}
    slips = [slip.figure for slip in paper_slips() if slip.figure.table == number]
    marked = frozenset((each.model, each.method, each.benchmark, each.metric) for each in slips)
    return Results("paper", values, marked), figures


def paper_exhibits(study: StudyFiles) -> list[Exhibit]:
    """The paper's tables of which the study has methods and benchmarks, and its figures 3, 4 and 5 for the study's rows."""
    found: list[Exhibit] = []
    ours = measured_here(study)
    for number in range(1, 6):
        theirs, figures = published(number)
        table = (_main_table if number == 1 else _ablation_table)(number, ours, theirs, figures)
        found += [table] if table is not None else []
    return [*found, *_benchmark_bars(study, ours), *_category_bars(study), *_word_histogram(study)]


def _shared(ours: Results, figures: Sequence[Figure]) -> tuple[list[str], list[str], list[tuple[str, Metric]]]:
    """Models of the study; methods and columns that it has in common with a table. Nothing if a comparison is not in common."""
    methods = [
        each
        for each in dict.fromkeys(figure.method for figure in figures)
        if any(key[1] == each for key in ours.values)
    ]
    columns = [
        each
        for each in dict.fromkeys((figure.benchmark, figure.metric) for figure in figures)
        if any((key[2], key[3]) == each for key in ours.values)
    ]
    models = list(dict.fromkeys(key[0] for key in ours.values))
    rivals = [method for method in methods if method not in (RANDOM, *WITHOUT_SELECTION)]
    usable = RANDOM in methods and rivals and any(benchmark != AVERAGE for benchmark, _ in columns)
    return (models, methods, columns) if usable else ([], [], [])


def _main_table(number: int, ours: Results, theirs: Results, figures: Sequence[Figure]) -> Table | None:
    models, methods, columns = _shared(ours, figures)
    rows: list[list[Cell]] = []
    for model in models:
        for method in methods:
            for source in (ours, theirs):
                if any((model, method, *column) in source.values for column in columns):
                    cells = [source.cell(model, method, *column, methods) for column in columns]
                    rows.append([model, method, source.source, *cells])
    heading = ["model", "rows", "source", *(f"{benchmark} {SHORT[metric]}" for benchmark, metric in columns)]
    return Table(f"paper-table-{number}", f"As table {number} of the paper", heading, rows, NOTE) if rows else None


def _ablation_table(number: int, ours: Results, theirs: Results, figures: Sequence[Figure]) -> Table | None:
    """One line for each benchmark, and the methods of the table in its columns."""
    models, methods, columns = _shared(ours, figures)
    own = [method for method in methods if method not in (RANDOM, "circuitseer")]
    rows: list[list[Cell]] = []
    for model in models if own else []:
        for column in columns:
            cells = [source.cell(model, method, *column, methods) for method in methods for source in (ours, theirs)]
            rows.append([model, column[0], *cells])
    heading = ["model", "benchmark", *(f"{method}, {source}" for method in methods for source in ("here", "paper"))]
    return Table(f"paper-table-{number}", f"As table {number} of the paper", heading, rows, NOTE) if rows else None


def _benchmark_bars(study: StudyFiles, ours: Results) -> list[Exhibit]:
    """Figure 3: Pass@1 of each method on each benchmark, one figure for each model."""
    benchmarks = list(dict.fromkeys(key[2] for key in ours.values if key[2] != AVERAGE and key[3] == "pass_at_1"))
    found: list[Exhibit] = []
    for model in dict.fromkeys(key[0] for key in ours.values) if len(benchmarks) > 1 else []:
        values = {
            method: [ours.values.get((model, method, each, "pass_at_1")) for each in benchmarks]
            for method in study.methods
        }
        known = {method: each for method, each in values.items() if any(value is not None for value in each)}
        name = f"paper-figure-3-{len(found) + 1}"
        found.append(
            Bars(name, f"Pass@1 on each benchmark, {model}", benchmarks, known, "%", "As figure 3 of the paper.")
        )
    return found


def _cards(study: StudyFiles, key: str) -> dict[str, list[dict[str, Any]]]:
    """The values of a key on the cards of the study's selections, by method; the first budget and reference model of each."""
    found: dict[str, list[dict[str, Any]]] = {}
    first: dict[str, tuple[Any, Any]] = {}
    for point in study.points:
        path = study.root / point["folder"] / "selection" / "selection.json"
        if point["selection"] is None or not path.is_file():
            continue
        place = (point["budget"], point["reference_model"])
        if first.setdefault(point["method"], place) == place and (card := read_json(path).get(key)):
            found.setdefault(point["method"], []).append(card)
    return found


def _category_bars(study: StudyFiles) -> list[Exhibit]:
    """Figure 4: the share of each category in the pool and in the selections, the mean over seeds."""
    cards = _cards(study, "categories")
    if not cards:
        return []
    [pool, *_] = next(iter(cards.values()))
    names = sorted(pool, key=lambda name: -pool[name]["pool"])
    total = sum(each["pool"] for each in pool.values())
    values: dict[str, list[float | None]] = {"the pool": [100 * pool[name]["pool"] / total for name in names]}
    for method, several in cards.items():
        shares = [
            [card[name]["selected"] / max(1, sum(each["selected"] for each in card.values())) for name in names]
            for card in several
        ]
        values[method] = [100 * float(share) for share in np.mean(shares, axis=0)]
    note = "As figure 4 of the paper: the share of each category, the mean over seeds."
    return [Bars("paper-figure-4", "Categories of the selected rows", names, values, "% of the rows", note)]


def _word_histogram(study: StudyFiles) -> list[Exhibit]:
    """Figure 5: words of whole examples."""
    cards = _cards(study, "words")
    if not cards:
        return []
    [first, *_] = next(iter(cards.values()))
    groups: dict[str, list[dict[str, Any]]] = {"the pool": [first["pool"]]}
    groups |= {
        method: [each["selected"] for each in several if each["edges"] == first["edges"]]
        for method, several in cards.items()
    }
    shares = {
        name: np.mean([np.array(each["counts"]) / each["rows"] for each in several], axis=0).tolist()
        for name, several in groups.items()
    }
    means = {name: float(np.mean([each["mean"] for each in several])) for name, several in groups.items()}
    medians = {name: float(np.mean([each["median"] for each in several])) for name, several in groups.items()}
    told = "; ".join(f"{name}: mean {mean:,.1f}, median {median:,.1f}" for name, (mean, median) in WORDS.items())
    note = (
        "As figure 5 of the paper: words of problem and worked solution together, the mean over seeds; rows above the pool's "
        f"99th percentile are not drawn. Published for OpenR1-Math, not measured here: {told}."
    )
    return [
        Histogram(
            "paper-figure-5",
            "Words of the selected rows",
            first["edges"],
            shares,
            "words of a row",
            means,
            medians,
            note,
        )
    ]
