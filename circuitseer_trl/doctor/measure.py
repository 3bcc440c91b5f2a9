"""How long does a piece of work take, and how fast is this machine? And the inputs that all methods share."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.modeling.encoding import EncodedExample


def clock(on_cuda: bool) -> float:
    if on_cuda:
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def measure(work: Callable[[], Any], repeats: int, on_cuda: bool) -> tuple[Any, float, float]:
    """Runs a piece of work, and returns its result, its fewest seconds and its fewest wall seconds."""
    result, seconds, wall = None, float("inf"), float("inf")
    for _ in range(repeats):
        began, began_wall = clock(on_cuda), time.perf_counter()
        result = work()
        seconds = min(seconds, clock(on_cuda) - began)
        wall = min(wall, time.perf_counter() - began_wall)
    return result, seconds, wall


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product, an upper bound for every method."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    _, seconds, _ = measure(lambda: left @ right, 5, device.type == "cuda")
    return 2 * size**3 / seconds


def operations(work: Callable[[], Any]) -> int:
    """Operations of matrix products and attention, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def random_ids(model: PreTrainedModel, length: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, model.config.vocab_size, (length,), generator=generator).tolist()


def example_of(model: PreTrainedModel, length: int) -> EncodedExample:
    return EncodedExample("bench", tuple(random_ids(model, length, length)), length // 4, False)


def spread(items: list[Head], count: int) -> list[Head]:
    """Takes `count` of the items, evenly spread."""
    return [items[index] for index in np.unique(np.linspace(0, len(items) - 1, count).astype(int))]
