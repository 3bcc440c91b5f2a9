"""Who computes the shards that are missing? The ranks of this launch, or what the command has chosen for all its folders."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import pyarrow as pa
from tqdm import tqdm

from circuitseer_trl.artifacts import write_table
from circuitseer_trl.configs import ExecutorConfig
from circuitseer_trl.distributed.allocator import reuse_freed_memory
from circuitseer_trl.distributed.finishing import is_launched
from circuitseer_trl.distributed.processes import on_all_ranks, process_state
from circuitseer_trl.distributed.shard_folders import ShardFolder


@dataclass(frozen=True)
class ShardWork:
    """The shards of one folder that are to be computed.

    Attributes:
        folder: Of the shards. It is without the functions that check a shard, so that work can be pickled.
        todo: Numbers of the shards.
        compute: Makes the table of one shard. For workers in other processes it must be possible to pickle it.
        description: Text of the progress bar.
    """

    folder: ShardFolder
    todo: list[int]
    compute: Callable[[int], pa.Table]
    description: str

    @classmethod
    def of(
        cls, shards: ShardFolder, todo: list[int], compute: Callable[[int], pa.Table], description: str
    ) -> "ShardWork":
        return cls(replace(shards, uids=None, columns=None), todo, compute, description)

    def make(self, shard: int) -> None:
        """Computes a shard and writes its file, whole."""
        write_table(self.folder.path(shard), self.compute(shard), self.folder.title(shard))


class Executor(Protocol):
    """Computes the shards of folders.

    Attributes:
        shares_folder: Whether other commands compute shards of the same folder at the same time.
    """

    @property
    def shares_folder(self) -> bool: ...

    def run(self, work: ShardWork) -> None:
        """Computes the shards of a folder. All ranks call this; afterwards the files are there."""


class Ranks:
    """The ranks of a launch. Shards are divided among them; their number may differ from the run that was killed."""

    shares_folder: ClassVar[bool] = False

    def run(self, work: ShardWork) -> None:
        state = process_state()
        mine = work.todo[state.process_index :: state.num_processes]

        def make_mine() -> None:
            quiet = not state.is_main_process or not mine
            for shard in tqdm(mine, desc=work.description, unit="shard", disable=quiet):
                work.make(shard)

        with reuse_freed_memory():
            on_all_ranks(make_mine)


_chosen: ContextVar[Executor | None] = ContextVar("_chosen", default=None)


def chosen_executor() -> Executor:
    """The executor of the block that this is called in: by default the ranks."""
    return _chosen.get() or Ranks()


@contextmanager
def using(executor: Executor) -> Iterator[None]:
    """Has an executor compute the folders of shards in this block."""
    token = _chosen.set(executor)
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def executing(config: ExecutorConfig) -> Iterator[None]:
    """Has the folders of shards in this block computed by the executor of a command.

    Raises:
        ValueError: The executor cannot be used here.
        ImportError: Its package is not installed.
    """
    if config.executor == "ranks":
        yield
        return
    if config.executor == "slurm":
        from circuitseer_trl.distributed.slurm_array import SlurmArray

        with using(SlurmArray.of_this_job()):
            yield
        return
    if is_launched():
        raise ValueError(
            "`executor: ray` is for one process, but this is a launch of several ranks, which divide the shards themselves. "
            "Start the command without `accelerate launch`, or leave `executor` out."
        )
    from circuitseer_trl.distributed.ray_executor import ray_actors

    with ray_actors(config.num_actors, config.ray_address) as actors, using(actors):
        yield
