"""Is this launch the only one that writes to a folder?"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from circuitseer_trl.distributed.executors import chosen_executor
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.locks import writing_to


@contextmanager
def only_writer(folder: str | Path) -> Iterator[None]:
    """Locks a folder for the block, by rank 0 for all ranks. Every rank calls this.

    Tasks of one array share the lock.

    Raises:
        ValueError: Another run writes there.
    """
    shared = chosen_executor().shares_folder
    with ExitStack() as stack:
        on_main_rank(lambda: stack.enter_context(writing_to(folder, shared=shared)))
        yield


def check_only_writer(folder: str | Path) -> None:
    """Raises as `only_writer` does, before any work."""
    with only_writer(folder):
        pass
