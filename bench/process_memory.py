"""How much memory do a program and the processes that it starts take at most? Read from /proc, so on Linux only."""

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS_BETWEEN = 0.05


@dataclass
class Peak:
    """The largest memory of one process, in bytes.

    Attributes:
        resident: All of its pages that are in memory, with those of files that it has mapped (VmHWM).
        anonymous: Its own pages, without those of files (RssAnon, as often as it was read).
    """

    resident: int = 0
    anonymous: int = 0


@dataclass(frozen=True)
class Measured:
    """One run: its seconds, what it printed, and the peak of each process by its number, the first process first."""

    seconds: float
    output: str
    peaks: dict[int, Peak]


def _family(process: int) -> list[int]:
    """A process and all that it has started and that still run."""
    found = [process]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # the thread has ended
                continue
    return found


def _read(process: int, peaks: dict[int, Peak]) -> None:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # the process has ended
        return
    values = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    if "VmHWM" in values:  # not in a process that has ended and is not waited for
        peak = peaks.setdefault(process, Peak())
        peak.resident = max(peak.resident, int(values["VmHWM"][0]) * 1024)
        peak.anonymous = max(peak.anonymous, int(values["RssAnon"][0]) * 1024)


def run_measured(command: Sequence[str], environment: Mapping[str, str]) -> Measured:
    """Runs a program to its end and reads its memory every 0.05 seconds. Raises if the program fails."""
    started, peaks = time.monotonic(), dict[int, Peak]()
    with tempfile.TemporaryFile("w+") as output:
        program = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while program.poll() is None:
            for process in _family(program.pid):
                _read(process, peaks)
            time.sleep(SECONDS_BETWEEN)
        output.seek(0)
        printed = output.read()
    if program.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {program.returncode}:\n{printed[-2000:]}")
    return Measured(time.monotonic() - started, printed, peaks)
