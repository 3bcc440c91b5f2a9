"""The parts of a dataset's row: its problem, its worked solution, its difficulty."""

import hashlib
import re
from typing import Any

NUMBER = re.compile(r"-?\d+(\.\d+)?")
GSM8K_ANSWER = re.compile(r"\n?####\s*(.+?)\s*$")
GSM8K_CALCULATION = re.compile(r"<<[^<>]*>>")


def message_text(value: Any, role: str) -> str | None:
    """The text of a column: the value itself, or the only message of `role` in a list of chat messages, else None."""
    if isinstance(value, list) and all(isinstance(message, dict) for message in value):
        texts = [message["content"] for message in value if message.get("role") == role]
        return texts[0] if len(texts) == 1 else None
    return value


def plain_answer(text: str) -> str:
    """Turns a GSM8K answer into a worked solution: no `<<48/2=24>>`, and a boxed result in place of `#### 24`."""
    match = GSM8K_ANSWER.search(text)
    if match is None or "\\boxed" in text:
        return text
    return GSM8K_CALCULATION.sub("", text[: match.start()]) + f"\n\\boxed{{{match[1].replace(',', '')}}}"


def usable_text(row: dict[str, Any], prompt_column: str, completion_column: str, correct_column: str) -> dict[str, str]:
    """Problem, completion and reason; the reason is empty where the row is usable."""
    problem, completion = message_text(row[prompt_column], "user"), row[completion_column]
    if isinstance(completion, list) and not any(isinstance(part, dict) for part in completion):
        marks = row.get(correct_column) or []
        completion = next((trace for trace, correct in zip(completion, marks, strict=False) if correct), None)
        if completion is None:
            return {"problem": problem or "", "completion": "", "reason": "no trace marked correct"}
    else:
        completion = message_text(completion, "assistant")
    if problem is None or not str(problem).strip():
        reason = "no problem" if problem is None or problem == "" else "blank problem"
        return {"problem": "", "completion": str(completion or ""), "reason": reason}
    if completion is None or not str(completion).strip():
        return {"problem": str(problem), "completion": "", "reason": "no completion"}
    return {"problem": str(problem), "completion": plain_answer(str(completion)), "reason": ""}


def difficulty_number(value: Any) -> float | None:
    """The number in a value such as 5, "5", or MATH's "Level 5"; None where there is none."""
    match = NUMBER.search(str(value))
    return float(match[0]) if match else None


def content_uid(problem: str, completion: str) -> str:
    """A name that follows from the content: 16 hexadecimal digits of a hash of problem and completion."""
    return hashlib.blake2b(f"{len(problem)}:{problem}{completion}".encode(), digest_size=8).hexdigest()
