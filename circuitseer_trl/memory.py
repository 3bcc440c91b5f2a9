"""How much memory do forwards take, and how is it used again?"""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PretrainedConfig

# mallopt(3) of glibc
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_GLIBC_MMAP_MAX, _GLIBC_LARGEST_MMAP_THRESHOLD = 65536, 32 * 2**20

# Rows x tokens of a head sweep on a CPU: more would not be faster, since every layer's weights are read often enough.
CPU_SWEEP_TOKENS = 2**13
LARGEST_SWEEP_TOKENS = 2**20
# A sweep's rows grow from layer to layer, so that what is kept is of many sizes: so many times what is held at once (measured).
KEPT_BY_A_CPU_SWEEP = 4


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


def activation_bytes(config: PretrainedConfig, dtype: torch.dtype) -> int:
    """About the most memory that a token takes in a forward without gradients.

    Six vectors of the hidden size (the residual, its norm, query, key, value, attention output) and three of the MLP's inner
    size (gate, up, their product); of all experts that read a token, in a mixture of experts.
    """
    values = config.get_text_config().to_dict()
    hidden = values.get("hidden_size") or values["n_embd"]
    inner = (
        values.get("moe_intermediate_size") or values.get("intermediate_size") or values.get("n_inner") or 4 * hidden
    )
    return dtype.itemsize * (6 * hidden + 3 * inner * (values.get("num_experts_per_tok") or 1))


def free_bytes(device: torch.device) -> int:
    """Free memory of a CUDA device; of the main memory, half of all there is, since processes share it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def sweep_tokens(config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> int:
    """Rows x tokens of a head sweep that half of the free memory holds, a power of two, so that like machines agree."""
    fitting = free_bytes(device) // 2 // activation_bytes(config, dtype)
    largest = LARGEST_SWEEP_TOKENS if device.type == "cuda" else CPU_SWEEP_TOKENS
    return min(largest, 2 ** max(fitting, 1).bit_length() // 2)
