"""`process_results` for tasks of lm-evaluation-harness. Import it into the `utils.py` beside the task's YAML."""

from collections.abc import Sequence
from typing import Any

from circuitseer_trl.grading.adapters.answer_texts import question_of
from circuitseer_trl.grading.shared import shared_grader


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """`exact_match` of the first result, and `undecided`: whether no rule could decide, or the reference cannot be read.

    Args:
        doc: A row with `answer` or `solution`, and `problem` or `question`.
        results: What the model wrote. The last box is the answer.
    """
    reference = next((doc[key] for key in ("answer", "solution") if doc.get(key) is not None), None)
    question = question_of(reference, doc.get("problem", doc.get("question")))
    (verdict,) = shared_grader().grade([(results[0], question)])
    unread = shared_grader().readable([question]) == [False]
    return {"exact_match": float(verdict.correct), "undecided": float(verdict.undecided or unread)}
