"""Weights & Biases: offline runs of every step, written and read back."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from trl import SFTConfig, SFTTrainer

from circuitseer_trl.scripts import evaluate, select_data
from circuitseer_trl.scripts.train_sft import main
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from circuitseer_trl.selection.selection_panels import PIXELS, heat_map
from tests.helpers.offline_runs import offline, read_media, read_offline
from tests.helpers.training_runs import PROBLEMS, RECIPES, make_model_folder, write_pool


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, model) -> dict:
    folder = tmp_path_factory.mktemp("wandb")
    recipe = {"method": "circuitseer", "reference_model": str(model), "probe_size": 6, "head_ratio": 0.25}
    (folder / "selection.yaml").write_text(yaml.safe_dump(recipe | {"budget_ratio": 0.5}))
    with offline(folder):
        main(
            [
                *("--config", str(RECIPES / "sft" / "tiny_cpu.yaml"), "--dataset_name", str(write_pool(folder))),
                *("--model_name_or_path", str(model), "--output_dir", str(folder / "out")),
                *("--selection_recipe", str(folder / "selection.yaml"), "--report_to", "wandb"),
                *("--wandb_project", "heads", "--wandb_group", "tiny", "--run_name", "first"),
            ]
        )
    return read_offline(folder) | {"folder": folder}


@pytest.mark.engine
class TestOfflineRun:
    def test_one_run_with_its_names(self, run):
        assert (run["run"].project, run["run"].run_group, run["run"].job_type) == ("heads", "tiny", "train")
        assert run["run"].display_name == "first"

    def test_config_holds_the_card_and_the_training(self, run):
        card = json.loads((run["folder"] / "out" / "selection.json").read_text())
        assert run["config"]["selection"] == card
        assert run["config"]["learning_rate"] == 1e-3

    def test_training_is_in_the_same_run(self, run):
        assert len([row for row in run["history"] if "train/loss" in row]) == 8

    def test_histograms(self, run):
        pool, selected = (run["summary"][f"selection/scores_{name}"] for name in ("pool", "selected"))
        assert (sum(pool["values"]), sum(selected["values"])) == (24, 12)
        assert run["summary"]["selection/num_selected"] == 12
        assert run["summary"]["selection/scores_seconds"] >= 0

    def test_heat_map_and_tables(self, run):
        heads = json.loads((run["folder"] / "out" / "selection" / "heads.json").read_text())
        assert (run["files"] / run["summary"]["selection/head_importance"]["path"]).is_file()
        table = read_media(run, "selection/heads")
        assert len(table["data"]) == 2 * 4
        assert [row[:2] for row in table["data"] if row[4]] == sorted(heads["selected"])
        table = read_media(run, "selection/extremes")
        scores = [row[table["columns"].index("score")] for row in table["data"]]
        assert len(scores) == 24
        assert scores == sorted(scores, reverse=True)

    def test_artifact(self, run):
        card = json.loads((run["folder"] / "out" / "selection.json").read_text())
        [artifact] = [item for item in run["artifacts"] if item.type == "selection"]
        assert artifact.name == f"selection-{card['fingerprint']}"
        names = {entry.path for entry in artifact.manifest.contents}
        assert {"selection.parquet", "selection.json", "heads.json", "scores/part-000000000.parquet"} <= names


def test_heat_map_is_red_for_more_loss_and_blue_for_less():
    picture = heat_map(np.array([[2.0, 0.0], [-2.0, 1.0]]))
    assert picture.shape == (2 * PIXELS, 2 * PIXELS, 3)
    corners = picture[::PIXELS, ::PIXELS].tolist()
    assert corners == [[[255, 0, 0], [255, 255, 255]], [[0, 0, 255], [255, 128, 128]]]


@pytest.mark.engine
class TestPlugin:
    """The selector in somebody's own script: an SFTTrainer with a tracker, and the selector as its callback."""

    def train(self, folder: Path, model: Path, *, keep: bool) -> dict:
        selector = CircuitSeerDataSelector(
            str(model), budget_ratio=0.5, probe_size=6, head_ratio=0.25, category_column="source"
        )
        rows = [
            {"problem": problem, "solution": solution, "source": ("even", "odd")[index % 2]}
            for index, (problem, solution) in enumerate(PROBLEMS)
        ]
        with offline(folder, WANDB_PROJECT="mine", WANDB_RUN_GROUP="ours"):
            chosen = selector.select(datasets.Dataset.from_list(rows), output_dir=folder / "s" if keep else None)
            args = SFTConfig(
                output_dir=str(folder / "out"),
                report_to="wandb",
                use_cpu=True,
                bf16=False,
                max_steps=2,
                logging_steps=1,
            )
            SFTTrainer(model=str(model), args=args, train_dataset=chosen, callbacks=[selector]).train()
        return read_offline(folder)

    def test_the_selection_is_in_the_trainers_run(self, tmp_path, model):
        run = self.train(tmp_path, model, keep=True)
        assert (run["run"].project, run["run"].run_group) == ("mine", "ours")
        assert len([row for row in run["history"] if "train/loss" in row]) == 2
        card = json.loads((tmp_path / "s" / "selection.json").read_text())
        assert run["config"]["selection"] == card
        lengths = [run["summary"][f"selection/num_tokens_{side}"]["values"] for side in ("pool", "selected")]
        assert [sum(values) for values in lengths] == [24, 12]
        table = read_media(run, "selection/categories")
        counts = {name: (pool, selected) for name, pool, selected, *_ in table["data"]}
        assert counts == {name: (12, card["categories"][name]["selected"]) for name in ("even", "odd")}
        # Shares of the pool's 24 rows, and of the selection's 12.
        assert table["data"][0][3:] == [0.5, pytest.approx(counts["even"][1] / 12)]
        assert [item.type for item in run["artifacts"] if item.type != "run_table"] == ["selection"]

    def test_a_selection_that_is_not_kept_is_not_logged(self, tmp_path, model):
        run = self.train(tmp_path, model, keep=False)
        assert "selection" not in run["config"]
        assert not run["artifacts"]


@pytest.mark.engine
def test_selection_has_a_run_of_its_own(tmp_path, model):
    arguments = ["--dataset_name", str(write_pool(tmp_path)), "--reference_model", str(model), "--probe_size", "6"]
    arguments += ["--head_ratio", "0.25", "--budget_ratio", "0.5", "--output_dir", str(tmp_path / "s")]
    with offline(tmp_path, WANDB_RUN_GROUP="ours"):
        select_data.main(arguments)
        assert not (tmp_path / "wandb").exists()  # off unless asked for
        select_data.main([*arguments, "--report_to", "wandb"])
    run = read_offline(tmp_path)
    assert (run["run"].project, run["run"].run_group, run["run"].job_type) == ("circuitseer", "ours", "select")
    assert run["summary"]["selection/num_selected"] == 12
    assert sum(run["summary"]["selection/scores_pool"]["values"]) == 24
    assert len(read_media(run, "selection/extremes")["data"]) == 24


@pytest.mark.engine
def test_evaluation_has_a_run_of_its_own(tmp_path, model, monkeypatch):
    folder = tmp_path / "benchmarks" / "word_problems"
    folder.mkdir(parents=True)
    rows = [{"problem": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(3)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--model_name_or_path", model, "--benchmarks", "word_problems", "--benchmarks_dir", folder.parent]
    arguments += ["--output_dir", tmp_path / "run", "--max_new_tokens", 8, "--num_samples", 2, "--report_to", "wandb"]
    monkeypatch.setattr("sys.argv", ["eval.run", *map(str, arguments)])
    with offline(tmp_path, WANDB_RUN_GROUP="ours"):
        evaluate.main()
    run, results = read_offline(tmp_path), json.loads((tmp_path / "run" / "results.json").read_text())
    assert (run["run"].run_group, run["run"].job_type) == ("ours", "evaluate")
    assert run["config"]["evaluation"]["num_samples"] == 2
    measured = results["benchmarks"]["word_problems"]
    metrics = ["pass_at_1", "avg_at_n", "majority_at_n", "mean_tokens", "tokens_per_second"]
    for metric in [*metrics, "truncated_ratio", "unanswered_ratio", "timeout_ratio", "accuracy_finished"]:
        if measured[metric] is not None:  # no answer of a random model may have ended by itself
            assert run["summary"][f"eval/word_problems/{metric}"] == pytest.approx(measured[metric])
    assert run["summary"]["eval/average/pass_at_1"] == pytest.approx(results["average"]["pass_at_1"])
    table = read_media(run, "eval/samples")
    assert len(table["data"]) == 3 * (1 + 2)
    first = dict(zip(table["columns"], table["data"][0], strict=True))
    assert (first["id"], first["greedy"], first["gold"]) == ("word_problems-0", True, "1")
    assert first["problem"] == "What is 0 + 1?"
    verdicts = [json.loads(line) for line in (tmp_path / "run/verdicts/word_problems.jsonl").read_text().splitlines()]
    shown = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    names = ("id", "greedy", "sample", "verdict", "extracted", "reason")
    assert [tuple(row[name] for name in names) for row in shown] == [
        tuple(line[name] for name in names) for line in verdicts
    ]
    [artifact] = [item for item in run["artifacts"] if item.type == "evaluation"]
    sizes = {entry.path: entry.size for entry in artifact.manifest.contents}
    kept = ["results.json", "generations/word_problems.jsonl", "verdicts/word_problems.jsonl"]
    assert sizes == {name: (tmp_path / "run" / name).stat().st_size for name in kept}
