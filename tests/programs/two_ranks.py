"""`circuitseer evaluate`, with each rank saying how many answers it wrote: parts of files are gone at the end."""

import sys
from collections.abc import Iterable

from accelerate import PartialState

from circuitseer_trl.answers import Sample
from circuitseer_trl.command_line import run_command
from circuitseer_trl.evaluation.answering.store import SampleStore
from circuitseer_trl.scripts.evaluate import main

append = SampleStore.append
counts: list[int] = []


def counted(store: SampleStore, samples: Iterable[Sample]) -> None:
    samples = list(samples)
    counts.append(len(samples))
    append(store, samples)


def count(words: list[str]) -> None:
    main(words)
    state = PartialState()
    print(f"rank {state.process_index} of {state.num_processes} answered {sum(counts)}", flush=True)


if __name__ == "__main__":
    SampleStore.append = counted  # type: ignore[assignment, method-assign]
    sys.exit(run_command(count))
