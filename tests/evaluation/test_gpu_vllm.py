"""The vllm backend on a GPU with vLLM installed; `make gpu`."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import evaluate
from tests.helpers.tiny_models import save_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
pytest.importorskip("vllm")
NUM_PROBLEMS, NUM_SAMPLES = 12, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A random model with heads of 64, which vLLM's kernels take, and a benchmark."""
    folder = tmp_path_factory.mktemp("vllm")
    sizes = {"hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": 512}
    save_model(folder / "model", tokenizer, initializer_range=0.2, **sizes)
    (folder / "word_problems").mkdir()
    rows = [{"problem": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(NUM_PROBLEMS)]
    (folder / "word_problems" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(folder: Path, backend: str, name: str) -> dict[tuple, dict]:
    config = EvaluationConfig(
        str(folder / "model"), str(folder / name), ["word_problems"], str(folder), backend=backend, dtype="float32",
        max_new_tokens=16, num_samples=NUM_SAMPLES, temperature=1.0,
    )  # fmt: skip
    evaluate(config)
    lines = (folder / name / "generations" / "word_problems.jsonl").read_text().split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        del row["made_with"], row["check"]  # of the settings, which name the backend
    return {(row["id"], row["greedy"], row["sample"]): row for row in rows}


def test_answers_of_vllm(folder: Path):
    ours, theirs = run(folder, "transformers", "transformers"), run(folder, "vllm", "vllm")
    assert list(theirs) == list(ours)
    # Kernels round differently, and two tokens may be as likely: a greedy answer can part ways, but few do.
    greedy = [key for key in ours if key[1]]
    same = sum(theirs[key] == ours[key] for key in greedy)
    assert same >= 0.75 * len(greedy)
    draws = defaultdict(set)
    for (id, is_greedy, _), line in theirs.items():
        assert line["prompt"] == ours[id, True, 0]["prompt"]
        if not is_greedy:
            draws[id].add(line["text"])
    assert all(len(texts) == NUM_SAMPLES for texts in draws.values())

    # Some draws of a problem are lost: only they are drawn again, by their own seeds.
    file = folder / "vllm" / "generations" / "word_problems.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:7] + lines[9:]))
    again = run(folder, "vllm", "vllm")
    assert list(again) == list(theirs)
    assert sum(again[key] != theirs[key] for key in theirs) <= 2
