"""The chat turns of a problem and its solution."""

Turn = dict[str, str]


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
