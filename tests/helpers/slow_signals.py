"""The slow and obvious second way to compute the signals of a solution's tokens, and its dependence on heads.

It shares no code with the package's scorers: the chat template is called anew, every attention matrix is written out, and each
token is looked at by itself.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tests.helpers.slow_reference import Head, written_out


@dataclass(frozen=True)
class SlowSolution:
    """The N tokens of a solution, given its problem.

    Attributes:
        losses, entropies, ranks (`np.ndarray` of shape `(N,)`): Of each token, in nats; ranks from 1.
        loss_without_heads: Mean loss when the heads are silenced together.
        first: For `lines` and `sentences`, whether each token is the first of a step.
    """

    losses: np.ndarray
    entropies: np.ndarray
    ranks: np.ndarray
    loss_without_heads: float
    first: dict[str, np.ndarray]

    def hes(self, share: float) -> float:
        number = math.ceil(share * len(self.entropies))
        return sum(sorted(self.entropies.tolist(), reverse=True)[:number])

    def rsr(self, max_rank: int) -> float:
        return -sum(min(int(rank), max_rank) for rank in self.ranks) / self.losses.sum()

    def aslec_drop(self, rule: str) -> float:
        return float(-self.losses[~self.first[rule]].mean())

    def dependence(self) -> float:
        return self.loss_without_heads - self.losses.mean()


def step_characters(text: str, rule: str) -> list[int]:
    """Where steps begin, by a walk over the characters."""
    starts, begins = [], True
    for place, character in enumerate(text):
        if rule == "lines" and character == "\n":
            begins = True
        if rule == "sentences" and character.isspace() and place and text[place - 1] in ".?!":
            begins = True
        if begins and not character.isspace():
            starts.append(place)
            begins = False
    return starts


def first_of_steps(tokenizer: PreTrainedTokenizerBase, answer: list[int], text: str, rule: str) -> np.ndarray:
    """The token that a step's first character is in, found by decoding more and more tokens."""
    ends = [len(tokenizer.decode(answer[: count + 1])) for count in range(len(answer))]
    assert tokenizer.decode(answer) == text
    first = np.zeros(len(answer), dtype=bool)
    for start in step_characters(text, rule):
        first[next(place for place, end in enumerate(ends) if end > start)] = True
    return first


def chances(model: PreTrainedModel, ids: list[int], num_prompt: int, silenced: Collection[Head] = ()) -> np.ndarray:
    """The predictions of the tokens after the prompt, of shape `(N, V)`, in float64."""
    with torch.no_grad(), written_out(model, silenced):
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double().numpy()
    rows = logits[num_prompt - 1 : -1]
    weights = np.exp(rows - rows.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def slow_solution(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problem: str,
    solution: str,
    system: str,
    heads: Collection[Head],
) -> SlowSolution:
    turns = [{"role": "system", "content": system}, {"role": "user", "content": problem}]
    prompt: Any = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    answer = tokenizer(solution, add_special_tokens=False)["input_ids"]
    found = chances(model, [*prompt, *answer], len(prompt))
    without = chances(model, [*prompt, *answer], len(prompt), heads)
    return SlowSolution(
        np.array([-math.log(row[token]) for row, token in zip(found, answer, strict=True)]),
        np.array([-(row[row > 0] * np.log(row[row > 0])).sum() for row in found]),
        np.array([1 + (row > row[token]).sum() for row, token in zip(found, answer, strict=True)]),
        float(np.mean([-math.log(row[token]) for row, token in zip(without, answer, strict=True)])),
        {rule: first_of_steps(tokenizer, answer, solution, rule) for rule in ("lines", "sentences")},
    )


def casl_of(solutions: list[SlowSolution], rule: str) -> list[float]:
    """M - g Z, where g is Z's coefficient among the residuals of M and Z on the other columns (Frisch, Waugh and Lovell)."""
    mean = np.array([-each.losses.mean() for each in solutions])
    share = np.array([each.first[rule].mean() for each in solutions])
    others = np.column_stack(
        [
            [-each.losses[each.first[rule]].mean() for each in solutions],
            [each.aslec_drop(rule) for each in solutions],
            np.ones(len(solutions)),
        ]
    )
    left = [values - others @ (np.linalg.pinv(others) @ values) for values in (mean, share)]
    return (mean - (left[0] @ left[1]) / (left[1] @ left[1]) * share).tolist()
