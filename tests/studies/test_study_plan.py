"""The file of a study: its points, their names and what they share; and what is wrong with a file is one line."""

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from circuitseer_trl.artifacts import format_record, write_json
from circuitseer_trl.configs import ExecutorConfig
from circuitseer_trl.distributed import ray_cluster
from circuitseer_trl.finished import SELECTION_PRODUCTS
from circuitseer_trl.scripts.main import main as circuitseer
from circuitseer_trl.studies.paper_tables import paper_figures
from circuitseer_trl.studies.run_study import executed
from circuitseer_trl.studies.study_file import read_study
from circuitseer_trl.studies.study_plan import StudyPlan, plan_study
from tests.conftest import ROOT
from tests.helpers.study_world import write_study, write_world


@pytest.fixture
def content(tmp_path: Path, tiny_model: str) -> dict[str, Any]:
    return write_world(tmp_path, tiny_model)


def plan(folder: Path, content: dict[str, Any]) -> StudyPlan:
    return plan_study(read_study(write_study(folder / "study.yaml", content)), folder / "out")


def names(folder: Path, content: dict[str, Any]) -> list[str]:
    return [point.name for point in plan(folder, content).points]


def shared(found: StudyPlan, kind: str) -> int:
    return sum(task.folder.startswith(f"shared/{kind}/") for task in found.tasks)


def test_seeds_are_joined_or_crossed(tmp_path: Path, content: dict[str, Any]):
    content["methods"] = ["random"]
    assert names(tmp_path, content) == ["random.s0.t0", "random.s1.t1"]
    del content["seeds"]
    content |= {"selection_seeds": [1, 2], "training_seeds": [5, 6]}
    assert names(tmp_path, content) == ["random.s1.t5", "random.s1.t6", "random.s2.t5", "random.s2.t6"]


def test_base_and_full_pool_are_not_repeated(tmp_path: Path, content: dict[str, Any]):
    content["methods"] = ["zero_shot", "full", "random"]
    found = plan(tmp_path, content)
    assert [point.name for point in found.points] == ["zero_shot", "full.t0", "random.s0.t0", "full.t1", "random.s1.t1"]
    tasks = {point.name: [name.rsplit("/", 1)[1] for name in point.tasks] for point in found.points}
    assert tasks["zero_shot"] == ["evaluate"]
    assert tasks["full.t0"] == ["train", "evaluate"]


def test_lists_are_in_the_names(tmp_path: Path, content: dict[str, Any], tiny_models: list[str]):
    content |= {
        "methods": ["random", "circuitseer"],
        "seeds": [0],
        "models": tiny_models,
        "reference_models": [{"name": "small", "reference_model": tiny_models[0]}, tiny_models[1]],
        "budgets": [{"budget_ratio": 0.5}, {"budget_size": 6}],
    }
    found = plan(tmp_path, content)
    assert [point.name for point in found.points[:6]] == [
        *("random.50pct.seed0.s0.t0", "circuitseer.small.50pct.seed0.s0.t0", "circuitseer.seed1.50pct.seed0.s0.t0"),
        *("random.6rows.seed0.s0.t0", "circuitseer.small.6rows.seed0.s0.t0", "circuitseer.seed1.6rows.seed0.s0.t0"),
    ]
    assert len(found.points) == 12  # random once for both reference models
    assert (shared(found, "heads"), shared(found, "scores")) == (2, 3)  # one of each reference model, and random's
    assert found.points[3].settings["selection"]["budget_size"] == 6


def test_variants_share_what_they_have_in_common(tmp_path: Path, content: dict[str, Any]):
    content["methods"] = [
        "circuitseer",
        {"method": "circuitseer", "name": "top", "sampling": "top_k", "budget_ratio": 0.25},
        {"method": "circuitseer", "name": "entropy", "statistic": "entropy"},
        {"method": "circuitseer", "name": "all", "head_set": "all"},
        {"method": "circuitseer", "name": "more_heads", "head_ratio": 0.5},
        "max_loss",
        "mid_perplexity",
    ]
    found = plan(tmp_path, content)
    assert shared(found, "heads") == 2  # of the usual share of heads and of another
    assert shared(found, "scores") == 6  # `top` has those of `circuitseer`
    tasks = {task.name: task for task in found.tasks}
    first, second = [task for task in found.tasks if task.folder.startswith("shared/heads")]
    assert second.needs == [first.name]  # for the losses
    scores = tasks[next(point for point in found.points if point.method == "max_loss").shared["scores"]]
    assert scores.needs == [first.name]


def test_who_computes_the_shards_is_no_setting(
    tmp_path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """A study that a cluster began is finished for one process too."""
    monkeypatch.setattr(ray_cluster, "ray_cluster", lambda *_: nullcontext("10.0.0.1:6379"))
    found = plan(tmp_path, content)
    found.write_recipes()
    tasks = found.tasks
    extra = ["--executor", "ray", "--ray_address", "10.0.0.1:6379", "--num_actors", "4"]
    with executed(tasks, ExecutorConfig("ray", 4)) as changed:
        for before, after in zip(tasks, changed, strict=True):
            assert after.arguments[len(before.arguments) :] == (extra if before.kind in SELECTION_PRODUCTS else [])
            if before.kind == "find-heads":
                assert after.finished(1).made_from() == before.finished(1).made_from()


def test_keys_do_not_depend_on_places(tmp_path: Path, content: dict[str, Any]):
    before = plan(tmp_path, content)
    moved = tmp_path / "rows.jsonl"
    Path(content["data"]["dataset_name"]).rename(moved)
    content["data"]["dataset_name"] = str(moved)
    after = plan(tmp_path, content)
    assert [point.key for point in after.points] == [point.key for point in before.points]
    assert [point.shared for point in after.points] == [point.shared for point in before.points]
    moved.write_text(moved.read_text() + moved.read_text().splitlines()[0].replace("3 apples", "5 apples"))
    assert not {point.key for point in plan(tmp_path, content).points} & {point.key for point in before.points}


@pytest.mark.parametrize("path", sorted((ROOT / "recipes" / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_of_the_package_is_planned(tmp_path: Path, path: Path):
    found = plan_study(read_study(path), tmp_path)
    assert len(found.points) > 1


@pytest.mark.parametrize("number", range(1, 6))
def test_the_papers_studies_have_the_rows_of_its_tables(tmp_path: Path, number: int):
    found = plan_study(read_study(ROOT / "recipes" / "studies" / f"paper-table{number}.yaml"), tmp_path)
    printed = {(figure.model, figure.method) for figure in paper_figures() if figure.table == number}
    assert {(point.model, point.method) for point in found.points} == printed
    assert len(found.points) == len(printed)
    shared = [task.kind for task in found.tasks if task.folder.startswith("shared/")]
    assert shared.count("find-heads") == 1
    if number == 1:  # 28 trainings, and the four models as they are
        assert sum(point.training_seed is not None for point in found.points) == 28
        assert shared.count("score-pool") == 6


def test_a_model_may_be_a_training_recipe(tmp_path: Path, content: dict[str, Any]):
    model = content["sft"].pop("model_name_or_path")
    del content["sft"]
    content["models"] = [{"recipe": "tiny_cpu", "model_name_or_path": model, "max_steps": 3, "name": "tiny"}]
    [point, *_] = plan(tmp_path, content).points
    assert (point.model, point.settings["training"]["max_steps"]) == ("tiny", 3)
    assert "use_cpu" in point.settings["training"]


MISTAKES = {
    "There is no method 'magic'": {"methods": ["random", "magic"]},
    "`methods` has 'random' twice": {"methods": ["random", {"method": "random", "sampling": "top_k"}]},
    "`seeds` must be a whole number from 0 to 4294967295, got 'one'": {"seeds": ["one"]},
    "`seeds` has a seed twice": {"seeds": [1, 1]},
    "`seeds` must be a list with at least one item, got 3": {"seeds": 3},
    "`seeds` sets selection and training seeds together": {"training_seeds": [1]},
    "Unknown key `smapling` in method top. Did you mean `sampling`?": {
        "methods": [{"method": "circuitseer", "name": "top", "smapling": "top_k"}]
    },
    "Unknown key `limi` in `eval`. Did you mean `limit`?": {"eval": {"benchmarks": ["word_problems"], "limi": 3}},
    "Unknown key `learning_rat` in `sft`. Did you mean `learning_rate`?": {
        "sft": {"recipe": "tiny_cpu", "model_name_or_path": "MODEL", "learning_rat": 1}
    },
    "none/word_problems/test.jsonl is missing": {"eval": {"benchmarks": ["word_problems"], "benchmarks_dir": "./none"}},
    "`learning_rate` must be": {"sft": {"recipe": "tiny_cpu", "model_name_or_path": "MODEL", "learning_rate": -1.0}},
    "A token of the Hub in the settings": {
        "sft": {"recipe": "tiny_cpu", "model_name_or_path": "MODEL", "hub_token": "hf_not_a_real_one"}
    },
    "a study has no key `method`": {"method": "random"},
    "`baseline: all` is none of the methods random, top": {"baseline": "all"},
    "an item of `budgets` must be a mapping with one of": {"budgets": [0.1]},
    "`budget_size` in `budgets` must be a number above 0, got -1": {"budgets": [{"budget_size": -1}]},
    "has the key `selection_seed`, which a study sets itself": {"methods": [{"method": "random", "selection_seed": 3}]},
    "There is no model folder": {"models": ["./none"]},
    "There is no recipe": {"eval": "no_such_recipe"},
    "names are of letters, digits and": {"methods": [{"method": "random", "name": "../x"}]},
    "a study needs the key `methods`": {"methods": []},
    "needs a reference model": {"selection": {}, "methods": ["circuitseer"]},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_one_line_before_any_work(
    tmp_path: Path, content: dict[str, Any], tiny_model: str, message: str, capfd: pytest.CaptureFixture[str]
):
    changes = MISTAKES[message]
    if changes.get("sft"):
        changes = changes | {"sft": changes["sft"] | {"model_name_or_path": tiny_model}}
    file = write_study(tmp_path / "study.yaml", content | changes)
    assert circuitseer(["study", str(file), "--output_dir", str(tmp_path / "out")]) == 2
    said = capfd.readouterr()
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said.err
    assert message in errors[0]
    assert not list((tmp_path / "out").glob("[!_]*"))


@pytest.mark.thorough
def test_the_cost_is_estimated_before_the_first_step(
    tmp_path: Path, content: dict[str, Any], capfd: pytest.CaptureFixture[str]
):
    file, root = write_study(tmp_path / "study.yaml", content), tmp_path / "out"
    assert circuitseer(["study", str(file), "--output_dir", str(root), "--dry_run"]) == 0
    said = capfd.readouterr().out
    assert said.count("Together about") == 2  # of random and of CircuitSeer
    assert re.search(r"heads +\d+ heads on 3 examples", said)
    assert not list(root.glob("[!_]*"))


def test_folders_of_others_are_refused(tmp_path: Path, content: dict[str, Any], capfd: pytest.CaptureFixture[str]):
    file, root = write_study(tmp_path / "study.yaml", content), tmp_path / "out"
    words = ["study", str(file), "--output_dir", str(root), "--dry_run"]
    (root / "selection").mkdir(parents=True)
    assert circuitseer(words) == 2
    assert "is no folder of a study: it has selection" in capfd.readouterr().err
    other = {"points": [{"name": "longest.s0", "folder": "."}], **format_record()}  # it has a selection
    write_json(root / "study.json", other)
    (root / "selection" / "selection.json").write_text("{}")
    assert circuitseer(words) == 2
    assert "is of another study: it has longest.s0, and this one has none of its points" in capfd.readouterr().err
    assert circuitseer([*words, "--only", "random.s9.t9"]) == 2
    assert "The study has no point 'random.s9.t9'. Its points are random.s0.t0" in capfd.readouterr().err
    assert circuitseer([*words, "--workers", "0"]) == 2
