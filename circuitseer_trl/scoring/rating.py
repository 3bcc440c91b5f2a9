"""Which rating does a model write? Generates its answer, and reads the rating in it, if there is one."""

import re
from collections.abc import Sequence

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from circuitseer_trl.modeling.losses import check_ready, length_batches

# A digit that is not part of a longer number. "out of" may follow only with 5.
RATING = r"(?<![\d.])([1-5])(?!\.?\d)(?!\s*(?:/|out of)\s*(?!5\b)\d)"
ALONE = re.compile(rf"[\W_]*{RATING}(?:\s*(?:/|out of)\s*5)?[\W_]*")
# Not after "answer", "score" or "rate", and not in a box: a model that solves the problem also writes those.
NAMED = re.compile(rf"\b(?:rating|quality|rated|i(?:'d| would)? rate)\b[^.\d\n]{{0,40}}{RATING}", re.IGNORECASE)


@torch.no_grad()
def greedy_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    max_batch_tokens: int,
) -> list[str]:
    """Generates an answer to each prompt greedily, without a repetition penalty."""
    check_ready(model)
    settings = GenerationConfig(
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,  # the model's own value, such as 1.05 of Qwen2.5, holds if none is set here
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
    )
    answers: dict[int, str] = {}
    for batch in length_batches([len(ids) + max_new_tokens for ids in prompts], max_batch_tokens):
        width = max(len(prompts[index]) for index in batch)
        padded = [[0] * (width - len(prompts[index])) + list(prompts[index]) for index in batch]
        mask = [[0] * (width - len(prompts[index])) + [1] * len(prompts[index]) for index in batch]
        written = model.generate(  # type: ignore[operator]  # the class is typed without its mixin
            input_ids=torch.tensor(padded, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            generation_config=settings,
        )
        texts = tokenizer.batch_decode(written[:, width:], skip_special_tokens=True)
        answers |= dict(zip(batch, texts, strict=True))
    return [answers[index] for index in range(len(prompts))]


def read_rating(answer: str) -> int | None:
    """Reads the rating from 1 to 5 in an answer: a digit alone, or a digit soon after "rating", "quality" or "I rate".

    Returns:
        The rating; None if there is none, or if two ratings differ.
    """
    if alone := ALONE.fullmatch(answer):
        return int(alone[1])
    ratings = {int(digit) for digit in NAMED.findall(answer)}
    return ratings.pop() if len(ratings) == 1 else None
