"""Is this launch the only one that writes to a folder?"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.locks import writing_to


@contextmanager
def only_writer(folder: str | Path) -> Iterator[None]:
    """Locks a folder for the block, by rank 0 for all ranks. Every rank calls this.

    Raises:
        ValueError: Another run writes there.
    """
    with ExitStack() as stack:
        on_main_rank(lambda: stack.enter_context(writing_to(folder)))
        yield


def check_only_writer(folder: str | Path) -> None:
    """Raises as `only_writer` does, before any work."""
    with only_writer(folder):
        pass
