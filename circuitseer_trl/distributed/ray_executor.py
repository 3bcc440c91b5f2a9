"""Actors of a Ray cluster compute the shards that are missing, and write the files themselves.

The command hands out numbers of shards, one at a time, and hears only that a file is there. An actor that died is replaced, and
its shard goes to another. Results are files, so nothing depends on which actor has made one.
"""

import gc
import logging
import pickle
import socket
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from tqdm import tqdm

from circuitseer_trl.distributed.allocator import reuse_freed_memory
from circuitseer_trl.distributed.executors import ShardWork
from circuitseer_trl.distributed.ray_cluster import ray_cluster

logger = logging.getLogger(__name__)

MOST_TRIES = 3
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Failure:
    """Why an actor could not make a shard.

    Attributes:
        wrong_input: Whether the input is wrong, so that every actor fails.
    """

    message: str
    wrong_input: bool = False


class ShardActor:
    """A process that makes shards. It keeps what it has loaded for the next shard of the same work."""

    def __init__(self) -> None:
        self._work: tuple[str, ShardWork] | None = None
        self._memory = ExitStack()
        self._memory.enter_context(reuse_freed_memory())  # until the process ends

    def ready(self, has_gpu: bool) -> Failure | None:
        """Says that the actor has started, or why it cannot be used."""
        if torch.cuda.is_available() == has_gpu:
            return None
        here, there = ("no GPU", "one") if has_gpu else ("a GPU", "none")
        return Failure(
            f"The actor on {socket.gethostname()} has {here}, and the machine of the command has {there}. Numbers depend on it. "
            "Start the command on a machine like those of the actors.",
            wrong_input=True,
        )

    def make(self, key: str, holder: list[Any], shard: int) -> Failure | None:
        """Makes a shard of a work, which is read once.

        Args:
            key: Of the work.
            holder: The reference of the pickled work, in a list so that Ray does not send its content with each shard.
        """
        import ray

        try:
            if self._work is None or self._work[0] != key:
                # The last work is still there, so that a model which both need is not loaded again.
                self._work = key, pickle.loads(ray.get(holder[0]))
                gc.collect()
            self._work[1].make(shard)
        except (ValueError, ImportError) as error:
            return Failure(str(error), wrong_input=True)
        except Exception:
            return Failure(traceback.format_exc())
        return None


@dataclass
class RayActors:
    """Actors of the Ray cluster that this process has joined. They stay from one folder of shards to the next.

    Attributes:
        most: The largest number of them; None is one for each GPU of the cluster, or one for each CPU where this machine has
            no GPU.
    """

    shares_folder: ClassVar[bool] = False

    most: int | None = None
    _actors: list[Any] = field(default_factory=list, init=False)

    @property
    def size(self) -> int:
        import ray

        place = "GPU" if torch.cuda.is_available() else "CPU"
        return self.most or max(1, int(ray.cluster_resources().get(place, 1)))

    def run(self, work: ShardWork) -> None:
        """Has the actors compute the shards of a folder.

        Raises:
            ValueError: The input is wrong, or the actors cannot be used.
            RuntimeError: A shard failed, or ended its actor, three times.
        """
        if work.todo:
            while len(self._actors) < min(self.size, len(work.todo)):
                self.start()
            with tqdm(total=len(work.todo), desc=work.description, unit="shard") as progress:
                _Run(self, work, progress).finish()

    def start(self) -> Any:
        """Starts an actor, as soon as the cluster has a place for it."""
        import ray

        actor: Any = ray.remote(num_cpus=1, num_gpus=int(torch.cuda.is_available()))(ShardActor)
        self._actors.append(actor.remote())
        return self._actors[-1]

    def end(self, actor: Any) -> None:
        import ray

        self._actors.remove(actor)
        with suppress(ray.exceptions.RayError):
            ray.kill(actor)

    def end_all(self) -> None:
        for actor in list(self._actors):
            self.end(actor)

    def all(self) -> list[Any]:
        return list(self._actors)


class _Run:
    """The shards of one folder, from the first that is handed out to the last file."""

    def __init__(self, actors: RayActors, work: ShardWork, progress: tqdm) -> None:
        import ray

        self.actors, self.work, self.progress = actors, work, progress
        self.holder = [ray.put(ray.cloudpickle.dumps(work))]
        self.waiting = work.todo[::-1]
        self.tries = Counter[int | None]()  # of each shard; of starts of actors, since the last that was well
        self.idle: list[Any] = []
        # Of each call, its actor and its shard. A call without a shard tells when the actor has started.
        self.calls: dict[Any, tuple[Any, int | None]] = {}
        for actor in actors.all():
            self.greet(actor)

    def greet(self, actor: Any) -> None:
        self.calls[actor.ready.remote(torch.cuda.is_available())] = actor, None

    def finish(self) -> None:
        import ray

        warned = False
        while self.waiting or any(shard is not None for _, shard in self.calls.values()):
            done, _ = ray.wait(list(self.calls), timeout=PATIENCE_SECONDS)
            if not done and not warned and all(shard is None for _, shard in self.calls.values()):
                warned = True
                logger.warning(
                    "No actor has started yet: the Ray cluster has no free place for one. The command waits."
                )
            for call in done:
                self.settle(call, *self.calls.pop(call))

    def settle(self, call: Any, actor: Any, shard: int | None) -> None:
        """Takes the result of a call, and gives the actors that have nothing to do the next shards."""
        failure = self.result(call)
        if failure is None:
            self.progress.update(shard is not None)
            self.tries[None] = 0
            self.idle.append(actor)
        else:
            self.replace(actor, shard, failure)
        while self.waiting and self.idle:
            actor, shard = self.idle.pop(), self.waiting.pop()
            self.calls[actor.make.remote(self.holder[0].hex(), self.holder, shard)] = actor, shard

    def replace(self, actor: Any, shard: int | None, failure: Failure) -> None:
        """Has a new actor started for one that failed, and its shard tried again."""
        if failure.wrong_input:
            raise ValueError(failure.message)
        self.actors.end(actor)
        self.tries[shard] += 1
        what = "An actor" if shard is None else f"Shard {shard} ({self.work.folder.path(shard)})"
        if self.tries[shard] == MOST_TRIES:
            how = "did not start" if shard is None else "failed on an actor"
            raise RuntimeError(
                f"{what} {how} {MOST_TRIES} times, and the command ends. Shards that are finished stay. The last failure: "
                f"{failure.message}"
            )
        if shard is not None:
            logger.warning("%s is tried again: %s", what, failure.message.splitlines()[-1])
            self.waiting.insert(-2 * len(self.calls), shard)  # others come first, on actors that may be better
        self.greet(self.actors.start())

    @staticmethod
    def result(call: Any) -> Failure | None:
        import ray

        try:
            return ray.get(call)
        except ray.exceptions.RayError as error:
            return Failure(f"The actor ended: {' '.join(str(error).split())}")


@contextmanager
def ray_actors(num_actors: int | None, address: str | None) -> Iterator[RayActors]:
    """Joins or starts a Ray cluster for the block, and gives its actors."""
    with ray_cluster(num_actors, address):
        actors = RayActors(num_actors)
        try:
            yield actors
        finally:
            actors.end_all()
