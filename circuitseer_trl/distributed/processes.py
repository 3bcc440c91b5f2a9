"""The processes of one launch: which work runs on rank 0, and which on all ranks."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from circuitseer_trl.command_line import FailedElsewhereError, is_mistake

Result = TypeVar("Result")


def process_state() -> PartialState:
    """The processes of this launch; the first call joins them.

    Without CUDA accelerate needs `cpu=True`. Otherwise each process silently becomes a launch of its own.
    """
    return PartialState() if PartialState._shared_state else PartialState(cpu=not torch.cuda.is_available())


def on_all_ranks(work: Callable[[], Result]) -> Result:
    """Runs `work` on every rank. If it fails on one of them, all of them raise, so that none waits without end."""
    result, error = None, None
    try:
        result = work()
    except Exception as failure:
        error = failure
    state = process_state()
    if state.num_processes > 1:
        said = None if error is None else (f"{type(error).__name__}: {error}", is_mistake(error))
        failed = [(rank, *each) for rank, each in enumerate(gather_object([said])) if each]
        if failed and error is None:
            messages = "; ".join(f"rank {rank}: {message}" for rank, message, _ in failed)
            raise FailedElsewhereError(f"Another process failed. {messages}", all(mistake for *_, mistake in failed))
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def on_main_rank(work: Callable[[], Result]) -> Result:
    """Runs `work` on rank 0 and gives its result to every rank; an error there is raised on all of them."""
    state = process_state()
    holder: list[Any] = [on_all_ranks(lambda: work() if state.is_main_process else None)]
    if state.num_processes > 1:
        broadcast_object_list(holder)
    return holder[0]


def say(text: str) -> None:
    """Prints on rank 0."""
    if process_state().is_main_process:
        print(text, flush=True)
