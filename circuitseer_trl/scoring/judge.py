"""Ratings that a model gives when asked: read from the probabilities of its first token, not from what it writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.configs import DifficultySource, ScoreOn, check_choice, check_count
from circuitseer_trl.data import Example, Pool
from circuitseer_trl.losses import check_ready, last_hidden_states, length_batches, pad_right, token_losses
from circuitseer_trl.models import Reference, encode_prompt, has_chat_template
from circuitseer_trl.scoring.base import Row, Scorer
from circuitseer_trl.scoring.pass_rate import check_joined, pass_rates_fingerprint, read_pass_rates
from circuitseer_trl.scoring.rating import greedy_answers, read_rating

# The papers that compare with "Quality" print no prompt: this one is ours.
QUALITY_PROMPT = (
    "You rate training data. Read the mathematics problem and the solution, and rate the quality of the pair: is the problem "
    "clear, is the solution correct, complete and well explained? Answer with one digit from 1 (bad) to 5 (excellent) and "
    "nothing else."
)
QualityMode = Literal["expectation", "generate"]
# Select2Reason's code, word for word.
DIFFICULTY_PROMPT = "Please judge the difficulty of this instruction and return 1 if difficult or 0 if not."


def label_ids(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> list[int]:
    """The one token of each label; raises where a label is not one token of its own."""
    ids = [tokenizer(label, add_special_tokens=False)["input_ids"] for label in labels]
    for label, found in zip(labels, ids, strict=True):
        if len(found) != 1:
            raise ValueError(
                f"The label {label!r} is {len(found)} tokens for {tokenizer.name_or_path}, not one, so that its probability "
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
    """Probability of each label to be the token after each prompt, of shape `(len(prompts), len(labels))`, in float64."""
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
    """Cuts a prompt's text, but keeps its end, which asks for the answer: the tokens that it shares with a prompt `without`."""
    if len(ids) <= max_length:
        return list(ids)
    shared = 0
    while shared < min(len(without), max_length - 1) and ids[-1 - shared] == without[-1 - shared]:
        shared += 1
    return [*ids[: max_length - shared], *ids[len(ids) - shared :]]


@dataclass
class JudgeScorer(Scorer):
    """Scores an example by the expectation of a model's rating: sum of v p(v) over sum of p(v), over the labels v.

    `valid_mass` is the sum of p(v): where it is small, the model wanted to say something else.

    Attributes:
        prompt: What the model is told to do; in the chat form the system message.
        max_batch_tokens: Tokens of one forward pass. It does not change results beyond rounding.
    """

    labels: ClassVar[tuple[int, ...]] = ()
    judges: ClassVar[ScoreOn] = "problem"
    columns: ClassVar[dict[str, pa.DataType]] = {"valid_mass": pa.float64()}

    prompt: str = ""
    max_batch_tokens: int = 8192

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise ValueError(f"`prompt` must be a text that asks for a rating, got {self.prompt!r}.")

    def encode(self, example: Example, reference: Reference) -> tuple[list[int], bool]:
        """The prompt for one example, and whether its text had to be cut."""

        def prompt(problem: str, completion: str) -> list[int]:
            text = problem if self.judges == "problem" else f"Problem:\n{problem}\n\nSolution:\n{completion}"
            if has_chat_template(reference.tokenizer):
                return encode_prompt(reference.tokenizer, text, "chat", self.prompt)
            return encode_prompt(reference.tokenizer, f"{self.prompt}\n\n{text}\n\nAnswer: ", "plain", "")

        ids = prompt(example.problem, example.completion)
        if len(ids) <= reference.max_length:
            return ids, False
        problem = "" if self.judges == "problem" else example.problem
        return shorten(ids, prompt(problem, ""), reference.max_length), True

    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        assert reference is not None
        ids = label_ids(reference.tokenizer, [str(label) for label in self.labels])
        prompts = [self.encode(example, reference) for example in batch]
        model = reference.model(for_scores=True)
        masses = label_probabilities(model, [prompt for prompt, _ in prompts], ids, self.max_batch_tokens)
        rows: list[Row] = []
        for example, (_, truncated), mass in zip(batch, prompts, masses, strict=True):
            valid = float(mass.sum())
            text = example.problem if self.judges == "problem" else example.completion
            tokens = len(reference.tokenizer(text, add_special_tokens=False)["input_ids"])
            row: Row = {"status": "truncated" if truncated else "ok", "num_tokens": tokens, "valid_mass": valid}
            if np.isfinite(valid) and valid > 0:
                row["score"] = float(mass @ np.array(self.labels)) / valid
            else:
                row |= {"score": None, "status": "error", "valid_mass": None}
            rows.append(row)
        return rows


@dataclass
class QualityScorer(JudgeScorer):
    """Scores problem and solution by the reference model's rating from 1 to 5 (the baseline Quality; the prompt is ours).

    Attributes:
        mode: `expectation` is over the five labels at the answer's first token. `generate` is the literal reading: the model
            writes an answer, the likeliest token each time, and the score is the rating in it; a row whose answer has none has
            the status `no_rating` and no score.
        max_new_tokens: Longest answer of `generate`.
    """

    labels: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5)
    judges: ClassVar[ScoreOn] = "solution"
    columns: ClassVar[dict[str, pa.DataType]] = {"valid_mass": pa.float64(), "answer": pa.string()}

    prompt: str = QUALITY_PROMPT
    mode: QualityMode = "expectation"
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mode", self.mode, QualityMode)
        check_count("max_new_tokens", self.max_new_tokens)

    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        assert reference is not None
        if self.mode == "expectation":
            return [row | {"answer": None} for row in super().score_batch(batch, reference, heads)]
        prompts = [self.encode(example, reference) for example in batch]
        ids = [prompt for prompt, _ in prompts]
        answers = greedy_answers(
            reference.model(for_scores=True), reference.tokenizer, ids, self.max_new_tokens, self.max_batch_tokens
        )
        rows: list[Row] = []
        for example, (_, truncated), answer in zip(batch, prompts, answers, strict=True):
            rating = read_rating(answer)
            tokens = len(reference.tokenizer(example.completion, add_special_tokens=False)["input_ids"])
            status = "no_rating" if rating is None else "truncated" if truncated else "ok"
            rows.append({"score": rating, "status": status, "num_tokens": tokens, "valid_mass": None, "answer": answer})
        return rows


@dataclass
class DifficultyScorer(JudgeScorer):
    """Scores a problem by the probability that the reference model calls it difficult, 1 and not 0 (Select2Reason's code).

    Its code asks for the two likeliest tokens, of which none may be a label; here the two labels are looked up, without its
    repetition penalty. `trace_length` is the solution's number of tokens (its code counts characters).

    Attributes:
        deduplicate_steps: Count a step of the solution, the text between blank lines, only once however often it stands
            there (the paper, as summarised by others; our reading of a step).
        difficulty: Other than `judge` asks no model. `column`: the joint rank reads the pool's `difficulty_column`, and rows have
            no score. `verdicts`: the score is 1 - the pass rate of an evaluation on the pool.
        verdicts: That evaluation, as in `read_pass_rates`.
    """

    labels: ClassVar[tuple[int, ...]] = (0, 1)
    columns: ClassVar[dict[str, pa.DataType]] = {"valid_mass": pa.float64(), "trace_length": pa.int64()}

    prompt: str = DIFFICULTY_PROMPT
    deduplicate_steps: bool = False
    difficulty: DifficultySource = "judge"
    verdicts: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("difficulty", self.difficulty, DifficultySource)
        if (self.difficulty == "verdicts") != (self.verdicts is not None):
            raise ValueError(
                "`difficulty: verdicts` and `verdicts` (the evaluation to read) belong together: set both in `method_args`."
            )
        self.rates = read_pass_rates(self.verdicts) if self.verdicts is not None else {}

    def parameters(self) -> dict[str, Any]:
        read = {"pass_rates_fingerprint": pass_rates_fingerprint(self.rates)} if self.verdicts is not None else {}
        return super().parameters() | read

    def check(self, pool: Pool) -> None:
        if self.verdicts is not None:
            check_joined(pool, self.rates, self.verdicts)

    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        assert reference is not None
        if self.difficulty == "judge":
            rows = super().score_batch(batch, reference, heads)
        else:
            encoded = reference.tokenizer([example.problem for example in batch], add_special_tokens=False)["input_ids"]
            rows = [{"score": None, "status": "ok", "num_tokens": len(ids), "valid_mass": None} for ids in encoded]
            for row, example in zip(rows, batch, strict=True):
                if self.verdicts is not None:
                    rate = self.rates.get(example.uid)
                    row |= {"score": 1 - rate.value} if rate is not None else {"status": "no_verdict"}
        for row, example in zip(rows, batch, strict=True):
            text = example.completion
            if self.deduplicate_steps:
                text = "\n\n".join(dict.fromkeys(text.split("\n\n")))
            row["trace_length"] = len(reference.tokenizer(text, add_special_tokens=False)["input_ids"])
        return rows
