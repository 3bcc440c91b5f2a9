"""Which text is the answer, in what a framework hands over?"""

import re
from collections.abc import Sequence
from typing import Any

from circuitseer_trl.grading.extraction import extract_answer
from circuitseer_trl.grading.grader import Question, boxes_of

_BOX = re.compile(r"(?:\\(?:boxed|fbox|framebox)|\x08oxed)(?![A-Za-z])")


def answer_in(text: object, boxes: int = 1) -> str:
    """The last box of a worked solution, and any other text as it is. It is empty where the box is empty or was cut off."""
    written = "" if text is None else str(text)
    return (extract_answer(written, boxes) or "") if _BOX.search(written) else written


def last_message(text: str | Sequence[dict[str, Any]], role: str | None = None) -> str:
    """A plain text as it is, and of a conversation the content of the last message, or of the last one of a role."""
    if isinstance(text, str):
        return text
    contents = [each["content"] for each in text if role is None or each["role"] == role]
    content = contents[-1] if contents else ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or [])


def question_of(reference: object, text: object = None) -> Question:
    """The question of a reference, which may be a worked solution with a box."""
    asked = None if text is None else str(text)
    written = "" if reference is None else str(reference)
    boxes = boxes_of(Question(written, text=asked))
    return Question(answer_in(written, boxes), text=asked)


def answer_and_question(given: object) -> tuple[str, Question]:
    """The two of a JSON object with `answer` (a text with a box, or an answer alone), `reference`, and perhaps `question`."""
    if not isinstance(given, dict) or not {"answer", "reference"} <= given.keys() <= {
        "answer",
        "reference",
        "question",
    }:
        raise ValueError('Expected {"answer": ..., "reference": ...}, with or without "question", or a list of these.')
    if not all(isinstance(value, str) for value in given.values()):
        raise ValueError("Answer, reference and question must be texts.")
    question = Question(given["reference"], text=given.get("question"))
    return answer_in(given["answer"], boxes_of(question)), question
