"""Are losses and scores right, whatever the batch? And the masks and the template that they rest on."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from circuitseer_trl.chat_settings import SYSTEM_PROMPT
from circuitseer_trl.circuits.received import attention_received, attention_variance
from circuitseer_trl.doctor.outcome import CannotError, Outcome, compared
from circuitseer_trl.doctor.slow_ways import losses_one_by_one, scores_eager
from circuitseer_trl.doctor.subject import Subject
from circuitseer_trl.doctor.tolerances import BATCH_NATS, BATCH_RELATIVE, LOSS_NATS, SCORE_RELATIVE, short
from circuitseer_trl.modeling.encoding import chat_text, encode_prompt, has_chat_template
from circuitseer_trl.modeling.losses import last_hidden_states, pad_right, response_losses
from circuitseer_trl.pool.chat import chat_messages

ALL_AT_ONCE = 2**20  # tokens of a batch: all texts in one


def check_losses(subject: Subject) -> list[Outcome]:
    """Response losses against the model's own logits in the wide dtype."""
    expected = np.array(losses_one_by_one(subject.wide, subject.examples))
    outcomes = []
    for dtype in dict.fromkeys((subject.wide_dtype, subject.default_dtype)):
        losses = np.array(response_losses(subject.model(dtype), subject.examples))
        error = float(np.abs(losses - expected).max())
        outcomes.append(compared(f"losses, {short(dtype)}", error, LOSS_NATS[dtype], "nats", "against own logits"))
    return outcomes


def _scores(subject: Subject, model: PreTrainedModel, batches: Sequence[Sequence[Sequence[int]]]) -> np.ndarray:
    return np.array(
        [attention_variance(alpha) for batch in batches for alpha in attention_received(model, batch, subject.heads)]
    )


def check_scores(subject: Subject) -> list[Outcome]:
    """Scores against attention matrices in the wide dtype."""
    texts = [example.input_ids for example in subject.examples]
    expected = np.array([attention_variance(alpha) for alpha in scores_eager(subject.wide, texts, subject.heads)])
    outcomes = []
    for dtype in dict.fromkeys((subject.wide_dtype, subject.score_dtype)):
        error = float(np.abs(_scores(subject, subject.model(dtype), [texts]) / expected - 1).max())
        detail = "against attention matrices"
        outcomes.append(compared(f"scores, {short(dtype)}", error, SCORE_RELATIVE[dtype], "relative", detail))
    return outcomes


def check_padding(subject: Subject) -> list[Outcome]:
    """Right-padded batches against single rows."""
    examples, dtype = subject.examples, subject.default_dtype
    model = subject.model(dtype)
    single = np.array([response_losses(model, [example])[0] for example in examples])
    error = float(np.abs(np.array(response_losses(model, examples, ALL_AT_ONCE)) - single).max())
    detail = "a padded batch against single rows"
    outcomes = [compared(f"padding, losses, {short(dtype)}", error, BATCH_NATS[dtype], "nats", detail)]
    dtype, texts = subject.score_dtype, [example.input_ids for example in examples]
    model = subject.model(dtype)
    single = _scores(subject, model, [[text] for text in texts])
    error = float(np.abs(_scores(subject, model, [texts]) / single - 1).max())
    return [*outcomes, compared(f"padding, scores, {short(dtype)}", error, BATCH_RELATIVE[dtype], "relative", detail)]


def _relative(ours: torch.Tensor, expected: torch.Tensor) -> float:
    ours, expected = ours.double(), expected.double()
    return ((ours - expected).abs().max() / expected.abs().max()).item()


@torch.no_grad()
def check_masks(subject: Subject) -> list[Outcome]:
    """Does a token see what comes after it, or padding on its left?"""
    dtype = subject.default_dtype
    model, texts = subject.model(dtype), [example.input_ids for example in subject.examples]
    longest = max(texts, key=len)
    whole = last_hidden_states(model, pad_right([longest], model.device))
    half = last_hidden_states(model, pad_right([longest[: len(longest) // 2]], model.device))
    causal = _relative(half[0], whole[0, : len(longest) // 2])
    width = len(longest)
    ids = torch.tensor([[0] * (width - len(text)) + list(text) for text in texts], device=model.device)
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts], device=model.device)
    positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
    padded = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits[:, -1]
    single = torch.stack([model(input_ids=torch.tensor([text], device=model.device)).logits[0, -1] for text in texts])
    return [
        compared(
            f"masks, causal, {short(dtype)}", causal, BATCH_RELATIVE[dtype], "relative", "half a text against all"
        ),
        compared(
            f"masks, left padding, {short(dtype)}",
            _relative(padded, single),
            BATCH_RELATIVE[dtype],
            "relative",
            "as generation pads",
        ),
    ]


def check_template(subject: Subject) -> list[Outcome]:
    """Does a prompt hold what it should, and the generation prompt once?"""
    tokenizer = subject.tokenizer
    if not has_chat_template(tokenizer):
        raise CannotError("the tokenizer has no chat template; prompts are plain text")
    question = "What is 2 + 3?"
    turns = chat_messages(question, SYSTEM_PROMPT)
    without, text = (chat_text(tokenizer, turns, add_generation_prompt=each) for each in (False, True))
    ids = encode_prompt(tokenizer, question, "chat", SYSTEM_PROMPT)
    header, start = text.removeprefix(without), tokenizer.bos_token_id
    faults: dict[str, Callable[[], bool]] = {
        "the problem is missing": lambda: question not in text,
        "the system prompt is missing": lambda: SYSTEM_PROMPT not in text,
        "there is no generation prompt": lambda: not header or not text.startswith(without),
        "the generation prompt is there twice": lambda: bool(header) and without.endswith(header),
        "the tokens are not those of the text": lambda: ids != tokenizer(text, add_special_tokens=False)["input_ids"],
        "the text starts with two begin-of-text tokens": lambda: start is not None and ids[:2] == [start, start],
    }
    found = [fault for fault, is_there in faults.items() if is_there()]
    return [compared("chat template", len(found), 0, "faults", ", ".join(found))]
