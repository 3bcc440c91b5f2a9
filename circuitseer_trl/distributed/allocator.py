"""How is freed memory used again?"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# mallopt(3) of glibc
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4


_GLIBC_MMAP_MAX, _GLIBC_LARGEST_MMAP_THRESHOLD = 65536, 32 * 2**20


@contextmanager
def reuse_freed_memory() -> Iterator[None]:
    """Lets the C library keep what tensors free, for the tensors of the next layer.

    By default glibc gives blocks of over 32 MB back to the system at once, and gets them again page by page: that is 15% of
    a head sweep on a CPU. Afterwards all is given back. Without glibc, and with CUDA, nothing is done.
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
        # What glibc's own adjustment comes to once a large block was freed; setting it has ended the adjustment.
        libc.mallopt(_MMAP_MAX, _GLIBC_MMAP_MAX)
        libc.mallopt(_MMAP_THRESHOLD, _GLIBC_LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _GLIBC_LARGEST_MMAP_THRESHOLD)
        libc.malloc_trim(0)
