"""Is this answer right? In one call, from any thread or event loop, with processes that all callers share."""

import asyncio
import os
import threading

from circuitseer_trl.grading.grader import Grader, Question, Verdict

_lock = threading.Lock()
_graders: dict[int, Grader] = {}


def shared_grader() -> Grader:
    """This process's grader. A child that was forked has one of its own: it must not read its parent's pipes."""
    with _lock:
        if os.getpid() not in _graders:
            _graders[os.getpid()] = Grader()  # its processes end with this one, when their input ends
        return _graders[os.getpid()]


def grade(response: str, gold: str, *, choices: dict[str, str] | None = None, question: str | None = None) -> Verdict:
    """The verdict of one response, whose last box is its answer.

    Args:
        response: What a model wrote.
        gold: Reference answer.
        choices: Option texts by letter.
        question: The problem, which may name options, blanks and their order, or ask for a percentage.
    """
    return shared_grader().grade([(response, Question(gold, choices, question))])[0]


async def agrade(
    response: str, gold: str, *, choices: dict[str, str] | None = None, question: str | None = None
) -> Verdict:
    """The same as `grade`, for a running event loop, which goes on meanwhile."""
    return await asyncio.to_thread(grade, response, gold, choices=choices, question=question)


def equivalent(one: str, other: str, *, question: str | None = None) -> bool:
    """Whether two answers, without boxes, mean the same. What no rule decides is not equivalent."""
    return shared_grader().grade_answers([(other, Question(one, None, question))])[0].correct
