"""How is the demo's base model made? Trains it and its tokenizer from scratch, and writes `recipes/demo/base_model/`.

    python -m circuitseer_trl.demo.train_base
    python -m circuitseer_trl.demo.train_base --seed 1 --shape deep --output_dir DIR

The model stands for a pretrained model that can be improved. It is trained mostly on problems of one and two steps, on some of
three and four, and on none with more. The seed fixes the data and the initial weights. The trained weights vary with the
machine and the number of threads, as floating-point sums do.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import tokenizers
import torch
import transformers
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from circuitseer_trl.demo.word_problems import Row, problems
from circuitseer_trl.modeling.encoding import chat_text


@dataclass(frozen=True)
class Stage:
    """A part of the corpus.

    Attributes:
        num_problems: Number of problems.
        weights: Shares of problems with one to four steps.
        hurried_ratio: Share of the problems with three or four steps whose solution stops early.
        learning_rate: Peak learning rate.
    """

    num_problems: int
    weights: tuple[float, float, float, float]
    hurried_ratio: float
    learning_rate: float


# First arithmetic and reading, then longer problems, whose solutions often stop after two steps. After the first stage alone,
# fine-tuning on 200 examples makes the model worse. After the second stage fine-tuning helps, for a large part because the
# model unlearns to stop early.
STAGES = (
    Stage(num_problems=120_000, weights=(0.54, 0.43, 0.02, 0.01), hurried_ratio=0.0, learning_rate=3e-3),
    Stage(num_problems=24_000, weights=(0.1, 0.2, 0.35, 0.35), hurried_ratio=0.65, learning_rate=1.5e-3),
)
# Sizes of the network. `demo` shares a key head between two query heads; `deep` has one for each, and more layers.
SHAPES: dict[str, dict[str, int]] = {
    "demo": {
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
    "deep": {
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
    },
}
BATCH_SIZE = 64
WARMUP_STEPS = 50
# The base model also learns to predict problems, as in pretraining, but a small model should mostly learn to solve them.
PROMPT_LOSS_WEIGHT = 0.1
VOCAB_SIZE = 576
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(texts: list[str]) -> Qwen2Tokenizer:
    """Trains a byte-level BPE of at most `VOCAB_SIZE` tokens, in the class that `AutoTokenizer` picks for a `qwen2` folder.

    A tokenizer of another class is also loaded as `Qwen2Tokenizer`, and may then encode every text as no tokens.
    """
    blank = Qwen2Tokenizer(eos_token="<|im_end|>", additional_special_tokens=["<|im_start|>"])
    tokenizer = blank.train_new_from_iterator(iter([texts]), vocab_size=VOCAB_SIZE, show_progress=False)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_model(tokenizer: Qwen2Tokenizer, shape: str, seed: int) -> Qwen2ForCausalLM:
    """Makes a Qwen2 of 0.7 to 0.8M parameters."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        **SHAPES[shape],  # type: ignore[arg-type]  # numbers alone
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def encode(rows: list[Row], tokenizer: Qwen2Tokenizer) -> list[tuple[list[int], int]]:
    """Token ids of each conversation, and the number of its prompt's tokens."""
    chats = [
        [{"role": "user", "content": str(row["problem"])}, {"role": "assistant", "content": str(row["solution"])}]
        for row in rows
    ]
    prompts = [chat_text(tokenizer, chat[:1], add_generation_prompt=True) for chat in chats]
    wholes = [chat_text(tokenizer, chat) for chat in chats]
    return [
        (ids, len(prompt))
        for ids, prompt in zip(tokenizer(wholes).input_ids, tokenizer(prompts).input_ids, strict=True)
    ]


def batches(encoded: list[tuple[list[int], int]], rng: random.Random) -> Iterator[list[tuple[list[int], int]]]:
    """Yields each row once, in batches of rows of similar length, to have little padding."""
    by_length = sorted(encoded, key=lambda item: (len(item[0]), rng.random()))
    starts = list(range(0, len(by_length), BATCH_SIZE))
    rng.shuffle(starts)
    for start in starts:
        yield by_length[start : start + BATCH_SIZE]


def completion_and_weighted_loss(
    model: Qwen2ForCausalLM, batch: list[tuple[list[int], int]], pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean loss over the solutions' tokens, and the training loss, which also has the problems' tokens at a low weight."""
    length = max(len(ids) for ids, _ in batch)
    inputs = torch.tensor([ids + [pad] * (length - len(ids)) for ids, _ in batch])
    completion = torch.tensor(
        [[float(num_prompt <= i < len(ids)) for i in range(1, length)] for ids, num_prompt in batch]
    )
    prompt = torch.tensor([[float(i < num_prompt) for i in range(1, length)] for _, num_prompt in batch])
    # No attention mask: the padding is on the right, and causal attention sees only what is on the left.
    logits = model(input_ids=inputs[:, :-1]).logits
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), inputs[:, 1:], reduction="none")
    weights = completion + PROMPT_LOSS_WEIGHT * prompt
    return (losses * completion).sum() / completion.sum(), (losses * weights).sum() / weights.sum()


def hurried(row: Row) -> Row:
    """Cuts the solution after two steps, which makes it wrong."""
    lines = str(row["solution"]).split("\n")[:2]
    return row | {"solution": "\n".join([*lines, f"The answer is \\boxed{{{lines[-1].split('=')[1]}}}."])}


def make_corpus(stage: Stage, rng: random.Random) -> list[Row]:
    """Makes a stage's problems, some of them with a solution that stops early."""
    nums_steps = rng.choices(range(1, len(stage.weights) + 1), stage.weights, k=stage.num_problems)
    rows = list(problems("corpus", iter(nums_steps), rng))
    return [hurried(row) if int(row["num_steps"]) > 2 and rng.random() < stage.hurried_ratio else row for row in rows]


def train(
    model: Qwen2ForCausalLM, encoded: list[tuple[list[int], int]], pad: int, learning_rate: float, seed: int
) -> list[float]:
    """Trains for one epoch on a stage. Returns the loss of the solutions at each step, in nats per token."""
    num_steps = -(-len(encoded) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, WARMUP_STEPS, num_steps)
    history: list[float] = []
    for batch in batches(encoded, random.Random(seed)):
        completion_loss, loss = completion_and_weighted_loss(model, batch, pad)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        history.append(completion_loss.item())
        if len(history) % 50 == 0:
            print(f"step {len(history)}/{num_steps}  loss {sum(history[-50:]) / 50:.4f} nats per token", flush=True)
    return history


def run_stage(index: int, folder: Path, shape: str, seed: int) -> None:
    """Trains from the files of the previous stage in `folder`, or from scratch, and writes model, tokenizer and record."""
    began = time.perf_counter()
    stage = STAGES[index]
    rows = make_corpus(stage, random.Random(seed + index))
    if index == 0:
        tokenizer = train_tokenizer([f"user\n{row['problem']}\nassistant\n{row['solution']}" for row in rows[:20_000]])
        model, records = build_model(tokenizer, shape, seed), []
    else:
        tokenizer = Qwen2Tokenizer.from_pretrained(folder)
        model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
        records = json.loads((folder / "training.json").read_text(encoding="utf-8"))["stages"][:index]
    history = train(model, encode(rows, tokenizer), tokenizer.pad_token_id, stage.learning_rate, seed)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.to(torch.bfloat16)  # type: ignore[arg-type]  # transformers wraps `to` and loses its type
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    result = {"num_optimizer_steps": len(history), "final_loss_nats": sum(history[-50:]) / len(history[-50:])}
    records.append(asdict(stage) | result | {"seconds": round(time.perf_counter() - began)})
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }
    record = {
        "seed": seed,
        "shape": shape,
        "num_parameters": model.num_parameters(),
        "versions": versions,
        "stages": records,
    }
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo's base model.", allow_abbrev=False)
    parser.add_argument("--output_dir", type=Path, default=Path("recipes/demo/base_model"))
    parser.add_argument("--seed", type=int, default=0, help="Seed of the corpus and of the initial weights.")
    parser.add_argument("--shape", choices=SHAPES, default="demo", help="Size of the network.")
    parser.add_argument("--first_stage", type=int, choices=range(len(STAGES)), default=0, help="Stage to start from.")
    parser.add_argument("--num_threads", type=int, default=2, help="CPU threads; 1 is faster if other work runs.")
    args = parser.parse_args()
    torch.set_num_threads(args.num_threads)
    for index in range(args.first_stage, len(STAGES)):
        run_stage(index, args.output_dir, args.shape, args.seed)


if __name__ == "__main__":
    main()
