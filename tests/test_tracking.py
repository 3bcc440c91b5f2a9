"""Weights & Biases: an offline run of selection and training, written and read back."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import wandb
import yaml
from wandb.proto import wandb_internal_pb2

from circuitseer_trl.scripts.train_sft import main
from circuitseer_trl.training.tracking import PIXELS, heat_map
from tests.training_fixtures import RECIPES, make_model_folder, write_pool

BLOCK = 1 << 15
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_run(path: Path) -> Iterator[wandb_internal_pb2.Record]:
    """The records of a .wandb file, which has LevelDB's log format behind a header of seven bytes."""
    data = path.read_bytes()
    assert struct.unpack_from("<4sHB", data) == (b":W&B", 0xBEE1, 0)
    position, parts = 7, []
    while position + 7 <= len(data):
        left = BLOCK - position % BLOCK
        if left < 7:  # a block's end too short for a record's header is padding
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


def items(message, values: dict | None = None) -> dict:
    values = {} if values is None else values
    for item in message:
        *parents, key = item.nested_key or [item.key]
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = json.loads(item.value_json)
    return values


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("wandb")
    model = make_model_folder(folder / "model")
    recipe = {"method": "circuitseer", "reference_model": str(model), "probe_size": 6, "head_ratio": 0.25}
    (folder / "selection.yaml").write_text(yaml.safe_dump(recipe | {"budget_ratio": 0.5}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(folder))
        main(
            [
                *("--config", str(RECIPES / "sft" / "tiny_cpu.yaml"), "--dataset_name", str(write_pool(folder))),
                *("--model_name_or_path", str(model), "--output_dir", str(folder / "out")),
                *("--selection_recipe", str(folder / "selection.yaml"), "--report_to", "wandb"),
                *("--wandb_project", "heads", "--wandb_group", "tiny", "--run_name", "first"),
            ]
        )
        if wandb.run is not None:
            wandb.finish()
    [file] = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    found: dict = {"folder": folder, "files": file.parent, "config": {}, "history": [], "summary": {}, "artifacts": []}
    for record in read_run(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = record.run
            found["config"] |= items(record.run.config.update)
        elif kind == "config":
            found["config"] |= items(record.config.update)
        elif kind == "history":
            found["history"].append(items(record.history.item))
        elif kind == "summary":
            items(record.summary.update, found["summary"])
        elif kind == "artifact":
            found["artifacts"].append(record.artifact)
        elif kind == "request" and record.request.WhichOneof("request_type") == "log_artifact":
            found["artifacts"].append(record.request.log_artifact.artifact)
    return found


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
        assert (run["files"] / "files" / run["summary"]["selection/head_importance"]["path"]).is_file()
        table = json.loads((run["files"] / "files" / run["summary"]["selection/heads"]["path"]).read_text())
        assert len(table["data"]) == 2 * 4
        assert [row[:2] for row in table["data"] if row[4]] == sorted(heads["selected"])
        table = json.loads((run["files"] / "files" / run["summary"]["selection/extremes"]["path"]).read_text())
        scores = [row[table["columns"].index("score")] for row in table["data"]]
        assert len(scores) == 24
        assert scores == sorted(scores, reverse=True)

    def test_artifact(self, run):
        card = json.loads((run["folder"] / "out" / "selection.json").read_text())
        [artifact] = [item for item in run["artifacts"] if item.type == "selection"]
        assert artifact.name == f"selection-{card['fingerprint']}"
        names = {entry.path for entry in artifact.manifest.contents}
        assert {"selection.parquet", "selection.json", "heads.json", "scores/part-00000.parquet"} <= names


def test_heat_map_is_red_for_more_loss_and_blue_for_less():
    picture = heat_map(np.array([[2.0, 0.0], [-2.0, 1.0]]))
    assert picture.shape == (2 * PIXELS, 2 * PIXELS, 3)
    corners = picture[::PIXELS, ::PIXELS].tolist()
    assert corners == [[[255, 0, 0], [255, 255, 255]], [[0, 0, 255], [255, 128, 128]]]
