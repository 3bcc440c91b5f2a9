"""Which rating does a model give? It is read from the probabilities of the first token, not from generated text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitseer_trl.configs import ScoreOn
from circuitseer_trl.modeling.encoding import encode_prompt, has_chat_template
from circuitseer_trl.modeling.losses import check_ready, last_hidden_states, length_batches, pad_right, token_losses
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Needs, Row, Scorer


def label_ids(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> list[int]:
    """The token of each label. Raises if a label is not exactly one token, or if two labels share one."""
    ids = [tokenizer(label, add_special_tokens=False)["input_ids"] for label in labels]
    for label, found in zip(labels, ids, strict=True):
        if len(found) != 1:
            raise ValueError(
                f"The label {label!r} is {len(found)} tokens for {tokenizer.name_or_path}, not one, so its probability "
                "cannot be read from one position. Use another reference model."
            )
    first = [found[0] for found in ids]
    if len(set(first)) < len(first):
        raise ValueError(f"Two of the labels {', '.join(labels)} are the same token for {tokenizer.name_or_path}.")
    return first


@torch.no_grad()
def label_probabilities(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], labels: Sequence[int], max_batch_tokens: int
) -> np.ndarray:
    """Probability that each label is the next token of each prompt, of shape `(len(prompts), len(labels))`, in float64."""
    check_ready(model)
    result = np.zeros((len(prompts), len(labels)))
    for batch in length_batches([len(ids) for ids in prompts], max_batch_tokens):
        hidden = last_hidden_states(model, pad_right([prompts[index] for index in batch], model.device))
        last = torch.stack([hidden[row, len(prompts[index]) - 1] for row, index in enumerate(batch)])
        for column, label in enumerate(labels):
            losses = token_losses(model, last, torch.full((len(batch),), label, device=model.device))
            result[batch, column] = np.exp(-losses.double().cpu().numpy())
    return result


def shorten(ids: Sequence[int], without: Sequence[int], max_length: int) -> list[int]:
    """Cuts a prompt to `max_length` tokens, but keeps its end, which asks for the answer.

    Args:
        ids: Tokens of the prompt.
        without: Tokens of the same prompt without the text. The end is the tokens that the two have in common.
    """
    if len(ids) <= max_length:
        return list(ids)
    shared = 0
    while shared < min(len(without), max_length - 1) and ids[-1 - shared] == without[-1 - shared]:
        shared += 1
    return [*ids[: max_length - shared], *ids[len(ids) - shared :]]


@dataclass
class JudgeScorer(Scorer):
    """Scores an example by the expectation of a model's rating: sum of v p(v) over sum of p(v), over the labels v.

    `valid_mass` is the sum of p(v). A small value means that the model prefers to answer with something else.

    Attributes:
        prompt: The instruction for the model; the system message in the chat format.
    """

    needs: ClassVar[Needs] = "model"
    reads_with: ClassVar[tuple[str, ...]] = ("chat_date", "max_batch_tokens")
    labels: ClassVar[tuple[int, ...]] = ()
    judges: ClassVar[ScoreOn] = "problem"
    columns: ClassVar[dict[str, pa.DataType]] = {"valid_mass": pa.float64()}

    prompt: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise ValueError(f"`prompt` must be a text that asks for a rating, got {self.prompt!r}.")

    def fit(self, pool: Pool, output_dir: Path) -> None:
        self.reference.check_template(self.prompt)

    def encode(self, example: Example) -> tuple[list[int], bool]:
        """Returns the prompt for one example, and whether its text is cut."""
        tokenizer, longest = self.reference.tokenizer, self.reference.max_tokens

        def prompt(problem: str, completion: str) -> list[int]:
            text = problem if self.judges == "problem" else f"Problem:\n{problem}\n\nSolution:\n{completion}"
            if has_chat_template(tokenizer):
                return encode_prompt(tokenizer, text, "chat", self.prompt)
            return encode_prompt(tokenizer, f"{self.prompt}\n\n{text}\n\nAnswer: ", "plain", "")

        ids = prompt(example.problem, example.completion)
        if len(ids) <= longest:
            return ids, False
        problem = "" if self.judges == "problem" else example.problem
        return shorten(ids, prompt(problem, ""), longest), True

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        tokenizer = self.reference.tokenizer
        ids = label_ids(tokenizer, [str(label) for label in self.labels])
        prompts = [self.encode(example) for example in batch]
        texts = [prompt for prompt, _ in prompts]
        masses = label_probabilities(self.model, texts, ids, self.reference.batch_tokens)
        rows: list[Row] = []
        for example, (_, truncated), mass in zip(batch, prompts, masses, strict=True):
            valid = float(mass.sum())
            text = example.problem if self.judges == "problem" else example.completion
            tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"])
            row: Row = {"status": "truncated" if truncated else "ok", "num_tokens": tokens, "valid_mass": valid}
            if np.isfinite(valid) and valid > 0:
                row["score"] = float(mass @ np.array(self.labels)) / valid
            else:
                row |= {"score": None, "status": "error", "valid_mass": None}
            rows.append(row)
        return rows
