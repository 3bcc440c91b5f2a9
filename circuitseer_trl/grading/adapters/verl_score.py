"""A score function for verl: `custom_reward_function.path=pkg://circuitseer_trl.grading.adapters.verl_score`."""

import logging
from functools import cache
from typing import Any

from circuitseer_trl.grading.adapters.answer_texts import question_of
from circuitseer_trl.grading.shared import shared_grader

logger = logging.getLogger(__name__)


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: object,
    extra_info: dict[str, Any] | None = None,
    **others: object,
) -> float:
    """1 for a right solution, 0 for any other one.

    verl has no reward for "not known": where the reference cannot be read it is 0, and a warning names the reference.

    Args:
        data_source: Name of the dataset, which does not count.
        solution_str: What the model wrote. The last box is the answer.
        ground_truth: A reference answer, or a worked solution with its answer in a box.
        extra_info: What the dataset adds. `question` is the problem, if it is there.
        others: What newer versions of verl add, which does not count.
    """
    question = question_of(ground_truth, (extra_info or {}).get("question"))
    if shared_grader().readable([question]) == [False]:
        _warn(question.gold)
        return 0.0
    return float(shared_grader().grade([(solution_str, question)])[0].correct)


@cache
def _warn(gold: str) -> None:
    logger.warning("The reference %r cannot be read, so every solution gets 0. Correct it or drop its row.", gold)
