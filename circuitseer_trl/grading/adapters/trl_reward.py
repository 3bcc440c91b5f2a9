"""A reward function for TRL's trainers: `GRPOTrainer(reward_funcs=math_reward, ...)`."""

from collections.abc import Sequence
from typing import Any

from circuitseer_trl.grading.adapters.answer_texts import last_message, question_of
from circuitseer_trl.grading.shared import shared_grader

Text = str | list[dict[str, Any]]


def math_reward(
    completions: Sequence[Text], solution: Sequence[object], prompts: Sequence[Text] | None = None, **columns: object
) -> list[float | None]:
    """1 for a right completion, 0 for any other one, None where the reference cannot be read.

    Args:
        completions: What the model wrote, as texts or as messages. The last box is the answer.
        solution: The dataset's column `solution`: a reference answer, or a worked solution with its answer in a box.
        prompts: The question, as text or as messages, of which the last one of the user counts.
        columns: Other columns of the dataset, which do not count.
    """
    texts = [None] * len(completions) if prompts is None else [last_message(each, "user") for each in prompts]
    questions = [question_of(reference, text) for reference, text in zip(solution, texts, strict=True)]
    readable = shared_grader().readable(questions)
    responses = [last_message(completion) for completion in completions]
    verdicts = shared_grader().grade(list(zip(responses, questions, strict=True)))
    return [float(verdict.correct) if can else None for verdict, can in zip(verdicts, readable, strict=True)]
