"""How good is a model after a short fine-tuning on some rows? What TRL's SFTTrainer does, without a process of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_pt_utils import get_length_grouped_indices

from circuitseer_trl.modeling.encoding import chat_text
from circuitseer_trl.modeling.losses import last_hidden_states, pad_right
from circuitseer_trl.modeling.predictions import response_predictions
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.chat import conversation
from circuitseer_trl.pool.rows import Example


@dataclass(frozen=True)
class Settings:
    """Settings of a training. Those that are not here are TRL's defaults: AdamW, a clip of 1, a cosine schedule."""

    num_epochs: int = 6
    learning_rate: float = 5e-4
    batch_size: int = 16
    warmup_ratio: float = 0.1
    max_grad_norm: float = 1.0


@dataclass(frozen=True)
class TrainingRow:
    """The tokens of a conversation; the loss covers those after the prompt."""

    ids: tuple[int, ...]
    num_prompt_tokens: int


def training_row(tokenizer: PreTrainedTokenizerBase, problem: str, completion: str) -> TrainingRow:
    """A row as TRL reads it in the prompt-completion format: with the end of the turn, which is part of the completion."""
    turns = conversation(problem, completion, "")
    prompt, answer = turns["prompt"], turns["completion"]
    texts = [chat_text(tokenizer, prompt, add_generation_prompt=True), chat_text(tokenizer, prompt + answer)]
    start, whole = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    assert whole[: len(start)] == start
    return TrainingRow(tuple(whole), len(start))


def order_of(lengths: Sequence[int], settings: Settings, seed: int) -> list[list[int]]:
    """The batches of all epochs: rows of similar length together, drawn as transformers' sampler draws them."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(settings.num_epochs):
        order = get_length_grouped_indices(list(lengths), settings.batch_size, generator=generator)
        batches += [order[start : start + settings.batch_size] for start in range(0, len(order), settings.batch_size)]
    return batches


def train(
    model: PreTrainedModel, rows: Sequence[TrainingRow], batches: Sequence[Sequence[int]], settings: Settings
) -> list[float]:
    """Trains a model in place. Returns the loss of each batch: the mean over the tokens of its completions, in nats.

    The logits of prompts are not computed, and there is no attention mask: padding is on the right, and its hidden states have
    no part in the loss.
    """
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.0, fused=True)
    num_warmup = math.ceil(settings.warmup_ratio * len(batches))
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, num_warmup, len(batches))
    head: Any = model.get_output_embeddings()
    losses = []
    for batch in batches:
        members = [rows[index] for index in batch]
        ids = pad_right([row.ids for row in members], model.device)
        hidden = last_hidden_states(model, ids)
        spans = [slice(row.num_prompt_tokens - 1, len(row.ids) - 1) for row in members]
        predictions = head(torch.cat([hidden[place, span] for place, span in enumerate(spans)]))
        targets = torch.cat([ids[place, 1:][span] for place, span in enumerate(spans)])
        loss = torch.nn.functional.cross_entropy(predictions, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


@dataclass(frozen=True)
class Measures:
    """How well a model predicts the worked solutions of the test problems, all and by number of steps."""

    exact: float
    loss: float
    exact_by_steps: list[float]
    loss_by_steps: list[float]


def measure(model: PreTrainedModel, reference: Reference, test: Sequence[Example], steps: Sequence[int]) -> Measures:
    """Measures a model on test problems, which it reads as `reference` encodes them."""
    found = response_predictions(model, reference.encode(test), reference.batch_tokens)
    exact = torch.tensor([each.exact for each in found], dtype=torch.float64)
    loss = torch.tensor([each.loss_nats for each in found], dtype=torch.float64)
    groups = [torch.tensor([number == each for each in steps]) for number in sorted(set(steps))]
    return Measures(
        exact.mean().item(),
        loss.mean().item(),
        [exact[group].mean().item() for group in groups],
        [loss[group].mean().item() for group in groups],
    )
