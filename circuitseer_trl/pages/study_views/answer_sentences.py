"""What does a study answer? The differences of its methods to the baseline and to controls, in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from circuitseer_trl.evaluation.paired import MEASURES
from circuitseer_trl.pages.measure_forms import MeasureForm, form_of
from circuitseer_trl.pages.result_tables import probability
from circuitseer_trl.pages.study_views.study_files import Record, StudyFiles
from circuitseer_trl.selection.methods import WITHOUT_SELECTION
from circuitseer_trl.studies.study_results import HELD_OUT

# Methods that choose without looking at what a row teaches. A method that does not beat them has shown nothing.
CONTROLS = ("random", "length", "longest", "trace_length", "circuitseer_trl.demo.known_truth:KnownTruthScorer")
LEVEL = 0.05
MAX_SENTENCES = 6  # groups of models and budgets with sentences of their own; more are counted
MAX_MEASURED = 4  # methods whose differences are in a sentence; the tables have all


def overall(entries: Sequence[Record]) -> list[Record]:
    """Of each method's entries the one over all its benchmarks: their average, or the only one."""
    widest: dict[tuple[Any, ...], Record] = {}
    for each in entries:
        key = tuple(
            each.get(name) for name in ("method", "model", "reference_model", "budget", "baseline_budget", "measure")
        )
        if key not in widest or each["num_benchmarks"] > widest[key]["num_benchmarks"]:
            widest[key] = each
    return list(widest.values())


def of_benchmarks(each: Record, total: int) -> str:
    """What a number is over, such as `average over 7 of 9 benchmarks`."""
    number = each["num_benchmarks"]
    if number == 1:
        single = total > 1 and each["benchmark"] != HELD_OUT
        return str(each["benchmark"]) + (f", 1 of {total} benchmarks" if single else "")
    return f"average of {total} benchmarks" if number == total else f"average over {number} of {total} benchmarks"


def num_benchmarks(found: Record) -> int:
    """The number of benchmarks; held-out rows are none, since they have measures of their own."""
    names = {each["benchmark"] for each in found["means"] if each["num_benchmarks"] == 1}
    return max(1, len(names - {HELD_OUT}))


def is_control(point: Record) -> bool:
    """Whether a point's selection is a control: a draw or a length, or CircuitSeer with heads that were not found."""
    heads = point.get("settings", {}).get("selection", {}).get("head_set", "detected")
    return point["selection_method"] in CONTROLS or heads != "detected"


class _Methods:
    """What the methods of a study are."""

    def __init__(self, study: StudyFiles) -> None:
        kinds = {point["method"]: point for point in study.plan["points"]}
        self.study, self.total = study, num_benchmarks(study.found)
        self.controls = {name for name, point in kinds.items() if is_control(point)}
        self.selections = {name for name, point in kinds.items() if point["selection_method"] not in WITHOUT_SELECTION}

    def name(self, each: Record) -> str:
        """A method's name; where the baseline has several budgets and the method none, with the baseline's."""
        against = each["baseline_budget"] if each["budget"] is None else None
        return self.study.label(each) + (f" (against {each['baseline']} at {against})" if against else "")

    def is_selection(self, each: Record) -> bool:
        return each["method"] in self.selections - self.controls

    def over(self, each: Record, form: MeasureForm) -> str:
        return f"{form.name}, {of_benchmarks(each, self.total)}"


def one_seed(each: Record) -> bool:
    return list(each["varied"]) == ["problems"]


def answer(study: StudyFiles) -> list[str]:
    """The answer of a study in sentences; the first one says whether a selection beats the baseline."""
    found, methods = study.found, _Methods(study)
    missing = found["num_points"] - found["num_finished"]
    left = [f"{found['num_finished']} of {found['num_points']} points are finished."] if missing else []
    if not found["num_finished"]:
        return [f"There is no answer so far: none of {found['num_points']} points is finished."]
    if not found["differences"]:
        names = list(dict.fromkeys(each["method"] for each in found["means"]))
        if found["not_compared"]:
            text = f"Nothing could be compared with {study.baseline}: {found['not_compared'][0]['reason']}."
        elif names == [study.baseline]:
            text = f"There is nothing to compare: {study.baseline}, the baseline, is the only method with results."
        elif study.baseline not in names:
            text = f"Nothing is compared so far: {study.baseline}, the baseline, has no results."
        else:
            text = f"Nothing is compared so far: no method has the seeds of {study.baseline}, the baseline."
        return [text, *left]
    sentences = []
    for measure in MEASURES:
        entries = [each for each in overall(found["differences"]) if each["measure"] == measure]
        if entries:
            sentences.append(" ".join(_of_measure(methods, entries, form_of(measure))))
    return [*sentences, *left]


def _of_measure(methods: _Methods, entries: Sequence[Record], form: MeasureForm) -> list[str]:
    groups: dict[str, list[Record]] = {}
    for each in entries:
        groups.setdefault(methods.study.place(each), []).append(each)
    if len(groups) > MAX_SENTENCES:
        return _counted(methods, entries, form)
    sentences = []
    for place, group in groups.items():
        told = _of_group(methods, group, form)
        sentences += [f"{place}: {told[0]}", *told[1:]] if place else told
    return sentences


def _counted(methods: _Methods, entries: Sequence[Record], form: MeasureForm) -> list[str]:
    """Counts comparisons, method by method, where there are too many for sentences."""
    sentences = []
    names = list(dict.fromkeys(each["method"] for each in entries))
    for name in sorted(names, key=lambda name: name not in methods.selections - methods.controls):  # stable
        own = [each for each in entries if each["method"] == name]
        shown = [each for each in own if _shown(each)]
        better = sum(form.better(each["mean"]) for each in shown)
        verb = "does not beat" if better == 0 else "beats"
        sentences.append(
            f"{name} {verb} {own[0]['baseline']} in {better or 'any'} of {len(own)} comparisons, is worse in "
            f"{len(shown) - better}, and in {len(own) - len(shown)} no difference could be shown ({form.name}; p below 0.05, "
            "Holm over the methods of each model and budget)."
        )
    return sentences


def _of_group(methods: _Methods, group: Sequence[Record], form: MeasureForm) -> list[str]:
    """The sentences on the methods of one model and budget: selections first, and first of all what they do not beat."""
    ordered = sorted(group, key=lambda each: not methods.is_selection(each))  # stable
    selections = [each for each in ordered if methods.is_selection(each)]
    better = [each for each in ordered if _shown(each) and form.better(each["mean"])]
    worse = [each for each in ordered if _shown(each) and not form.better(each["mean"])]
    unclear = [each for each in ordered if not _shown(each)]
    holm = f"Holm over {len(group)} methods; " if len(group) > 1 else ""
    beats = [_beyond(methods, each, form, "beats", holm) for each in better]
    loses = [_beyond(methods, each, form, "is worse than", holm) for each in worse]
    open_ones = _unclear(methods, unclear, form)
    winners = [each for each in better if each in selections]
    if winners:
        not_beaten, not_tested = _controls(methods, winners, group, form)
        return [*not_beaten, *beats, *not_tested, *loses, *open_ones]
    none = [f"No selection beats {group[0]['baseline']}."] if len(selections) > 1 else []
    if any(each in selections for each in worse):
        return [*none, *loses, *open_ones, *beats]
    return [*none, *open_ones, *loses, *beats]


def _shown(each: Record) -> bool:
    """Whether a difference is shown. With one seed it is not: no interval says what another seed would give."""
    low, high = each["interval"]
    return bool(each["p_holm"] < LEVEL) and not low <= 0 <= high and not one_seed(each)


def _beyond(methods: _Methods, each: Record, form: MeasureForm, verb: str, holm: str) -> str:
    size, ends = form.value(abs(each["mean"])), form.interval(each["interval"], signed=True)
    return (
        f"{methods.name(each)} {verb} {each['baseline']} by {size} {form.difference_unit} {ends}, "
        f"p {probability(each['p_holm'])} ({holm}{methods.over(each, form)})."
    )


def _controls(
    methods: _Methods, winners: Sequence[Record], group: Sequence[Record], form: MeasureForm
) -> tuple[list[str], list[str]]:
    """The controls that these methods do not beat, and those of which it is not tested: only differences to the baseline are."""
    not_beaten, not_tested = [], []
    for each in winners:
        for control in (each for each in group if each["method"] in methods.controls):
            name, ahead = methods.name(each), each["mean"] - control["mean"]
            side = "above" if ahead > 0 else "below" if ahead < 0 else "equal"
            mean = (
                f"its mean is {form.value(abs(ahead))} {form.difference_unit} {side}"
                if ahead
                else "their means are equal"
            )
            if form.better(ahead):
                not_tested.append(
                    f"Whether {name} beats the control {control['method']} is not tested here ({mean}): `baseline: "
                    f"{control['method']}` tests it."
                )
            else:
                not_beaten.append(f"{name} does not beat the control {control['method']}: {mean}.")
    return not_beaten, not_tested


def _unclear(methods: _Methods, entries: Sequence[Record], form: MeasureForm) -> list[str]:
    """What was measured of the methods whose difference is not shown, and what the study could have shown."""
    sentences = []
    for single in (False, True):
        own = [each for each in entries if one_seed(each) == single]
        if not own:
            continue
        over, baseline = methods.over(own[0], form), own[0]["baseline"]
        named = f" for {len(own)} methods" if len(own) > MAX_MEASURED else ""
        measured = ", ".join(
            f"{methods.name(each)} {form.difference(each['mean'])} {form.interval(each['interval'], signed=True)}"
            for each in own[:MAX_MEASURED]
        )
        measured += " and others, see the table" if named else ""
        if single:
            sentences.append(
                f"No difference to {baseline} could be shown{named}: one seed says nothing about others. With it, in "
                f"{form.difference_unit}: {measured} ({over}); these intervals cover problems alone."
            )
        else:
            sentences.append(
                f"No difference to {baseline} could be shown{named}: {_design(methods, own)} can show "
                f"{_detectable(own, form)} ({over}). Measured: {measured}."
            )
    return sentences


def _design(methods: _Methods, entries: Sequence[Record]) -> str:
    """The seeds behind some differences, such as `5 seeds`."""
    counts = []
    for position in (0, 1):
        sizes = [len({pair[position] for pair in each["seeds"]} - {None}) for each in entries]
        counts.append((min(sizes), max(sizes)))
    (low_drawn, high_drawn), (low_trained, high_trained) = counts
    if methods.study.plan["seeds_joined"]:
        low, high = max(low_drawn, low_trained), max(high_drawn, high_trained)
        return _number(low, high, "seed")
    parts = [_number(low_drawn, high_drawn, "selection seed"), _number(low_trained, high_trained, "training seed")]
    return " and ".join(part for part, high in zip(parts, (high_drawn, high_trained), strict=True) if high)


def _number(low: int, high: int, what: str) -> str:
    return f"{low} {what}{'' if low == 1 else 's'}" if low == high else f"{low} to {high} {what}s"


def _detectable(entries: Sequence[Record], form: MeasureForm) -> str:
    """The smallest differences that the study finds with 80% power."""
    known = sorted(each["detectable"] for each in entries if each["detectable"] is not None)
    if not known:
        return "nothing, since all seeds and problems have the same difference"
    low, high = form.value(known[0]), form.value(known[-1])
    size = low if low == high else f"{low} to {high}"
    return f"{size} {form.difference_unit}"


def sentences_of(found: Mapping[str, Any]) -> list[str]:
    """Why methods or seeds are not compared, one sentence a reason."""
    return list(
        dict.fromkeys(
            f"{each['method']} and {each['baseline']}, {MEASURES[each['measure']]}: {each['reason']}."
            for each in found["not_compared"]
        )
    )
