"""How did the trainings of a study go, and what did its steps cost?"""

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.drawing.exhibits import Cell, Exhibit, Lines, Table
from circuitseer_trl.pages.number_cells import number_cell
from circuitseer_trl.pages.study_views.study_files import StudyFiles
from circuitseer_trl.studies.task_loop import read_record

SECONDS = ",.1f"
MAX_CURVE = 60  # dots of a curve in a page with many curves


def training_exhibits(study: StudyFiles) -> list[Exhibit]:
    """The loss of each training over its steps, a curve for each run in its method's colour, and the trainings in numbers."""
    curves, rows = [], list[list[Cell]]()
    for point in study.points:
        path = study.root / point["folder"] / "model" / "training.json"
        if point["training"] is None or not path.is_file():
            continue
        curve = [(float(step), float(loss)) for step, loss in read_json(path).get("loss_curve", [])]
        if curve:
            curves.append((str(point["method"]), study.methods.index(point["method"]), _thinned(curve)))
        found = point["training"]
        cells: list[Cell] = [point["name"]]
        cells += [number_cell(found[key]) for key in ("num_trained_rows", "num_tokens", "num_steps")]
        cells += [number_cell(found["train_loss"], ".4f"), number_cell(found["train_seconds"], SECONDS)]
        rows.append(cells)
    found_curves: list[Exhibit] = []
    if curves:
        note = "The logged loss, in nats per token; each method's runs have one colour. Rows differ between methods, so a lower "
        note += "curve is not a better model."
        found_curves = [Lines("loss-curves", "Training loss", curves, "step", "loss", note)]
    heading = ["point", "rows", "tokens", "steps", "mean loss", "seconds of training"]
    return [*found_curves, *([Table("trainings", "Trainings", heading, rows)] if rows else [])]


def _thinned(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The means of as many neighbours as leave at most `MAX_CURVE` dots."""
    size = -(-len(curve) // MAX_CURVE)
    blocks = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(block[-1][0], sum(loss for _, loss in block) / len(block)) for block in blocks]


def cost_exhibits(study: StudyFiles) -> list[Exhibit]:
    """Seconds of each step, of all steps together with those that points share once, and of each point."""
    names = list(dict.fromkeys(name for point in study.points for name in point["seconds"]))
    by_step: dict[str, list[float]] = {}
    for kind, label in (("heads", "find heads, shared"), ("scores", "score the pool, shared")):
        records = [read_record(study.root, folder) for folder in study.sharers(kind)]
        by_step[label] = [record["seconds"] for record in records if record.get("status") == 0]
    for name in names:
        by_step[name] = [point["seconds"][name] for point in study.points if name in point["seconds"]]
    steps: list[list[Cell]] = [
        [name, number_cell(len(each)), number_cell(sum(each) / len(each), SECONDS), number_cell(sum(each), SECONDS)]
        for name, each in by_step.items()
        if each
    ]
    if not steps:
        return []
    total = sum(sum(each) for each in by_step.values())
    steps.append(["together", "", "", number_cell(total, SECONDS)])
    rows: list[list[Cell]] = [
        [
            point["name"],
            *(number_cell(point["seconds"].get(name), SECONDS) for name in names),
            number_cell(sum(point["seconds"].values()) if point["seconds"] else None, SECONDS),
        ]
        for point in study.points
    ]
    note = "Seconds of one process. A step that points share is done and counted once."
    return [
        Table("cost", "Cost by step", ["step", "done", "mean seconds", "seconds"], steps, note),
        Table("cost-by-point", "Cost by point", ["point", *names, "together"], rows, "Seconds, without shared steps."),
    ]
