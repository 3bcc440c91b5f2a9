"""Steps of 16k tokens on a GPU: each attention kernel fits, learns, and gives the same loss; `make gpu`."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from circuitseer_trl.artifacts import write_json
from circuitseer_trl.scripts.train_sft import main
from tests.helpers.training_runs import RECIPES, losses, make_model_folder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

NUM_TOKENS = 16384
NO_FLASH = importlib.util.find_spec("flash_attn") is None
KERNELS = [
    "sdpa",
    pytest.param("flash_attention_2", marks=pytest.mark.skipif(NO_FLASH, reason="flash-attn is not installed")),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A random model with the widths and the vocabulary of Qwen2.5-Math-1.5B and seven of its layers, and long rows."""
    folder = tmp_path_factory.mktemp("gpu")
    make_model_folder(
        folder / "model", vocab_size=151936, hidden_size=1536, intermediate_size=8960, num_hidden_layers=7,
        num_attention_heads=12, max_position_embeddings=4096, tie_word_embeddings=True,
    )  # fmt: skip
    solution = "".join(f"We add {n} and {n + 1}. " for n in range(20000))  # far more tokens than are kept
    rows = [{"problem": f"Go on from {n}.", "solution": solution} for n in range(4)]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def train(folder: Path, kernel: str, *more: str) -> dict:
    """Three steps of one row with the settings of the paper's recipe; what they took."""
    output = folder / "_".join([kernel, *more]).replace("--", "")
    flags = ["--model_name_or_path", str(folder / "model"), "--dataset_name", str(folder / "pool.jsonl")]
    flags += ["--attn_implementation", kernel, "--max_steps", "3", "--total_batch_size", "1"]
    flags += ["--dtype", "float32", "--logging_steps", "1", "--save_strategy", "steps", "--save_steps", "3"]
    flags += ["--dataset_num_proc", "1", "--output_dir", str(output), *more]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    main(["--config", str(RECIPES / "sft" / "qwen2.5-math-7b.yaml"), *flags])
    result = json.loads((output / "training.json").read_text())
    measured = {
        "device": torch.cuda.get_device_name(),
        "attention": kernel,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        "tokens_per_second": result["tokens_per_second"],
        "losses": losses(output),
        "num_tokens": result["num_tokens"],
    }
    write_json(output / "measured.json", measured)
    print(json.dumps(measured))
    return measured


@pytest.mark.parametrize("kernel", KERNELS)
def test_long_steps_fit_and_learn(folder, kernel):
    measured = train(folder, kernel)
    assert measured["num_tokens"] == 3 * NUM_TOKENS
    assert measured["losses"][-1] < measured["losses"][0]
    # Float32 weights, gradients and two moments of 0.56e9 parameters are 8.4 GiB. The logits of one row, which must
    # never be whole, would be 16384 x 151936 x 4 bytes = 9.3 GiB, and twice that with their gradient.
    assert measured["peak_gib"] < 8.4 + 9.3


@pytest.mark.skipif(NO_FLASH, reason="flash-attn is not installed")
def test_kernels_agree(folder):
    first, second = (train(folder, kernel, "--seed", "7")["losses"] for kernel in ("sdpa", "flash_attention_2"))
    assert first == pytest.approx(second, rel=5e-3)  # both compute in bfloat16


def test_checkpointing_of_activations_saves_memory(folder):
    saved = train(folder, "sdpa", "--seed", "8")["peak_gib"]
    kept = train(folder, "sdpa", "--gradient_checkpointing", "false")["peak_gib"]
    assert saved < kept
