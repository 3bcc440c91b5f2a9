"""A training script of one's own, with two lines of CircuitSeer in it.

    python examples/plugin.py MODEL POOL.jsonl OUTPUT_DIR
    accelerate launch --config_file accelerate_configs/zero3.yaml examples/plugin.py MODEL POOL.jsonl OUTPUT_DIR

POOL.jsonl has a `problem` and a `solution` a line. The same model is looked into and trained here; the paper looks into a
small one (Qwen2.5-Math-1.5B-Instruct) and trains a larger one.
"""

import sys

import torch
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

from circuitseer_trl import CircuitSeerDataSelector


def main(model: str, pool: str, output_dir: str) -> None:
    on_gpu = torch.cuda.is_available()
    args = SFTConfig(output_dir=f"{output_dir}/model", max_length=1024, max_steps=4, use_cpu=not on_gpu, bf16=on_gpu)
    dataset = load_dataset("json", data_files=pool, split="train")

    selector = CircuitSeerDataSelector(reference_model=model, budget_ratio=0.5, probe_size=8, seed=42)
    selected = selector.select(dataset, output_dir=f"{output_dir}/selection")

    trainer = SFTTrainer(model=model, args=args, train_dataset=selected, callbacks=[selector])
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main(*sys.argv[1:])
