"""What does Math-Verify say of the same answers? A second grader, whose disagreements with the rules are worth a look."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from circuitseer_trl.grading.workers import Outcome, WorkerPool, default_workers

SecondGrader = Literal["math_verify"]


@dataclass(frozen=True)
class Opinion:
    """A second verdict; None where Math-Verify could not read a text, or did not end in time, and why.

    Attributes:
        reason: `math_verify`, `not_understood`, `timeout`, `crash`, or `error:` with its kind.
    """

    verdict: bool | None
    reason: str


def second_opinions(
    pairs: Sequence[tuple[str, str]], num_workers: int | None = None, timeout: float = 5.0
) -> list[Opinion]:
    """Verdicts of Math-Verify alone on (reference, extracted answer) pairs, in their order, each pair once.

    Both graders get the same answer, so that they differ in what is equal and not in where an answer is. It runs in processes
    that are killed after the time limit.
    """
    pool = WorkerPool(num_workers or default_workers(), timeout)
    distinct = list(dict.fromkeys(pairs))
    found: dict[tuple[str, str], Opinion] = {}
    try:
        tasks = ({"gold": gold, "answer": answer, "second": True} for gold, answer in distinct)
        pool.run(tasks, lambda number, outcome: found.update({distinct[number]: _opinion(outcome)}))
    finally:
        pool.close()
    return [found[pair] for pair in pairs]


def _opinion(outcome: Outcome) -> Opinion:
    result = outcome.result
    if result is None or result["reason"] != "math_verify":
        return Opinion(None, outcome.failure if result is None else result["reason"])
    return Opinion(result["correct"], "math_verify")
