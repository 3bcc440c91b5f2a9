"""A tiny pretrained model folder, a pool, and runs of the training script, for the tests of training."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import ModelConfig, SFTConfig

from circuitseer_trl.artifacts import write_json, write_table
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.training.training_config import TrainingConfig

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As Llama 3's own: a begin-of-text token from the template, and an end of turn with no newline after it.
LLAMA3 = (
    "{{ '<|begin_of_text|>' }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
SPECIAL = {
    "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "plain": ["<|endoftext|>"],
}
EOS = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>", "plain": "<|endoftext|>"}
TEMPLATES = {"chatml": CHATML, "llama3": LLAMA3, "plain": None}

PROBLEMS = [
    (f"What is {a} plus {a * 7 % 10}?", f"We add {a} and {a * 7 % 10}.\n\\boxed{{{a + a * 7 % 10}}}") for a in range(24)
]


def make_tokenizer(style: str = "chatml") -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: a made-up one loads as Qwen2's kind and maps every text to nothing."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=SPECIAL[style]
    )
    bpe.train_from_iterator([text for pair in PROBLEMS for text in pair], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=EOS[style], pad_token=SPECIAL[style][0])
    tokenizer.chat_template = TEMPLATES[style]
    assert tokenizer("What is 1 plus 7?")["input_ids"]
    return tokenizer


def make_model_folder(folder: Path, style: str = "chatml", *, tied: bool = False, positions: int = 256) -> Path:
    """A random two-layer Qwen2 with grouped-query attention, saved with its tokenizer."""
    tokenizer = make_tokenizer(style)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        tie_word_embeddings=tied,
        eos_token_id=tokenizer.eos_token_id,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_pool(folder: Path, num_rows: int = 24) -> Path:
    path = folder / "pool.jsonl"
    rows = [json.dumps({"problem": problem, "solution": solution}) for problem, solution in PROBLEMS[:num_rows]]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def make_pool(folder: Path, num_rows: int = 24) -> Pool:
    return load_pool(str(write_pool(folder, num_rows)))


def write_selection(folder: Path, pool: Pool, indices: list[int], weights: list[float] | None = None) -> Path:
    """A `selection.parquet` and its card, as `select_data` leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "row": pa.array(pool.rows[indices], pa.int64()),
            "uid": [pool.uids[i] for i in indices],
            "order": pa.array(range(len(indices)), pa.int64()),
            "score": pa.array([float(i) for i in indices], pa.float64()),
            "weight": pa.array(weights or [1.0] * len(indices), pa.float64()),
            "inclusion_probability": pa.array([0.5] * len(indices), pa.float64()),
        }
    )
    write_table(folder / "selection.parquet", table)
    card: dict[str, Any] = {"method": "circuitseer", "pool": pool.describe(), "fingerprint": "0123456789abcdef"}
    write_json(folder / "selection.json", card)
    return folder / "selection.parquet"


def engine_environment() -> dict[str, str]:
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
        "WANDB_MODE": "offline",
        "PYTHONPATH": str(ROOT),
        # DeepSpeed builds a small extension with ninja, which pip installs beside python.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def run_training(
    *flags: str,
    num_processes: int = 1,
    engine: str = "zero3",
    check: bool = True,
    module: str = "circuitseer_trl.scripts.train_sft",
    **environment: str,
) -> str:
    """Runs the training script in processes of its own, under `accelerate launch` where there are several.

    Args:
        check: Whether a run that fails fails the test.
        module: What is run in place of the script.
        environment: More variables of the environment.

    Returns:
        What it printed, errors included.
    """
    command = [sys.executable, "-m"]
    if num_processes > 1:
        config = ROOT / "accelerate_configs" / f"{engine}.yaml"
        command += ["accelerate.commands.launch", "--config_file", str(config)]
        command += ["--num_processes", str(num_processes), "--main_process_port", "0", "--mixed_precision", "no", "-m"]
    command += [module, "--config", str(RECIPES / "sft" / "tiny_cpu.yaml"), *flags]
    variables = engine_environment() | environment
    done = subprocess.run(command, env=variables, cwd=ROOT, text=True, capture_output=True, timeout=300)
    output = done.stdout + done.stderr
    assert not check or done.returncode == 0, output[-6000:]
    return output


def losses(folder: Path) -> list[float]:
    """The loss of every logged step of a run, from the state of its last checkpoint."""
    last = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    history = json.loads((last / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def flags(tmp_path: Path, model: Path, *more: str) -> list[str]:
    pool = write_pool(tmp_path)
    return [
        *("--config", str(RECIPES / "sft" / "tiny_cpu.yaml"), "--dataset_name", str(pool)),
        *("--model_name_or_path", str(model), "--output_dir", str(tmp_path / "out"), *more),
    ]


def parse(arguments: list[str]):
    return parse_recipe(PoolConfig, SFTConfig, ModelConfig, TrainingConfig, args=arguments)
