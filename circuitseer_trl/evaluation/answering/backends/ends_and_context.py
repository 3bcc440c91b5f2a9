"""What the files of a model say of generating: what ends an answer, and how long it may be; and its text from its ids."""

from collections.abc import Sequence

from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerBase

from circuitseer_trl.answers import FinishReason, Sample
from circuitseer_trl.evaluation.answering.backends.base import Request
from circuitseer_trl.modeling.encoding import decode_tokens
from circuitseer_trl.modeling.loading import model_path


def configured_end_ids(config: GenerationConfig) -> set[int]:
    """Tokens that end an answer by a model's generation settings."""
    configured = config.eos_token_id
    return set() if configured is None else {configured} if isinstance(configured, int) else set(configured)


def load_generation_config(name: str, revision: str | None) -> GenerationConfig:
    """A model's generation settings, without the model."""
    try:
        return GenerationConfig.from_pretrained(model_path(name), revision=revision or "main")
    except OSError:  # it has none of its own
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(model_path(name), revision=revision))


def sample_of_ids(
    request: Request, tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], reason: FinishReason, seed: int
) -> Sample:
    """The sample of an answer's token ids; where it stopped, the last of them ended it and is not text."""
    text = decode_tokens(tokenizer, ids[:-1] if reason == "stop" else ids, skip_special_tokens=True)
    return Sample(request.id, request.greedy, request.sample, text, len(ids), reason, seed, request.prompt)
