"""Does another run write to this folder? A run locks its output folder, and the kernel unlocks it when the run ends or dies.

The lock is on a file in the folder, so a folder that is moved takes it along. It is a record lock (`fcntl.lockf`, which Windows
does not have): processes that the run forks do not inherit it, and it holds over NFS. The file's name starts with `_`, which
transformers does not push to the Hub, and the file is deleted at the end of the run.
"""

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

PREFIX, SUFFIX = "_writing_", ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_held: set[Path] = set()  # by this process: a step of a run may lock the folder that the run has locked


class FolderInUseError(ValueError):
    """Another run writes to a folder."""


def is_lock(path: Path) -> bool:
    return path.name.startswith(PREFIX) and path.suffix == SUFFIX


def _holder(path: Path) -> str:
    """Which run holds the lock, for a message."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"process {found['pid']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is just being written
        return "its process is not known"


def _is_at(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())


def _lock(path: Path, shared: bool = False) -> int | None:
    """Opens the file and locks it; None on a disk without locks.

    Raises:
        BlockingIOError: Another process has locked it.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise BlockingIOError(*error.args) from error
            if error.errno not in _NO_LOCKS:
                raise
            logger.warning("The disk of %s has no locks: nothing stops a second run from writing there.", path.parent)
            path.unlink(missing_ok=True)
            return None
        os.close(descriptor)  # its run has just ended and deleted it


def _is_last(descriptor: int) -> bool:
    """Whether no other run shares the lock; it is then not shared any more."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def writing_to(folder: str | Path, what: str = "output", shared: bool = False) -> Iterator[None]:
    """Locks a folder for the block; the folder is made if it does not exist.

    Args:
        what: Part of the folder that is written, for parts that several runs may write at a time.
        shared: Whether runs that also share it may write there at the same time.

    Raises:
        FolderInUseError: Another run writes there. It is alive, since the lock of a dead one is gone.
    """
    folder = Path(folder).expanduser().resolve()
    path = folder / f"{PREFIX}{what}{SUFFIX}"
    if path in _held:
        yield
        return
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = _lock(path, shared)
    except BlockingIOError:
        raise FolderInUseError(
            f"Another run writes to {folder} ({_holder(path)}). Wait for its end, or end it and run this command again, or "
            "choose another output folder."
        ) from None
    if descriptor is None:
        yield
        return
    record: dict[str, Any] = {"pid": os.getpid(), "host": socket.gethostname()}
    record["since"] = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps(record).encode())
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        if _is_at(descriptor, path) and (not shared or _is_last(descriptor)):  # not if the folder was moved
            path.unlink()
        os.close(descriptor)
        if made:
            with suppress(OSError):
                folder.rmdir()  # a run that failed at its start leaves no empty folder
