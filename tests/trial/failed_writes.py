"""What if a write fails? At the n-th write of a command the disk is full, or the process is killed, or the disk has an error."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import safetensors.torch
import torch
import transformers.modeling_utils

from circuitseer_trl import artifacts
from circuitseer_trl.evaluation.answering import store

Fault = Callable[[], object]


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def killed() -> None:
    os._exit(137)  # as SIGKILL: nothing is cleaned up


class _Writes:
    """Stands in for the module `os` where files are written, and counts the ends of writes."""

    def __init__(self, fault: Fault, place: int) -> None:
        self.fault, self.place, self.number = fault, place, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, number: int) -> None:
        self.count()
        os.fsync(number)

    def count(self) -> None:
        self.number += 1
        if self.number == self.place:
            self.fault()


@contextmanager
def failing_write(fault: Fault, place: int) -> Iterator[_Writes]:
    """Makes the write number `place` in the block fail: of a file of ours, of an answer, or of weights.

    A file of weights is cut by it; of the others the last line or the temporary file is there.
    """
    writes = _Writes(fault, place)

    def cutting(save: Callable[..., Any]) -> Callable[..., Any]:
        def saved(tensors: Any, path: Any, *arguments: Any, **keys: Any) -> Any:
            result = save(tensors, path, *arguments, **keys)
            if writes.number + 1 == writes.place and isinstance(path, str | os.PathLike):
                os.truncate(path, os.path.getsize(path) // 2)
            writes.count()
            return result

        return saved

    with (
        mock.patch.object(artifacts, "os", writes),
        mock.patch.object(store, "os", writes),
        mock.patch.object(torch, "save", cutting(torch.save)),
        mock.patch.object(transformers.modeling_utils, "safe_save_file", cutting(safetensors.torch.save_file)),
    ):
        yield writes
