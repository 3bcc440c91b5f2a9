"""What does a check give? A number beside its bound, or the reason why there is none. One check never stops the others."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Status = Literal["ok", "differs", "cannot", "skipped", "failed"]
LONGEST_MESSAGE = 240


class CannotError(Exception):
    """A check cannot run on this machine; the message is the reason."""


@dataclass(frozen=True)
class Outcome:
    """One row of the table.

    Attributes:
        name: What was checked.
        status: `ok` or `differs` (the value is outside its bound), `cannot` (this machine has not what it needs), `skipped`
            (not asked for), `failed` (an exception).
        value: The error, or another number that was measured; None where there is none or it is not finite.
        bound: The largest value that is right, or the smallest one if `at_least`.
        unit: Of the value: `nats`, `relative`, ...
        detail: What else there is to know.
        seconds: Wall-clock time of the check.
    """

    name: str
    status: Status
    value: float | None = None
    bound: float | None = None
    unit: str = ""
    at_least: bool = False
    detail: str = ""
    seconds: float = 0.0


def compared(name: str, value: float, bound: float, unit: str, detail: str = "", *, at_least: bool = False) -> Outcome:
    """A measured value beside its bound. A value that is not finite is never right."""
    if not math.isfinite(value):
        detail = "; ".join(part for part in ("the value is not finite", detail) if part)
        return Outcome(name, "differs", None, bound, unit, at_least, detail)
    right = value >= bound if at_least else value <= bound
    return Outcome(name, "ok" if right else "differs", value, bound, unit, at_least, detail)


@dataclass(frozen=True)
class Check:
    """Something to check.

    Attributes:
        name: Name of its row if it has no outcome, and shown while it runs.
        run: Gives the outcomes. It may raise `CannotError`.
        left_out: Why it is not run; None runs it.
        announcement: Said before it runs, where it takes long.
    """

    name: str
    run: Callable[[], Sequence[Outcome]]
    left_out: str | None = None
    announcement: str | None = None


def first_line(error: BaseException) -> str:
    """An exception's kind and the first line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:LONGEST_MESSAGE]


def outcomes_of(check: Check) -> list[Outcome]:
    """Runs a check. An exception becomes its row."""
    if check.left_out is not None:
        return [Outcome(check.name, "skipped", detail=check.left_out)]
    started = time.perf_counter()
    try:
        outcomes = list(check.run())
    except CannotError as reason:
        outcomes = [Outcome(check.name, "cannot", detail=str(reason))]
    except Exception as error:
        outcomes = [Outcome(check.name, "failed", detail=first_line(error))]
    seconds = time.perf_counter() - started
    return [replace(outcome, seconds=seconds / len(outcomes)) for outcome in outcomes]


def run_checks(checks: Sequence[Check], before: Callable[[Check], None]) -> Iterator[Outcome]:
    """Yields the outcomes of all checks in their order, as they are there.

    Args:
        before: Called before each check that is run.
    """
    for check in checks:
        if check.left_out is None:
            before(check)
        yield from outcomes_of(check)
