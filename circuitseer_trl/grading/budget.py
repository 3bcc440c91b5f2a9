"""How much processor time may one comparison take? What is over it is killed by the kernel, also inside C code.

Processor time does not depend on what else the machine does, so the same answers are stopped under any load.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# Windows has no such timer; there only the wall clock of the pool stops a comparison.
HAS_TIMER = hasattr(signal, "setitimer")


def start(seconds: float) -> None:
    """Kills this process with SIGPROF after so many more seconds of processor time; 0 calls it off."""
    if HAS_TIMER:
        signal.setitimer(signal.ITIMER_PROF, seconds)


@contextmanager
def paused() -> Iterator[None]:
    """What is done inside, such as importing a library, counts against no comparison."""
    left = signal.getitimer(signal.ITIMER_PROF)[0] if HAS_TIMER else 0.0
    start(0)
    try:
        yield
    finally:
        start(left)
