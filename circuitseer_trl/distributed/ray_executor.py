"""Actors of a Ray cluster compute the shards that are missing, and write the files themselves.

The driver hands out numbers of shards, one at a time, and hears only that a file is there. An actor that died is replaced, and
its shard goes to another. Results are files, so nothing depends on which actor has made one.
"""

import gc
import logging
import os
import pickle
import socket
import traceback
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from tqdm import tqdm

from circuitseer_trl.distributed.allocator import reuse_freed_memory
from circuitseer_trl.distributed.executors import ShardWork
from circuitseer_trl.extras import require_extra

logger = logging.getLogger(__name__)

MOST_TRIES = 3
CONNECT_SECONDS = 10.0
PLACE_SECONDS = 30.0


@dataclass(frozen=True)
class Failure:
    """Why an actor could not make a shard.

    Attributes:
        wrong_input: Whether the input is wrong, so that every actor fails.
    """

    message: str
    wrong_input: bool


class ShardActor:
    """A worker of its own process. It keeps what it has loaded for the next shard of the same work."""

    def __init__(self, has_gpu: bool) -> None:
        self._work: tuple[str, ShardWork] | None = None
        self._memory = ExitStack()
        self._memory.enter_context(reuse_freed_memory())  # until the process ends
        if torch.cuda.is_available() != has_gpu:
            here, there = ("no GPU", "one") if has_gpu else ("a GPU", "none")
            self._refusal: str | None = (
                f"The actor on {socket.gethostname()} has {here}, and the machine of the command has {there}. Numbers depend on "
                "it. Start the command on a machine like those of the actors."
            )
        else:
            self._refusal = None

    def ready(self) -> str | None:
        """Says that the actor has started, or why it cannot be used."""
        return self._refusal

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
        except Exception as error:
            wrong = isinstance(error, ValueError | ImportError)
            return Failure(str(error) if wrong else traceback.format_exc(), wrong)
        return None


@dataclass
class RayActors:
    """Actors of a Ray cluster, which is joined or started for the block.

    Attributes:
        num_actors: Their number; None is one for each GPU of the cluster, or one for each CPU where this machine has no GPU.
        address: Of the cluster; None takes `RAY_ADDRESS`, and starts a cluster on this machine where that is not set.
    """

    num_actors: int | None = None
    address: str | None = None
    _actors: list[Any] = field(default_factory=list, init=False)
    _own_cluster: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        require_extra("ray", "`executor: ray`", "ray")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        if not ray.is_initialized():
            self._join()
            self._own_cluster = True
        if torch.cuda.is_available() and not ray.cluster_resources().get("GPU"):
            self.__exit__(None, None, None)
            raise ValueError(
                "This machine has a GPU, but the Ray cluster has none. Start Ray with GPUs (`ray start --num-gpus N`), or set "
                "CUDA_VISIBLE_DEVICES to nothing to compute without them."
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._actors.clear()
        if self._own_cluster:
            ray.shutdown()

    def _join(self) -> None:
        import ray

        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        if address == "local":
            ray.init(address="local", include_dashboard=False, num_cpus=self.num_actors, **quiet)
            return
        check_answers(address)
        try:
            ray.init(address=address, **quiet)
        except ConnectionError as error:
            raise ValueError(f"No Ray cluster can be joined at {address}: {error}") from error

    @property
    def size(self) -> int:
        """How many actors there are to be."""
        import ray

        found = ray.cluster_resources().get("GPU" if torch.cuda.is_available() else "CPU", 1)
        return self.num_actors or max(1, int(found))

    def _start(self) -> Any:
        import ray

        has_gpu = torch.cuda.is_available()
        remote = ray.remote(num_cpus=1, num_gpus=int(has_gpu), max_restarts=0)(ShardActor)
        actor = remote.remote(has_gpu)
        self._actors.append(actor)
        return actor

    def _drop(self, actor: Any) -> None:
        import ray

        self._actors.remove(actor)
        ray.kill(actor)

    def run(self, work: ShardWork) -> None:
        """Has the actors compute the shards.

        Raises:
            ValueError: The input is wrong, or the actors cannot be used.
            RuntimeError: A shard failed, or ended its actor, three times. What is finished stays.
        """
        import ray

        if not work.todo:
            return
        holder = [ray.put(ray.cloudpickle.dumps(work))]
        waiting, tries = deque(work.todo), Counter[int]()
        running: dict[Any, tuple[Any, int | None]] = {}
        while len(self._actors) < min(self.size, len(work.todo)):
            self._start()
        for actor in self._actors:
            running[actor.ready.remote()] = actor, None
        with tqdm(total=len(work.todo), desc=work.description, unit="shard") as progress:
            while waiting or any(shard is not None for _, shard in running.values()):
                done, _ = ray.wait(list(running), timeout=PLACE_SECONDS)
                if not done:
                    self._say_waiting(running)
                for ref in done:
                    actor, shard = running.pop(ref)
                    failure = self._outcome(ref)
                    if shard is not None and failure is None:
                        progress.update()
                    if failure is not None:
                        if failure.wrong_input:
                            raise ValueError(failure.message)
                        if shard is not None:
                            tries[shard] += 1
                            if tries[shard] == MOST_TRIES:
                                path = work.folder.path(shard)
                                raise RuntimeError(
                                    f"Shard {shard} ({path}) failed on {MOST_TRIES} actors. What is finished stays. The last "
                                    f"one: {failure.message}"
                                )
                            waiting.append(shard)
                        self._drop(actor)
                        if waiting:
                            actor = self._start()
                            running[actor.ready.remote()] = actor, None
                    elif waiting:
                        shard = waiting.popleft()
                        running[actor.make.remote(holder[0].hex(), holder, shard)] = actor, shard

    @staticmethod
    def _outcome(ref: Any) -> Failure | None:
        """What came of a call: None where all is well."""
        import ray

        try:
            result = ray.get(ref)
        except ray.exceptions.RayError as error:
            return Failure(f"its process ended ({type(error).__name__}: {error})", wrong_input=False)
        return Failure(result, wrong_input=True) if isinstance(result, str) else result

    def _say_waiting(self, running: dict[Any, Any]) -> None:
        if all(shard is None for _, shard in running.values()):
            logger.warning("No actor has started for %.0f s. The Ray cluster has no free place for one.", PLACE_SECONDS)


def check_answers(address: str) -> None:
    """Raises if nothing answers at the address of a cluster: Ray itself would try for minutes.

    Raises:
        ValueError: The address is none, or nothing answers there.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ValueError(f"`ray_address` must be HOST:PORT of a cluster's head, `auto` or `local`, got {address!r}.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ValueError(
            f"No Ray cluster answers at {address} ({error}). Start one with `ray start --head`, or leave `ray_address` out, and "
            "one is started on this machine."
        ) from error
