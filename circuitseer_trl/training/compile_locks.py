"""Would DeepSpeed wait for a compilation that was killed? It compiles extensions at its first start, behind a lock of torch.

The lock is a file. A compilation that is killed leaves it, and torch then waits until somebody deletes it, without a word.
"""

import logging
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

logger = logging.getLogger(__name__)

CPU_EXTENSION = "deepspeed_shm_comm"
ABANDONED_SECONDS = 600.0  # without a change in a folder where a compiler writes a file every few minutes


def build_folders() -> list[Path]:
    """The folders of extensions that torch has begun to compile for this Python."""
    from torch.utils.cpp_extension import get_default_build_root

    if root := os.environ.get("TORCH_EXTENSIONS_DIR"):
        return sorted(Path(root).glob("*/"))
    return sorted(Path(get_default_build_root()).glob(f"py{sys.version_info.major}{sys.version_info.minor}*/*/"))


def cpu_extension_is_built() -> bool:
    """Whether DeepSpeed finds its extension for sums on a CPU."""
    return any(any(folder.glob("*.so")) for folder in build_folders() if folder.name == CPU_EXTENSION)


def holder(lock: Path) -> int | None:
    """The process of this machine that compiles behind a lock: torch keeps the file open meanwhile."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # another user's process, or one that has ended
            if os.readlink(link) == str(lock.resolve()):
                return int(link.parts[2])
    return None


def _seconds_since_change(folder: Path) -> float:
    changes = [folder.stat().st_mtime]
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            changes.append(file.stat().st_mtime)
    return time.time() - max(changes)


def check_compile_locks() -> None:
    """Deletes locks that are surely abandoned, and announces a compilation. Every process calls this before DeepSpeed starts.

    Raises:
        ValueError: A lock is held by no process of this machine, but is too young to be deleted: the folder may be shared with
            another machine or container.
    """
    folders, first = build_folders(), os.environ.get("LOCAL_RANK", "0") == "0"
    for lock in [folder / "lock" for folder in folders if (folder / "lock").exists()]:
        if not first:
            while lock.exists() and holder(lock) is None:  # the first process deletes it, or fails
                time.sleep(0.2)
        elif (pid := holder(lock)) is not None:
            logger.warning("Process %d compiles %s. This run waits for its end.", pid, lock.parent.name)
        elif (seconds := _seconds_since_change(lock.parent)) > ABANDONED_SECONDS:
            logger.warning("%s was left by a compilation that was killed. It is deleted.", lock)
            lock.unlink(missing_ok=True)
        else:
            raise ValueError(
                f"DeepSpeed would wait without end for {lock}: no process of this machine compiles there, and the last change "
                f"is {seconds:.0f} s old. If no other machine or container compiles there, delete this file: rm {lock}"
            )
    if first and not cpu_extension_is_built() and not torch.cuda.is_available():
        logger.warning("DeepSpeed compiles an extension for the CPU, which takes minutes. Later starts find it.")
