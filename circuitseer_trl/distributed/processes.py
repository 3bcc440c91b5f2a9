"""The processes of one launch: what one of them does for all, and what all of them do."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

Result = TypeVar("Result")


def process_state() -> PartialState:
    """The processes of this launch, joined on first use.

    Without CUDA accelerate has to be told so: else it takes every process of a launch for a launch of one, without a word.
    """
    return PartialState() if PartialState._shared_state else PartialState(cpu=not torch.cuda.is_available())


def on_all_ranks(work: Callable[[], Result]) -> Result:
    """Runs `work` on every rank; where it fails on any, all of them raise, so that none waits for the others for ever."""
    result, error = None, None
    try:
        result = work()
    except Exception as failure:
        error = failure
    state = process_state()
    if state.num_processes > 1:
        messages = gather_object([f"{type(error).__name__}: {error}" if error else ""])
        failed = [f"rank {rank}: {message}" for rank, message in enumerate(messages) if message]
        if failed and error is None:
            raise RuntimeError("Another process failed. " + "; ".join(failed))
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def on_main_rank(work: Callable[[], Result]) -> Result:
    """Runs `work` on rank 0 and gives its result to every rank; an error there is raised everywhere."""
    state = process_state()
    holder: list[Any] = [on_all_ranks(lambda: work() if state.is_main_process else None)]
    if state.num_processes > 1:
        broadcast_object_list(holder)
    return holder[0]


def say(text: str) -> None:
    """Prints on rank 0."""
    if process_state().is_main_process:
        print(text, flush=True)
