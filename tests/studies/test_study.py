"""A whole study: each shared step is done once, a point is as in fresh processes, and what is done stays done."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.digests import content_digest
from circuitseer_trl.scripts.main import main as circuitseer
from circuitseer_trl.studies.study_results import write_results
from tests.helpers.browser import opened
from tests.helpers.launch import kill, launch, start, wait_until
from tests.helpers.study_world import products, write_study, write_world

MAIN = "circuitseer_trl.scripts.main"


@dataclass(frozen=True)
class World:
    folder: Path
    content: dict[str, Any]
    file: Path
    root: Path
    printed: str


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> World:
    folder = tmp_path_factory.mktemp("study")
    content = write_world(folder, tiny_model)
    file = write_study(folder / "study.yaml", content)
    done = launch(MAIN, "study", file, "--output_dir", folder / "out", "--workers", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    return World(folder, content, file, folder / "out", done.stdout)


def logs_with(root: Path, text: str) -> list[str]:
    return [path.name for path in sorted((root / "logs").glob("*.log")) if text in path.read_text()]


@pytest.mark.engine
def test_heads_and_scores_are_computed_once(study: World):
    assert len(logs_with(study.root, "Head importance: 100%")) == 1
    assert len(logs_with(study.root, "Response losses: 100%")) == 1
    assert len(logs_with(study.root, "Scores: 100%")) == 2  # of random and of CircuitSeer
    assert all(name.startswith("shared--") for name in logs_with(study.root, "Scores: 100%"))


@pytest.mark.engine
def test_the_points_are_the_product(study: World):
    names = ["random.s0.t0", "top.s0.t0", "random.s1.t1", "top.s1.t1"]
    plan = read_json(study.root / "study.json")
    assert [point["name"] for point in plan["points"]] == names
    assert sorted(path.name for path in (study.root / "points").iterdir()) == sorted(names)
    table = pq.read_table(study.root / "results.parquet").to_pylist()
    assert [(row["point"], row["benchmark"], row["training_seed"]) for row in table] == [
        (name, "word_problems", int(name[-1])) for name in names
    ]
    entries = read_json(study.root / "points.json")["points"]
    assert all(entry["selection"]["num_selected"] == 12 and entry["training"]["num_steps"] == 2 for entry in entries)
    assert all(list(entry["seconds"]) == ["select", "train", "evaluate"] for entry in entries)
    found = read_json(study.root / "differences.json")
    assert [(each["method"], each["baseline"], each["seeds"]) for each in found["differences"]] == [
        ("top", "random", [[0, 0], [1, 1]])
    ] * 2  # of Pass@1 and of Majority@n
    assert [each["by_chance"] for each in found["overlaps"]] == [6.0, 6.0]
    assert "4 of 4 points are finished" in study.printed
    top = [content_digest(study.root / f"points/top.s{n}.t{n}/selection/selection.parquet") for n in (0, 1)]
    assert top[0] == top[1]  # without a draw


@pytest.mark.engine
def test_a_point_is_as_in_fresh_processes(study: World, tmp_path: Path):
    """The last point, whose worker has done others before."""
    point = study.root / "points" / "top.s1.t1"
    recipe = point / "recipes"
    words = ["--config", recipe / "training.yaml", "--output_dir", tmp_path / "model"]
    trained = launch(MAIN, "train-sft", *words, "--selection_file", point / "selection" / "selection.parquet")
    assert trained.returncode == 0, trained.stderr
    words = ["--config", recipe / "evaluation.yaml", "--model_name_or_path", tmp_path / "model"]
    evaluated = launch(MAIN, "evaluate", *words, "--output_dir", tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    found = products(tmp_path)
    assert len(found) == 3  # weights, answers, verdicts
    assert found == {name: digest for name, digest in products(point).items() if name in found}


@pytest.mark.engine
def test_a_finished_study_does_nothing_also_where_it_was_moved(
    study: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    moved = tmp_path / "moved"
    shutil.copytree(study.root, moved)
    assert circuitseer(["study", str(study.file), "--output_dir", str(moved)]) == 0
    said = capfd.readouterr().out
    assert "15 of 15 steps were finished before." in said  # heads, two score tables, and three of each of four points
    assert "begins" not in said
    assert "4 of 4 points are finished" in said
    assert products(moved) == products(study.root)


@pytest.mark.engine
def test_a_changed_file_adds_and_removes_points(study: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    root = tmp_path / "out"
    shutil.copytree(study.root, root)
    before = products(root)
    changed = study.content | {"methods": ["random", "zero_shot"], "seeds": [1]}
    file = write_study(tmp_path / "study.yaml", changed)
    assert circuitseer(["study", str(file), "--output_dir", str(root), "--dry_run"]) == 0
    said = capfd.readouterr().out
    assert "random.s1.t1: finished" in said
    assert "zero_shot: evaluate" in said
    assert "4 of 5 steps are finished. 1 are to do." in said
    other = study.content | {"sft": study.content["sft"] | {"learning_rate": 0.5}}
    assert circuitseer(["study", str(write_study(file, other)), "--output_dir", str(root)]) == 2
    said = capfd.readouterr().err
    assert "random.s0.t0 was begun in" in said
    assert "learning_rate: 0.001 then, 0.5 now" in said
    assert products(root) == before


@pytest.mark.engine
def test_a_changed_evaluation_is_done_again_and_its_old_answers_stay(
    study: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    root = tmp_path / "out"
    shutil.copytree(study.root, root)
    words = ["--output_dir", str(root), "--dry_run"]
    more = study.content | {"eval": study.content["eval"] | {"num_samples": 3}}
    assert circuitseer(["study", str(write_study(tmp_path / "study.yaml", more)), *words]) == 0
    said = capfd.readouterr().out
    assert "  random.s0.t0: evaluate\n" in said
    assert "11 of 15 steps are finished. 4 are to do." in said
    found = write_results(root, unfinished=["random.s0.t0"])
    assert (found["num_points"], found["num_finished"]) == (4, 3)
    finished = {each["name"]: each["finished"] for each in read_json(root / "points.json")["points"]}
    assert [name for name, each in finished.items() if not each] == ["random.s0.t0"]
    other = study.content | {"eval": study.content["eval"] | {"seed": 7, "max_new_tokens": 4}}
    assert circuitseer(["study", str(write_study(tmp_path / "study.yaml", other)), *words]) == 2
    said = capfd.readouterr().err
    assert "random.s0.t0 has answers in" in said
    assert "Changed: seed: 42 then, 7 now." in said


@pytest.mark.engine
def test_a_killed_study_goes_on_to_the_same_bytes(study: World, tmp_path: Path):
    """Killed while a point is trained and another is selected or scored; `test_killed_study.py` has twenty kills."""
    root = tmp_path / "out"
    command = ("study", study.file, "--output_dir", root, "--workers", 2)
    process = start(MAIN, *command)
    assert wait_until(lambda: list(root.glob("points/*/model/training_settings.json")))
    kill(process)
    assert not list(root.glob("points/*/results.json"))
    done = launch(MAIN, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert products(root) == products(study.root)


@pytest.mark.engine
def test_its_page_begins_with_the_answer_and_fits_a_phone(study: World, tmp_path: Path):
    page = study.root / "report.html"
    assert "Page: " in study.printed
    for width, theme in ((360, "dark"), (1200, "light")):
        with opened(page, width=width, theme=theme) as tab:
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            sections = tab.evaluate("[...document.querySelectorAll('main > section')].map(each => each.id)")
            assert sections[0] == "answer"
            assert {"results-section", "selections-section", "heads-section", "cost-section", "answers"} <= set(
                sections
            )
            assert tab.evaluate("document.getElementById('answer').innerText").split()[1:4] == [
                "No",
                "difference",
                "to",
            ]
    with opened(page) as tab:
        stops = tab.tab_stops(limit=14)
        assert stops[:4] == ["a To the content", "a Answer", "a Results", "a Differences"]


@pytest.mark.engine
def test_report_draws_its_page_again_and_export_writes_its_exhibits(study: World, tmp_path: Path):
    assert circuitseer(["report", str(study.root), "--output", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").read_text() == (study.root / "report.html").read_text()
    assert circuitseer(["report", str(study.root), str(study.root)]) == 2
    assert (
        circuitseer(["export", str(study.root), "--output_dir", str(tmp_path / "out"), "--formats", "csv", "tex"]) == 0
    )
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"results.csv", "results.tex", "differences.csv", "overlap.csv", "cost.csv"} <= written
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert [row["method"] for row in rows] == ["random", "top"]
