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
    """A model, a selection of 14 rows of the pool of 24 (two of them twice), and the runs on one and two processes."""

    def __init__(self, folder: Path, *, tied: bool):
        self.folder = folder
        self.model = make_model_folder(folder / "model", tie_word_embeddings=tied)
        self.pool = write_pool(folder)
        selection = write_selection(folder / "selection", make_pool(folder), list(range(3, 17)), [2, 2] + [1] * 12)
        self.flags = [
            *("--dataset_name", str(self.pool), "--selection_file", str(selection)),
            *("--model_name_or_path", str(self.model), "--rope_theta", "300000", "--max_position_embeddings", "512"),
        ]

    def two(self, output_dir: Path, **kwargs) -> str:
        return run_training(*self.flags, "--output_dir", str(output_dir), num_processes=2, **kwargs)

    def two_by_total(self, output_dir: Path) -> None:
        """As `two`, whose 8 rows a step are given as such."""
        batch = ["--gradient_accumulation_steps", "1", "--total_batch_size", "8"]
        run_training(*self.flags, *batch, "--output_dir", str(output_dir), num_processes=2)

    def one(self, output_dir: Path) -> None:
        # The same 8 rows a step: 2 a process x 2 accumulated x 2 processes = 2 x 4 accumulated.
        config = ["--config", str(RECIPES / "sft" / "tiny_cpu.yaml"), "--gradient_accumulation_steps", "4"]
        main([*config, *self.flags, "--output_dir", str(output_dir)])


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def case(request, tmp_path_factory) -> Case:
    case = Case(tmp_path_factory.mktemp("zero3"), tied=request.param)
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


@pytest.mark.parametrize("case", [False], ids=["untied"], indirect=True)
def test_total_batch_is_reached_by_accumulation(case):
    case.two_by_total(case.folder / "total")
    assert losses(case.folder / "total") == losses(case.folder / "two")
    assert json.loads((case.folder / "total" / "training.json").read_text())["total_batch_size"] == 8


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
    case = Case(tmp_path, tied=False)
    case.two(tmp_path / "two", engine="cpu")
    case.one(tmp_path / "one")
    result = json.loads((tmp_path / "two" / "training.json").read_text())
    assert (result["engine"], result["world_size"]) == ("MULTI_CPU", 2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)


def test_selection_in_the_launch(tmp_path):
    """Two ZeRO-3 processes select as one process does, and then train on it."""
    model, pool = make_model_folder(tmp_path / "model"), write_pool(tmp_path)
    recipe = {"method": "circuitseer", "reference_model": str(model), "probe_size": 6, "head_ratio": 0.25}
    (tmp_path / "selection.yaml").write_text(yaml.safe_dump(recipe | {"budget_ratio": 0.5}))
    flags = ["--dataset_name", str(pool), "--model_name_or_path", str(model), "--max_steps", "2"]
    flags += ["--selection_recipe", str(tmp_path / "selection.yaml")]
    run_training(*flags, "--output_dir", str(tmp_path / "two"), num_processes=2)
    main(["--config", str(RECIPES / "sft" / "tiny_cpu.yaml"), *flags, "--output_dir", str(tmp_path / "one")])
    one, two = (read_table(tmp_path / name / "selection" / "selection.parquet") for name in ("one", "two"))
    assert one.equals(two)
    assert json.loads((tmp_path / "two" / "training.json").read_text())["num_trained_rows"] == 12
    assert (tmp_path / "two" / "selection.json").is_file()


@pytest.mark.parametrize("case", [False], ids=["untied"], indirect=True)
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


@pytest.mark.parametrize("case", [False], ids=["untied"], indirect=True)
def test_resume_with_one_process_is_refused(case):
    checkpoint = case.folder / "two" / "checkpoint-4"
    arguments = ["--config", str(RECIPES / "sft" / "tiny_cpu.yaml"), *case.flags]
    with pytest.raises(ValueError, match=r"2 shards.*1 processes.*--num_processes 2"):
        main([*arguments, "--output_dir", str(case.folder / "other"), "--resume_from_checkpoint", str(checkpoint)])
