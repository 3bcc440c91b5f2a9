"""`python -m eval.run`, with each rank saying how many answers it wrote: parts of files are gone at the end."""

from accelerate import PartialState

from circuitseer_trl.evaluation.answering.store import SampleStore
from circuitseer_trl.scripts.evaluate import main

append, counts = SampleStore.append, []


def counted(store: SampleStore, samples: list) -> None:
    counts.append(len(samples))
    append(store, samples)


if __name__ == "__main__":
    SampleStore.append = counted
    main()
    state = PartialState()
    print(f"rank {state.process_index} of {state.num_processes} answered {sum(counts)}", flush=True)
