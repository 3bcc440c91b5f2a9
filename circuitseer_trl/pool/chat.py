"""How are a problem and its solution put to a model? As chat turns, or in one plain form for models without a template."""

Turn = dict[str, str]

# A base model should see the task in evaluation, and the same text in the probe and in training. The line break belongs to
# the prompt: with byte-level BPE no token crosses it, so an answer has the same tokens with its prompt and without it.
PLAIN_FORM = "{system}Problem: {problem}\n\nSolution:\n"
# What stands directly before an answer: the plain form's counterpart of the assistant's header.
PLAIN_HEADER = PLAIN_FORM.rpartition("\n\n")[2]


def chat_messages(problem: str, system_prompt: str) -> list[Turn]:
    """The turns before the answer. Without a system prompt there is no system turn."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, {"role": "user", "content": problem}]


def conversation(problem: str, completion: str, system_prompt: str) -> dict[str, list[Turn]]:
    """A row in TRL's conversational prompt-completion format, where the loss covers the answer alone."""
    return {
        "prompt": chat_messages(problem, system_prompt),
        "completion": [{"role": "assistant", "content": completion}],
    }


def plain_prompt(problem: str, system_prompt: str) -> str:
    """The text before the answer, for a model without a chat template."""
    return PLAIN_FORM.format(system=f"{system_prompt}\n\n" if system_prompt else "", problem=problem)
