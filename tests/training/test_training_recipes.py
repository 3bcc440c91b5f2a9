"""Recipes and configurations of training: the paper's values, the schedule, RoPE keys of older libraries."""

import json
from pathlib import Path

import pytest
import trl
import yaml
from transformers import AutoConfig

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.training.preflight import set_total_batch
from circuitseer_trl.training.provenance import Provenance
from circuitseer_trl.training.rope_scaling import write_legacy_rope
from circuitseer_trl.training.run import make_schedule, make_trainer
from circuitseer_trl.training.selected_rows import training_rows, whole_pool
from circuitseer_trl.training.target import inspect_target
from tests.helpers.training_runs import RECIPES, ROOT, flags, make_model_folder, make_pool, parse

pytestmark = pytest.mark.thorough

CONFIGS = ROOT / "accelerate_configs"
PAPER = ["qwen2.5-math-7b", "qwen2.5-math-7b-instruct", "llama-3.1-8b-instruct", "llama-3.2-3b"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("chatml"))


class TestRecipes:
    @pytest.mark.parametrize(
        "path", sorted([*(RECIPES / "sft").glob("*.yaml"), RECIPES / "smollm2" / "sft.yaml"]), ids=str
    )
    def test_every_recipe_parses(self, path, tmp_path):
        keys = yaml.safe_load(path.read_text())
        # bf16 is refused on a machine without a GPU, but what is tested is the recipe.
        more = ["--bf16", "false", "--use_cpu", "true", "--output_dir", str(tmp_path), "--dataset_name", "x"]
        _, args, _, config = parse(["--config", str(path), *more])
        assert args.learning_rate == keys["learning_rate"]
        assert args.report_to == []
        assert config.selection_file is None

    @pytest.mark.parametrize("name", PAPER)
    def test_paper(self, name, tmp_path):
        more = ["--bf16", "false", "--use_cpu", "true", "--output_dir", str(tmp_path), "--dataset_name", "x"]
        _, args, model_config, config = parse(["--config", str(RECIPES / "sft" / f"{name}.yaml"), *more])
        # 10% of the 196k rows, three epochs in batches of 32 on 8 GPUs: ceil(19600 / 32) = 613 steps an epoch.
        set_total_batch(args, config.total_batch_size, 8)
        assert args.gradient_accumulation_steps == 4
        schedule = make_schedule(args, 19600, 8)
        assert (schedule.total_batch_size, schedule.num_steps, schedule.num_warmup_steps) == (32, 1839, 184)
        assert (args.learning_rate, args.num_train_epochs) == (5e-5, 3)
        assert (args.lr_scheduler_type, args.optim) == ("cosine", "adamw_torch_fused")
        assert args.max_length == (8192 if name == "llama-3.2-3b" else 16384)
        assert config.rope_theta == (300000.0 if name.startswith("qwen") else None)
        assert model_config.attn_implementation == "flash_attention_2"

    def test_single_gpu_has_the_papers_batch(self, tmp_path):
        more = ["--bf16", "false", "--use_cpu", "true", "--output_dir", str(tmp_path), "--dataset_name", "x"]
        _, args, _, config = parse(["--config", str(RECIPES / "sft" / "single-24gb.yaml"), *more])
        set_total_batch(args, config.total_batch_size, 1)
        assert make_schedule(args, 19600, 1).total_batch_size == 32

    def test_schedule_is_the_trainers(self, tmp_path, model):
        _, args, model_config, _ = parse(flags(tmp_path, model, "--max_steps", "-1", "--num_train_epochs", "2"))
        target = inspect_target(args, model_config, chat_settings=ChatSettings(""))
        pool = make_pool(tmp_path, 21)
        rows = training_rows(pool, whole_pool(pool), chat=True)
        trainer = make_trainer(rows, target, args, Provenance(pool, whole_pool(pool)))
        trainer.train()
        # 21 rows: 11 batches of 2, in 6 steps of 2; two epochs.
        assert make_schedule(args, 21, 1).num_steps == trainer.state.max_steps == 12


@pytest.mark.parametrize(("ours", "theirs"), [("zero3", "zero3"), ("ddp", "multi_gpu")])
def test_accelerate_configs_are_those_of_trl(ours, theirs):
    folder = Path(trl.__file__).parent / "accelerate_configs"
    mine, other = (yaml.safe_load(path.read_text()) for path in (CONFIGS / f"{ours}.yaml", folder / f"{theirs}.yaml"))
    assert mine == other


def test_legacy_keys_of_scaled_rope(tmp_path):
    scaled = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "original_max_position_embeddings": 8192}
    scaled |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "rope_parameters": scaled}))
    write_legacy_rope(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["rope_theta"] == 500000.0
    assert saved["rope_scaling"] == {key: value for key, value in scaled.items() if key != "rope_theta"}
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == scaled
