"""A step of a run, alone or as a rank of a launch: it names its process in a folder, then waits, or fails in some way."""

import os
import sys
import time
from pathlib import Path

from circuitseer_trl.command_line import run_command


def step(words: list[str]) -> None:
    folder, *failures = words
    rank = os.environ.get("RANK", "0")
    (Path(folder) / f"pid{rank}").write_text(str(os.getpid()))
    while not failures:
        time.sleep(1)
    for failure in failures:
        if failure == "mistake":
            raise FileNotFoundError("all ranks have it")
        from circuitseer_trl.distributed.processes import on_all_ranks, process_state

        def work(failure: str = failure) -> None:
            if failure == f"mistake{process_state().process_index}":
                raise FileNotFoundError("one rank has it")
            if failure == f"bug{process_state().process_index}":
                raise KeyError("a bug")

        on_all_ranks(work)


if __name__ == "__main__":
    sys.exit(run_command(step))
