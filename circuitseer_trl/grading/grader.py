"""Is a response right? It extracts the answer and compares it in processes that can be killed, each pair once."""

import re
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from circuitseer_trl.grading.asking import asked_in
from circuitseer_trl.grading.extraction import extract_answer
from circuitseer_trl.grading.installed import grading_python, what_is_missing
from circuitseer_trl.grading.workers import Outcome, WorkerPool, default_workers

_CACHED_PAIRS = 1 << 16
_ENDED = ("timeout", "crash")  # the comparison's process was killed, or died
_UNDECIDED = (*_ENDED, "not_understood", "too_costly", "too_deep", "too_long", "too_many")

_Key = tuple[str, str, tuple[tuple[str, str], ...], str | None]  # reference, answer, options, question


@dataclass(frozen=True)
class Question:
    """The question that a response answers.

    Attributes:
        gold: Reference answer. No answer is right for an empty one.
        choices: Option texts by letter.
        text: The problem, which may name the unit or the form of its answer.
    """

    gold: str
    choices: dict[str, str] | None = None
    text: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a response is right, and why.

    Attributes:
        correct: Whether the response is right.
        extracted: The final answer; None if there is none.
        reason: The rule that decided. `no_answer`, `empty_gold`, `timeout` and `crash` are among them.
        seconds: Time of the comparison; 0 if an equal pair was compared before.
    """

    correct: bool
    extracted: str | None
    reason: str
    seconds: float = 0.0

    @property
    def undecided(self) -> bool:
        """Whether no rule could decide. The answer then counts as wrong."""
        return not self.correct and (self.reason in _UNDECIDED or self.reason.startswith("error:"))


class Grader:
    """Grades responses, from any thread. Use it in a `with` block, which ends its processes.

    Args:
        num_workers: Number of processes; None is one for each core, at most four.
        timeout: Seconds of processor time of a comparison. After them its process is killed and the verdict is undecided.
    """

    def __init__(self, num_workers: int | None = None, timeout: float = 5.0) -> None:
        if grading_python() == sys.executable and (missing := what_is_missing()):
            raise ImportError(missing)
        self._pool = WorkerPool(num_workers or default_workers(), timeout)
        self._cache: OrderedDict[_Key, Verdict] = OrderedDict()
        self._compared_now: set[_Key] = set()  # no second caller compares them
        self._changed = threading.Condition()

    def __enter__(self) -> "Grader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes, after the answers that they are at. The next answer starts new ones."""
        self._pool.close()

    def grade(self, items: Sequence[tuple[str, Question]]) -> list[Verdict]:
        """Verdicts of (response, question) pairs, in their order."""
        return self.grade_answers(
            [(extract_answer(response, boxes_of(question)), question) for response, question in items]
        )

    def grade_answers(self, items: Sequence[tuple[str | None, Question]]) -> list[Verdict]:
        """Verdicts of answers that were extracted before."""
        verdicts: list[Verdict | None] = [None] * len(items)
        waiting: dict[_Key, list[int]] = {}
        for number, (answer, question) in enumerate(items):
            if not question.gold.strip():
                verdicts[number] = Verdict(False, answer, "empty_gold")
            elif answer is None or not answer.strip():
                verdicts[number] = Verdict(False, answer, "no_answer")
            else:
                choices = tuple(sorted(question.choices.items())) if question.choices else ()
                waiting.setdefault((question.gold, answer, choices, question.text), []).append(number)
        while waiting:
            with self._changed:
                for key in [key for key in waiting if key in self._cache]:
                    self._cache.move_to_end(key)
                    for number in waiting.pop(key):
                        verdicts[number] = self._cache[key]
                ours = [key for key in waiting if key not in self._compared_now]
                self._compared_now.update(ours)
                if not ours:  # other callers are at these pairs
                    self._changed.wait_for(lambda: self._compared_now.isdisjoint(waiting))
            for key, verdict in self._compare(ours).items():
                first, *others = waiting.pop(key)
                verdicts[first] = verdict
                for other in others:
                    verdicts[other] = replace(verdict, seconds=0.0)
        assert all(verdict is not None for verdict in verdicts)
        return [verdict for verdict in verdicts if verdict is not None]

    def _compare(self, keys: list[_Key]) -> dict[_Key, Verdict]:
        """Verdicts of pairs, which are remembered."""
        tasks = (
            {"gold": gold, "answer": answer, "choices": dict(choices), "question": question}
            for gold, answer, choices, question in keys
        )
        verdicts: dict[_Key, Verdict] = {}

        def done(number: int, outcome: Outcome) -> None:
            key, result = keys[number], outcome.result or {"correct": False, "reason": outcome.failure}
            verdicts[key] = verdict = Verdict(extracted=key[1], seconds=outcome.seconds, **result)
            with self._changed:
                self._cache[key] = replace(verdict, seconds=0.0)
                if len(self._cache) > _CACHED_PAIRS:
                    self._cache.popitem(last=False)
                self._compared_now.discard(key)
                self._changed.notify_all()

        try:
            self._pool.run(tasks, done)
        finally:
            with self._changed:
                self._compared_now.difference_update(keys)
                self._changed.notify_all()
        return verdicts

    def readable(self, questions: Sequence[Question]) -> list[bool]:
        """Whether the rules can read each reference: whether they can decide that a number, or an interval, is not it."""
        numbers = self.grade_answers([("0", question) for question in questions])
        # Only what is no number may be an interval; a number that costs too much stays one.
        others = [number for number, verdict in enumerate(numbers) if verdict.reason == "not_understood"]
        intervals = self.grade_answers([("[0, 1]", questions[number]) for number in others])
        verdicts = dict(enumerate(numbers)) | dict(zip(others, intervals, strict=True))
        return [not verdict.undecided and verdict.reason != "empty_gold" for verdict in verdicts.values()]

    def classes(
        self, answers: Sequence[str | None], verdicts: Sequence[Verdict], question: Question
    ) -> list[int | None]:
        """Groups the answers to one question into classes of equal answers; no answer has no class.

        All right answers are one class. Wrong ones are compared with each class's first answer, under the question's
        own rules.

        An answer whose comparison with the reference did not end in time is a class of its own. So is one whose comparisons
        with two classes do not end, and the first answer of a class is left out after two such comparisons. Each answer then
        costs the time limit three times at most.
        """
        class_of: dict[str, int] = {}
        result: list[int | None] = []
        right: int | None = None
        firsts: dict[str, int] = {}  # the first answer of each class of wrong answers
        slow = Counter[str]()
        for answer, verdict in zip(answers, verdicts, strict=True):
            if answer is None or not answer.strip():
                result.append(None)
                continue
            if answer not in class_of:
                number = len(set(class_of.values()))
                if verdict.correct:
                    right = number if right is None else right
                    number = right
                elif verdict.reason not in _ENDED:
                    same, too_slow = self._first_equal(answer, firsts, question)
                    if same is not None:
                        number = firsts[same]
                    elif len(too_slow) < 2:
                        firsts[answer] = number
                    slow.update(too_slow if len(too_slow) < 2 else ())
                    firsts = {first: of for first, of in firsts.items() if slow[first] < 2}
                class_of[answer] = number
            result.append(class_of[answer])
        return result

    def _first_equal(self, answer: str, firsts: Iterable[str], question: Question) -> tuple[str | None, list[str]]:
        """The first text that equals an answer, if any; and up to two texts whose comparison did not end in time."""
        too_slow: list[str] = []
        for first in firsts:
            (verdict,) = self.grade_answers([(answer, Question(first, question.choices, question.text))])
            if verdict.correct:
                return first, too_slow
            if verdict.reason in _ENDED:
                too_slow.append(first)
                if len(too_slow) == 2:
                    break
        return None, too_slow


def boxes_of(question: Question) -> int:
    """How many boxes a response may have that are one answer: one for each part, if the reference answers them all."""
    parts = asked_in(question.text).blanks
    return parts if parts > 1 and len(re.findall("[,;，；]", question.gold)) + 1 >= parts else 1


def grade_all(items: Iterable[tuple[str, Question]], **options: Any) -> list[Verdict]:
    """Verdicts of (response, question) pairs with a grader of their own."""
    with Grader(**options) as grader:
        return grader.grade(list(items))
