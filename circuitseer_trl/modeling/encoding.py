"""Turns a problem and its solution into the token ids that a model reads."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from transformers import PreTrainedTokenizerBase

from circuitseer_trl.pool.chat import chat_messages

RENDER_SECONDS = 30.0  # a conversation takes less than a millisecond


@dataclass(frozen=True)
class EncodedExample:
    """A problem with its solution, as token ids.

    Attributes:
        uid: Name of the pool's row.
        input_ids: Prompt and completion, one after the other.
        num_prompt_tokens: Number of tokens of the prompt; the others are the completion's.
        truncated: Whether the completion was cut to the maximum length.
    """

    uid: str
    input_ids: tuple[int, ...]
    num_prompt_tokens: int
    truncated: bool

    @property
    def num_completion_tokens(self) -> int:
        return len(self.input_ids) - self.num_prompt_tokens


def has_chat_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.chat_template is not None


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the block after so many seconds of processor time. In the main thread alone, which gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"it takes more than {seconds:g} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def chat_text(
    tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], *, add_generation_prompt: bool = False
) -> str:
    """One conversation as its chat template writes it.

    Raises:
        ValueError: The template is broken, refuses the conversation, or has loops without an end.
    """
    try:
        with _time_limit(RENDER_SECONDS):
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
    except Exception as error:  # a template is a program, and may fail in any way
        line = getattr(error, "lineno", None)
        raise ValueError(
            f"The chat template of {tokenizer.name_or_path} cannot be rendered: "
            f"{f'line {line}: ' if line else ''}{type(error).__name__}: {error}"
        ) from error
    assert isinstance(text, str)  # lists are for batches
    return text


def decode_tokens(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
    """The text of token ids, with the spaces as they are."""
    text = tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)  # lists are for batches
    return text


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: str, form: str, system_prompt: str) -> list[int]:
    """Token ids of a text to be read by a model.

    Args:
        form: `chat` puts the text into the chat template, as the user's turn and up to the assistant's header. `plain` is
            the text alone, with the special tokens that the tokenizer adds by itself.
    """
    if form == "plain":
        return tokenizer(text)["input_ids"]
    if not has_chat_template(tokenizer):
        raise ValueError(
            f"The tokenizer {tokenizer.name_or_path} has no chat template, but the chat format was asked for. "
            "Use the plain format, or a tokenizer with a template."
        )
    rendered = chat_text(tokenizer, chat_messages(text, system_prompt), add_generation_prompt=True)
    return tokenizer(rendered, add_special_tokens=False)["input_ids"]  # the template writes the special tokens itself
