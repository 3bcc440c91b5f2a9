"""Chat turns of a problem and its solution."""

Turn = dict[str, str]


def chat_messages(problem: str, system_prompt: str) -> list[Turn]:
    """The turns before the answer; an empty system prompt leaves the system turn out."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, {"role": "user", "content": problem}]


def conversation(problem: str, completion: str, system_prompt: str) -> dict[str, list[Turn]]:
    """A row in TRL's conversational prompt/completion form, of which the loss covers the answer alone."""
    return {
        "prompt": chat_messages(problem, system_prompt),
        "completion": [{"role": "assistant", "content": completion}],
    }
