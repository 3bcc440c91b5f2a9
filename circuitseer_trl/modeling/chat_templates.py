"""Does a chat template write all that it is given? And on which date, where it writes one?"""

from datetime import date
from typing import Any

from transformers import PreTrainedTokenizerBase

from circuitseer_trl.modeling.encoding import chat_text, encode_prompt
from circuitseer_trl.pool.chat import chat_messages

_SYSTEM, _PROBLEM, _ANSWER = "Marker of the system", "Marker of the problem", "Marker of the answer"
# What a template can ask of `strftime_now`. `%%` comes last, because what stands for it could begin another code.
_CODES = (*"aAbBcdDeFHIjmMpSTUwWxXyY", "-d", "-m", "%")


def dated_template(template: str, chat_date: str) -> str:
    """The same template, but `chat_date` is today; a template that does not ask for the day stays as it is.

    transformers gives templates the function `strftime_now`, which reads the clock. A macro of that name hides it, so the
    date is part of the template: every library renders it, in every process, and caches of rows depend on it.

    Args:
        chat_date: Such as 2024-07-26.
    """
    if "strftime_now" not in template:
        return template
    day = date.fromisoformat(chat_date)
    filters = "".join(f" | replace({'%' + code!r}, {day.strftime('%' + code)!r})" for code in _CODES)
    # Jinja drops the newline at the end, and so the template still begins a line.
    return f"{{% macro strftime_now(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}\n{template}"


def set_chat_date(tokenizer: PreTrainedTokenizerBase, chat_date: str) -> None:
    """Fixes the date that a tokenizer's chat template writes. For tokenizers that are not saved: it changes the template."""
    templates: Any = tokenizer.chat_template
    if isinstance(templates, dict):  # several by name; the tokenizer chooses
        tokenizer.chat_template = {name: dated_template(text, chat_date) for name, text in templates.items()}  # type: ignore[assignment]
    elif templates is not None:
        tokenizer.chat_template = dated_template(templates, chat_date)


def check_template(tokenizer: PreTrainedTokenizerBase, system_prompt: str, change: str) -> None:
    """Checks on one conversation that a chat template writes the system message, the problem, the answer and its header.

    Args:
        system_prompt: As it is set; without one, none has to be written.
        change: What to do about a template that cannot be used, for the message.

    Raises:
        ValueError: The template drops one of them, or cannot be rendered.
    """
    template = f"The chat template of {tokenizer.name_or_path}"
    turns = chat_messages(_PROBLEM, _SYSTEM if system_prompt else "")
    answered = [*turns, {"role": "assistant", "content": _ANSWER}]
    if system_prompt:
        leave_out = f'Set `system_prompt: ""` in training, selection and evaluation alike, or {change}.'
        try:
            chat_text(tokenizer, turns, add_generation_prompt=True)
        except ValueError as error:
            chat_text(
                tokenizer, turns[1:], add_generation_prompt=True
            )  # raises where the system message is not the reason
            raise ValueError(f"{template} does not take the system message ({error}). {leave_out}") from error
        if _SYSTEM not in chat_text(tokenizer, turns, add_generation_prompt=True):
            raise ValueError(f"{template} does not write the system message. {leave_out}")
    asked, opened, whole = (
        chat_text(tokenizer, turns),
        chat_text(tokenizer, turns, add_generation_prompt=True),
        chat_text(tokenizer, answered),
    )
    for what, marker, text in (("problem", _PROBLEM, opened), ("answer", _ANSWER, whole)):
        if marker not in text:
            raise ValueError(f"{template} does not write the {what}. To go on, {change}.")
    header = whole.removeprefix(asked).partition(_ANSWER)[0].strip() if whole.startswith(asked) else ""
    # Without a header of its own, an answer follows the problem at once, such as after Mistral's [/INST].
    if opened == asked and header:
        raise ValueError(
            f"{template} does not write the header of an answer ({header!r}) where it is asked for one "
            f"(`add_generation_prompt`), so a model would continue the problem. To go on, {change}."
        )


def prompt_ids(tokenizer: PreTrainedTokenizerBase, system_prompt: str) -> list[int]:
    """The token ids of a conversation that has all tokens that the template writes into a prompt."""
    return encode_prompt(tokenizer, _PROBLEM, "chat", system_prompt)
