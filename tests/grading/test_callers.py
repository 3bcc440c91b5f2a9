"""Callers from several threads share the worker processes, which may be slow, die or be stopped."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from circuitseer_trl.grading.grader import Grader, Question
from circuitseer_trl.grading.shared import equivalent, grade


@pytest.mark.thorough
def test_a_hang_is_killed_and_the_next_answer_graded():
    with Grader(num_workers=1, timeout=0.2) as grader:
        grader.grade([(r"\boxed{1}", Question("1.0"))])
        process = grader._pool.workers[0].process
        assert process is not None
        process.send_signal(19)  # SIGSTOP: as good as a hang, and certain
        start = time.perf_counter()
        hung, following = grader.grade([(r"\boxed{2}", Question("2.0")), (r"\boxed{3}", Question("3.0"))])
        assert (hung.correct, hung.reason) == (False, "timeout")
        assert following.correct
        assert time.perf_counter() - start < 30
        assert process.poll() is not None


def test_a_dead_worker_is_replaced():
    with Grader(num_workers=1) as grader:
        worker = grader._pool.workers[0]
        assert equal(grader, "1")
        assert worker.process is not None
        worker.process.kill()
        worker.process.wait()
        assert equal(grader, "2")  # no answer is blamed for what killed an idle process
        stop(worker)
        with ThreadPoolExecutor(1) as threads:
            both = threads.submit(
                grader.grade_answers, [("3", Question("3.0")), ("4", Question("4.0")), ("3", Question("3.0"))]
            )
            wait_until(lambda: len(worker.tasks) > 0)
            worker.process.kill()
            assert [verdict.reason for verdict in both.result()] == ["crash", "value", "crash"]


def equal(grader: Grader, number: str) -> bool:
    return grader.grade_answers([(number, Question(f"{number}.0"))])[0].correct


def stop(worker: Any) -> None:
    """The answers that are sent to this worker are slow: they end when its process is continued or killed."""
    worker.process.send_signal(signal.SIGSTOP)


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.001)


def test_a_slow_answer_holds_up_its_own_caller_alone():
    with Grader(num_workers=2) as grader, ThreadPoolExecutor(4) as threads:
        one, other = grader._pool.workers
        assert all(each.correct for each in grader.grade_answers([("1", Question("1.0")), ("2", Question("2.0"))]))
        stop(one)
        stop(other)
        slow = [threads.submit(equal, grader, number) for number in ("3", "4")]
        wait_until(lambda: one.tasks and other.tasks)
        fast = [threads.submit(equal, grader, number) for number in ("5", "6")]
        wait_until(lambda: len(grader._pool._queue) == 2)
        one.process.send_signal(signal.SIGCONT)
        assert all(each.result() for each in fast)  # both by the first worker
        assert sum(each.done() for each in slow) == 1
        assert equal(grader, "7")
        other.process.send_signal(signal.SIGCONT)
        assert all(each.result() for each in slow)


def test_callers_who_ask_for_the_same_pair_wait_for_one_comparison():
    with Grader(num_workers=2) as grader, ThreadPoolExecutor(8) as threads:
        one, other = grader._pool.workers
        grader.grade_answers([("1", Question("1.0")), ("2", Question("2.0"))])
        stop(one)
        stop(other)
        same = [threads.submit(grader.grade_answers, [("3", Question("3.0"))]) for _ in range(8)]
        wait_until(lambda: one.tasks or other.tasks)
        assert not (one.tasks and other.tasks)
        (worker,) = [each for each in (one, other) if each.tasks]
        worker.process.kill()
        verdicts = [each.result()[0] for each in same]
        assert [verdict.reason for verdict in verdicts] == ["crash"] * 8
        assert sum(verdict.seconds > 0 for verdict in verdicts) == 1
        (idle,) = {one, other} - {worker}
        idle.process.send_signal(signal.SIGCONT)


def test_an_interrupted_caller_leaves_no_answer_to_the_next_one():
    with Grader(num_workers=1) as grader:

        def interrupted(number: int, outcome: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            grader._pool.run([{"gold": "1", "answer": "2"}] * 5, interrupted)
        assert equal(grader, "3")
        assert not grader.grade_answers([("1", Question("2"))])[0].correct


def test_close_waits_for_the_answers_under_way():
    with Grader(num_workers=2) as grader, ThreadPoolExecutor(2) as threads:
        assert equal(grader, "1")
        worker = next(each for each in grader._pool.workers if each.process)
        process = worker.process
        stop(worker)
        slow = threads.submit(equal, grader, "2")
        wait_until(lambda: len(worker.tasks) == 1)
        closed = threads.submit(grader.close)
        wait_until(lambda: len(grader._pool._queue) == 1)
        process.send_signal(signal.SIGCONT)
        assert slow.result()
        closed.result()
        assert process.poll() is not None
        assert equal(grader, "3")


@pytest.mark.thorough
def test_what_is_stopped_is_stopped_by_its_processor_time_and_those_behind_it_are_graded():
    """Math-Verify takes about 0.3 s for this sum, beside its import, which is not counted."""
    sums = (r"\sum_{k=1}^{n} k", Question(r"\frac{n(n+1)}{2}"))
    with Grader(num_workers=1, timeout=0.04) as grader:
        verdicts = grader.grade_answers([("1", Question("1.0")), sums, ("2", Question("2.0"))])
    assert [verdict.correct for verdict in verdicts] == [True, False, True]
    assert verdicts[1].reason == "timeout"
    assert verdicts[1].undecided


def test_threads_share_one_grader_and_get_the_same_verdicts():
    items = [(str(number), str(number + number % 2)) for number in range(60)]
    with ThreadPoolExecutor(16) as threads:
        verdicts = list(threads.map(lambda pair: equivalent(*pair), items))
    assert verdicts == [one == other for one, other in items]
    assert grade(r"so \boxed{\frac12}", "0.5").correct
    assert not grade(r"so \boxed{A}", "B", choices={"A": "1", "B": "2"}).correct
