"""How does a process reuse freed memory, and give back what it does not need?"""

import ctypes
import mmap
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import torch

# mallopt(3) of glibc
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MADV_PAGEOUT = 21  # madvise(2)
_GLIBC_MMAP_MAX, _GLIBC_LARGEST_MMAP_THRESHOLD = 65536, 32 * 2**20


@contextmanager
def reuse_freed_memory() -> Iterator[None]:
    """Lets the C library keep the memory that tensors free, for the tensors of the next layer.

    By default glibc returns blocks above 32 MB to the system at once and gets them again page by page, which takes 15% of
    a head sweep on a CPU. At the end all memory is returned. Without glibc or with CUDA this does nothing.
    """
    if platform.libc_ver()[0] != "glibc" or torch.cuda.is_available():
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        # Setting a threshold ends glibc's automatic adjustment. These are the values that the adjustment reaches.
        libc.mallopt(_MMAP_MAX, _GLIBC_MMAP_MAX)
        libc.mallopt(_MMAP_THRESHOLD, _GLIBC_LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _GLIBC_LARGEST_MMAP_THRESHOLD)
        libc.malloc_trim(0)


def give_back_pages(table: pa.Table) -> None:
    """Tells the system that the memory of a table from a mapped file is not needed soon. Its content stays readable.

    Pages of mapped files count as memory of the process, and stay until others need them: a pass over a pool would seem to need
    as much memory as the pool. Only Linux does this.
    """
    if platform.system() != "Linux":
        return
    libc, page = ctypes.CDLL(None), mmap.PAGESIZE
    for column in table.columns:
        for chunk in column.chunks:
            for buffer in chunk.buffers():
                if buffer is not None and buffer.size >= page:
                    start = buffer.address // page * page
                    size = buffer.address + buffer.size - start
                    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_PAGEOUT)
