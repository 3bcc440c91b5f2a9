"""A study's results in the paper's form: ours beside the published numbers, which are marked."""

from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import write_json
from circuitseer_trl.drawing.exhibits import Number
from circuitseer_trl.pages.study_views.paper_views import paper_exhibits
from circuitseer_trl.pages.study_views.study_files import StudyFiles

MODEL = "Qwen2.5-Math-7B-Base"


def mean(method: str, benchmark: str, value: float, measure: str = "pass_at_1", model: str = MODEL) -> dict[str, Any]:
    return {
        "method": method,
        "model": model,
        "benchmark": benchmark,
        "measure": measure,
        "num_benchmarks": 1,
        "mean": value,
    }


def study(root: Path, means: list[dict[str, Any]], cards: dict[str, dict[str, Any]] | None = None) -> StudyFiles:
    points = []
    for name in dict.fromkeys(each["method"] for each in means):
        folder = f"points/{name}"
        point = {
            "name": name,
            "method": name,
            "folder": folder,
            "budget": None,
            "reference_model": None,
            "selection": None,
        }
        if cards and name in cards:
            (root / folder / "selection").mkdir(parents=True)
            write_json(root / folder / "selection" / "selection.json", cards[name])
            point["selection"] = {}
        points.append(point)
    return StudyFiles(root, {"baseline": "random"}, points, {"means": means})


def exhibits(*arguments: Any) -> dict[str, Any]:
    return {each.name: each for each in paper_exhibits(study(*arguments))}


def test_table_1_has_ours_and_the_published_rows(tmp_path: Path):
    means = [mean("random", "math500", 0.5), mean("circuitseer", "math500", 0.6), mean("max_loss", "math500", 0.4)]
    means += [mean("random", "aime24", 0.2, "majority_at_n"), mean("circuitseer", "quiz", 1.0)]
    table = exhibits(tmp_path, means)["paper-table-1"]
    assert table.heading == ["model", "rows", "source", "aime24 M@16", "math500 P@1"]
    rows = {(row[1], row[2]): row[3:] for row in table.rows}
    assert set(rows) == {
        (name, source) for name in ("random", "max_loss", "circuitseer") for source in ("here", "paper")
    }
    assert rows["circuitseer", "here"][1] == Number(60.0, "60.0", "+10.0", True)
    assert rows["max_loss", "here"][1] == Number(40.0, "40.0", "-10.0", False)
    assert rows["max_loss", "here"][0] == Number(None, "-")
    # Published: random 87.2, Max-Loss 87.0, CircuitSeer 88.4.
    assert rows["circuitseer", "paper"][1] == Number(88.4, "88.4", "+1.2", True)
    assert rows["random", "paper"][0].value == 53.3


def test_a_published_slip_is_marked(tmp_path: Path):
    means = [mean("random", "aime24", 0.2, "majority_at_n"), mean("ifd", "aime24", 0.2, "majority_at_n")]
    rows = {(row[1], row[2]): row[3] for row in exhibits(tmp_path, means)["paper-table-1"].rows}
    assert rows["ifd", "paper"].text == "54.3*"  # of 30 problems none give 54.3%


def test_another_model_has_no_published_rows(tmp_path: Path):
    means = [mean(name, "math500", 0.5, model="mine") for name in ("random", "circuitseer")]
    assert {row[2] for row in exhibits(tmp_path, means)["paper-table-1"].rows} == {"here"}


def test_an_ablation_has_its_table(tmp_path: Path):
    means = [mean(name, "math500", 0.5) for name in ("random", "top_k", "circuitseer")]
    found = exhibits(tmp_path, means)
    assert "paper-table-4" in found
    assert not {"paper-table-2", "paper-table-3", "paper-table-5"} & set(found)
    [row] = found["paper-table-4"].rows
    assert found["paper-table-4"].heading[2:4] == ["random, here", "random, paper"]
    assert [cell.value for cell in row[2:]][::2] == [50.0, 50.0, 50.0]


def test_a_study_of_something_else_has_no_table(tmp_path: Path):
    assert exhibits(tmp_path, [mean("random", "quiz", 0.5), mean("circuitseer", "quiz", 0.5)]) == {}
    assert exhibits(tmp_path, [mean("random", "math500", 0.5), mean("mine", "math500", 0.5)]) == {}


def test_categories_and_words_of_the_cards(tmp_path: Path):
    words = {
        "edges": [0, 10, 20],
        "pool": {"counts": [6, 2], "mean": 9.0, "median": 8.0, "rows": 8},
        "selected": {"counts": [0, 4], "mean": 15.0, "median": 14.0, "rows": 4},
    }
    categories = {"algebra": {"pool": 6, "selected": 1}, "geometry": {"pool": 2, "selected": 3}}
    found = exhibits(tmp_path, [mean("random", "quiz", 0.5)], {"random": {"words": words, "categories": categories}})
    assert found["paper-figure-4"].values == {"the pool": [75.0, 25.0], "random": [25.0, 75.0]}
    assert found["paper-figure-5"].shares == {"the pool": [0.75, 0.25], "random": [0.0, 1.0]}
    assert found["paper-figure-5"].means == {"the pool": 9.0, "random": 15.0}
