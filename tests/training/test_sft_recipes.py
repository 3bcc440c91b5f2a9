"""Every training recipe trains two steps: a random tiny model of the recipe's architecture and kind of tokenizer."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoTokenizer, GenerationConfig

from circuitseer_trl.scripts.train_sft import main
from tests.helpers.tiny_models import Style, build_tokenizer, save_model
from tests.helpers.training_runs import PROBLEMS, RECIPES, write_pool

pytestmark = pytest.mark.thorough

SHRUNK = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
# What the tiny models keep of the models on the Hub, as far as training depends on it.
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
QWEN_MATH_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
LLAMA31 = {"max_position_embeddings": 131072, "rope_parameters": LLAMA3_ROPE}
LLAMA32 = LLAMA31 | {"tie_word_embeddings": True, "rope_parameters": LLAMA3_ROPE | {"factor": 32.0}}
QWEN_MATH = {"max_position_embeddings": 4096, "rope_parameters": QWEN_MATH_ROPE, "tie_word_embeddings": False}
# recipe: architecture, tokenizer, what the model's own tokenizer ends a text with, what of the configuration is kept
MODELS: dict[str, tuple[str, Style, str, dict[str, Any]]] = {
    "qwen2.5-math-7b": ("qwen2", "chatml", "<|endoftext|>", QWEN_MATH),
    "qwen2.5-math-7b-instruct": ("qwen2", "chatml", "<|im_end|>", QWEN_MATH),
    "single-24gb": ("qwen2", "chatml", "<|endoftext|>", QWEN_MATH | {"tie_word_embeddings": True}),
    "llama-3.1-8b-instruct": ("llama", "llama3", "<|eot_id|>", LLAMA31),
    "llama-3.2-3b": ("llama", "llama3", "<|end_of_text|>", LLAMA32),
    "tiny_cpu": ("qwen2", "chatml", "<|im_end|>", QWEN_MATH),
}
BASE_WITHOUT_TEMPLATE = ("llama-3.2-3b",)
ON_A_CPU = ["--use_cpu", "true", "--bf16", "false", "--dtype", "float32", "--attn_implementation", "sdpa"]


def make_model(folder: Path, name: str) -> Path:
    architecture, style, eos, kept = MODELS[name]
    tokenizer = build_tokenizer(style, PROBLEMS)
    tokenizer.eos_token = eos
    tokenizer.chat_template = None if name in BASE_WITHOUT_TEMPLATE else tokenizer.chat_template
    return save_model(folder, tokenizer, architecture, **SHRUNK, **kept)


def test_every_recipe_has_its_model_here():
    assert {path.stem for path in (RECIPES / "sft").glob("*.yaml")} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_two_steps(tmp_path, name):
    path = RECIPES / "sft" / f"{name}.yaml"
    keys = yaml.safe_load(path.read_text())
    model = make_model(tmp_path / "model", name)
    flags = [*ON_A_CPU, "--max_steps", "2", "--logging_steps", "1", "--dataset_num_proc", "1"]
    if "chat_template_path" in keys:
        build_tokenizer(MODELS[name][1], PROBLEMS).save_pretrained(tmp_path / "template")
        flags += ["--chat_template_path", str(tmp_path / "template")]
    files = ["--dataset_name", str(write_pool(tmp_path)), "--model_name_or_path", str(model)]
    main(["--config", str(path), *files, *flags, "--output_dir", str(tmp_path / "out")])

    out = tmp_path / "out"
    result = json.loads((out / "training.json").read_text())
    assert (result["num_steps"], result["num_warmup_steps"], result["format"]) == (2, 1, "chat")
    assert (result["num_answers_partly_cut"], result["num_answers_wholly_cut"]) == (0, 0)
    before, after = (load_file(folder / "model.safetensors") for folder in (model, out))
    assert before.keys() == after.keys()
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    assert len(moved) == len(before)

    # The end of turn is trained, is the tokenizer's end, and stops generation.
    end = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>"}[MODELS[name][1]]
    tokenizer = AutoTokenizer.from_pretrained(out)
    stops = GenerationConfig.from_pretrained(out).eos_token_id
    assert tokenizer.eos_token == end
    assert tokenizer.eos_token_id in (stops if isinstance(stops, list) else [stops])

    # RoPE as the recipe says, or else as the model had it, also where older readers look.
    saved, had = json.loads((out / "config.json").read_text()), MODELS[name][3]
    theta = keys.get("rope_theta", had["rope_parameters"]["rope_theta"])
    assert saved["rope_parameters"] == had["rope_parameters"] | {"rope_theta": theta}
    assert saved["rope_theta"] == theta
    assert saved["max_position_embeddings"] == keys.get("max_position_embeddings", had["max_position_embeddings"])
    if "rope_scaling" in saved:
        assert saved["rope_scaling"]["rope_type"] == "llama3"
