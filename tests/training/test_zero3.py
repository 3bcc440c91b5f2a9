"""Training with real ZeRO-3: two processes on the CPU, through `accelerate launch`."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from circuitseer_trl.artifacts import read_table
from circuitseer_trl.scripts.train_sft import main
from tests.helpers.training_runs import (
    RECIPES,
    losses,
    make_model_folder,
    make_pool,
    run_training,
    write_pool,
    write_selection,
)

# DeepSpeed builds its shared-memory collectives when it starts (about a minute, then cached).
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(shutil.which("g++") is None, reason="DeepSpeed needs g++ to build its collectives"),
]


class Case:
    """A model, 16 rows of the pool of 24 to train on, and the runs on one and two processes.

    Args:
        selected_in_launch: The rows are chosen in the launch by a recipe, the 8 rows a step are given as such, and the model's
            embeddings are tied. Otherwise the rows are 14 of a file, two of them twice, and the batch is given by its parts.
    """

    def __init__(self, folder: Path, *, selected_in_launch: bool = False):
        self.folder = folder
        self.model = make_model_folder(folder / "model", tie_word_embeddings=selected_in_launch)
        self.flags = [
            *("--dataset_name", str(write_pool(folder)), "--model_name_or_path", str(self.model)),
            *("--rope_theta", "300000", "--max_position_embeddings", "512"),
        ]
        if selected_in_launch:
            recipe = {"method": "circuitseer", "reference_model": str(self.model), "probe_size": 6, "head_ratio": 0.25}
            (folder / "selection.yaml").write_text(yaml.safe_dump(recipe | {"budget_size": 16}))
            self.flags += ["--selection_recipe", str(folder / "selection.yaml")]
            # The recipe's parts are taken back: 8 rows are 2 a process x 2 accumulated on two, x 4 on one.
            self.flags += ["--gradient_accumulation_steps", "1", "--total_batch_size", "8"]
        else:
            rows, weights = list(range(3, 17)), [2, 2] + [1] * 12
            selection = write_selection(folder / "selection", make_pool(folder), rows, weights)
            self.flags += ["--selection_file", str(selection)]
        self.selected_in_launch = selected_in_launch

    def two(self, output_dir: Path, **kwargs) -> str:
        return run_training(*self.flags, "--output_dir", str(output_dir), num_processes=2, **kwargs)

    def one(self, output_dir: Path) -> None:
        # The same 8 rows a step: 2 a process x 2 accumulated x 2 processes = 2 x 4 accumulated.
        config = ["--config", str(RECIPES / "sft" / "tiny_cpu.yaml")]
        batch = [] if self.selected_in_launch else ["--gradient_accumulation_steps", "4"]
        main([*config, *self.flags, *batch, "--output_dir", str(output_dir)])


@pytest.fixture(scope="module", params=[False, True], ids=["file", "recipe"])
def case(request, tmp_path_factory) -> Case:
    case = Case(tmp_path_factory.mktemp("zero3"), selected_in_launch=request.param)
    case.output = case.two(case.folder / "two")
    case.one(case.folder / "one")
    return case


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()


def test_is_zero3(case):
    result = json.loads((case.folder / "two" / "training.json").read_text())
    assert result["engine"] == "DEEPSPEED ZeRO-3"
    assert (result["world_size"], result["total_batch_size"], result["num_trained_rows"]) == (2, 8, 16)
    shards = sorted(path.name for path in (case.folder / "two" / "checkpoint-8" / "global_step8").glob("*optim*"))
    assert len(shards) == 2
    assert "2 a device x 2 accumulated x 2 processes = 8 rows. 8 steps, 1 of them warm-up" in case.output


def test_losses_are_those_of_one_process(case):
    assert losses(case.folder / "two") == pytest.approx(losses(case.folder / "one"), abs=1e-5)
    assert len(losses(case.folder / "two")) == 8


def test_weights_are_those_of_one_process(case):
    before, one, two = (weights(case.folder / name) for name in ("model", "one", "two"))
    assert one.keys() == two.keys()
    assert max((one[key] - two[key]).abs().max().item() for key in one) < 1e-6
    assert max((one[key] - before[key]).abs().max().item() for key in one) > 1e-3  # they did move


@pytest.mark.parametrize("name", ["", "checkpoint-4", "checkpoint-8"])
def test_every_saved_model_is_whole(case, name):
    folder = case.folder / "two" / name
    loaded = weights(folder)
    assert all(value.numel() for value in loaded.values())
    saved = json.loads((folder / "config.json").read_text())
    assert (saved["rope_theta"], saved["max_position_embeddings"]) == (300000.0, 512)
    assert json.loads((folder / "selection.json").read_text())["method"] == "circuitseer"


def test_last_checkpoint_is_the_saved_model(case):
    saved, last = weights(case.folder / "two"), weights(case.folder / "two" / "checkpoint-8")
    assert all(torch.equal(saved[key], last[key]) for key in saved)


def test_ddp_is_one_process_too(tmp_path):
    """Plain data parallelism on the CPU, as accelerate_configs/cpu.yaml starts it."""
    case = Case(tmp_path)
    case.two(tmp_path / "two", engine="cpu")
    case.one(tmp_path / "one")
    result = json.loads((tmp_path / "two" / "training.json").read_text())
    assert (result["engine"], result["world_size"]) == ("MULTI_CPU", 2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)


@pytest.mark.parametrize("case", [True], ids=["recipe"], indirect=True)
def test_selection_in_the_launch(case):
    """Two ZeRO-3 processes select as one process does, and then train on it."""
    one, two = (read_table(case.folder / name / "selection" / "selection.parquet") for name in ("one", "two"))
    assert one.equals(two)
    assert (case.folder / "two" / "selection.json").is_file()


@pytest.mark.parametrize("case", [False], ids=["file"], indirect=True)
def test_killed_run_goes_on(case):
    out = case.folder / "resumed"
    shutil.copytree(case.folder / "two", out, ignore=shutil.ignore_patterns("checkpoint-8"))
    for file in [file for file in out.iterdir() if file.is_file() and file.name != "training_settings.json"]:
        file.unlink()
    assert "Going on from" in case.two(out)
    assert losses(out) == losses(case.folder / "two")
    assert json.loads((out / "training.json").read_text())["resumed_from"] == "checkpoint-4"
    resumed, whole = weights(out), weights(case.folder / "two")
    assert max((resumed[key] - whole[key]).abs().max().item() for key in whole) < 1e-7


@pytest.mark.parametrize("case", [False], ids=["file"], indirect=True)
def test_resume_with_one_process_is_refused(case):
    checkpoint = case.folder / "two" / "checkpoint-4"
    arguments = ["--config", str(RECIPES / "sft" / "tiny_cpu.yaml"), *case.flags]
    with pytest.raises(ValueError, match=r"2 shards.*1 processes.*--num_processes 2"):
        main([*arguments, "--output_dir", str(case.folder / "other"), "--resume_from_checkpoint", str(checkpoint)])
