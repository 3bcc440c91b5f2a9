"""What do other graders say? A function each, run in a process that is killed after a time limit.

Some of them evaluate what they are given as Python, so they only get cases that are known.
"""

import importlib
import importlib.util
import logging
import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

from bench.grader_cases import Case

Peer = Callable[[str, str], bool]  # of a response and a reference
START_METHOD: Literal["spawn", "fork"] = "spawn"
_START_SECONDS = 60.0


def _math_verify() -> Peer:
    """As its README has it."""
    from math_verify import parse, verify

    def grade(response: str, gold: str) -> bool:
        wrapped = gold if "$" in gold else f"${gold}$"
        return bool(
            verify(parse(wrapped, parsing_timeout=None), parse(response, parsing_timeout=None), timeout_seconds=None)
        )

    return grade


def _inspect_ai() -> Peer:
    """Its scorer `math`, on a sample whose completion is the response."""
    import asyncio

    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Target, math
    from inspect_ai.solver import TaskState

    loop, scorer = asyncio.new_event_loop(), math()

    def grade(response: str, gold: str) -> bool:
        output = ModelOutput.from_content("model", response)
        state = TaskState(model="model", sample_id=1, epoch=1, input="", messages=[], output=output)  # type: ignore[arg-type]
        score = loop.run_until_complete(scorer(state, Target(gold)))
        if score is None or score.value not in ("C", "I"):
            raise ValueError("It has no score.")
        return score.value == "C"

    return grade


def _lm_eval() -> Peer:
    """What its task hendrycks_math does with an answer that it has: the last box against the reference."""
    task: Any = importlib.import_module("lm_eval.tasks.hendrycks_math.utils")

    def grade(response: str, gold: str) -> bool:
        box = task.last_boxed_only_string(response)
        return box is not None and bool(task.is_equiv(task.remove_boxed(box), gold))

    return grade


def _mathruler() -> Peer:
    grader: Any = importlib.import_module("mathruler.grader")
    return lambda response, gold: bool(grader.grade_answer(grader.extract_boxed_content(response), gold))


PEERS: dict[str, tuple[str, Callable[[], Peer]]] = {
    "math-verify": ("math_verify", _math_verify),
    "inspect-ai": ("inspect_ai", _inspect_ai),
    "lm-eval": ("lm_eval", _lm_eval),
    "mathruler": ("mathruler", _mathruler),
}


def installed_peers() -> list[str]:
    return [name for name, (module, _) in PEERS.items() if importlib.util.find_spec(module) is not None]


@dataclass(frozen=True)
class Said:
    """A grader's verdict; None where it raised, was killed or died. Seconds are of all cases together."""

    verdicts: list[bool | None]
    seconds: float


def ask_peer(name: str, cases: Sequence[Case], limit: float = 5.0) -> Said:
    """Verdicts of one peer, one case after another. A case over the time limit ends its process; the next one gets a new one."""
    context: Any = multiprocessing.get_context(START_METHOD)
    verdicts: list[bool | None] = []
    spent = 0.0
    process = None
    for case in cases:
        if process is None:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(name, theirs), daemon=True)
            process.start()
            theirs.close()
            if not ours.poll(_START_SECONDS) or ours.recv() != "ready":
                raise RuntimeError(f"{name} did not start.")
        start = time.perf_counter()
        ours.send((case.response, case.gold))
        verdict, answered = None, ours.poll(limit)
        if answered:
            try:
                verdict = ours.recv()
            except EOFError:  # it died
                answered = False
        spent += time.perf_counter() - start
        verdicts.append(verdict)
        if not answered:
            process.kill()
            process.join()
            process = None
    if process is not None:
        process.kill()
    return Said(verdicts, spent)


def _serve(name: str, pipe: Connection) -> None:
    logging.disable()  # what peers warn of at each case
    grade = PEERS[name][1]()
    pipe.send("ready")
    while True:
        response, gold = pipe.recv()
        try:
            verdict: bool | None = grade(response, gold)
        except Exception:  # a peer may raise anything
            verdict = None
        pipe.send(verdict)
