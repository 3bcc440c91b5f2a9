"""What did a command make of a bad input? It is run in this process, as `circuitseer` runs it, and watched."""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import IO, Any, Literal

from circuitseer_trl.scripts.main import main

# The first four are what a bad input may get. Of the others there must be none.
Outcome = Literal["clear", "counted", "made again", "not read", "silent", "after work", "unclear", "traceback"]
GOOD: tuple[Outcome, ...] = ("clear", "counted", "made again", "not read")
PRODUCTS = ("heads.json", "scores.json", "selection.parquet", "training.json", "results.json")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Exit status; None after a traceback, also of a process that the command started.
        errors: Lines that start with `error: `, or the traceback's exception.
        work: Number of forward passes of a model.
    """

    status: int | None
    output: str
    errors: list[str]
    log: str
    work: int


@contextmanager
def counted_work() -> Iterator[list[str]]:
    """Lists the forward passes of models in the block."""
    import torch
    from transformers import PreTrainedModel

    passes: list[str] = []

    def note(module: torch.nn.Module, inputs: Any) -> None:
        if isinstance(module, PreTrainedModel):
            passes.append(type(module).__name__)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield passes
    finally:
        handle.remove()


@contextmanager
def _captured() -> Iterator[tuple[IO[str], IO[str]]]:
    """Files with what is printed in the block, also by processes that it starts."""
    with ExitStack() as stack:
        output, log = (stack.enter_context(tempfile.TemporaryFile("w+", errors="replace")) for _ in range(2))
        before = os.dup(1), os.dup(2)
        sys.stdout.flush()
        os.dup2(output.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            with redirect_stdout(output), redirect_stderr(log):
                yield output, log
        finally:
            for number, copy in enumerate(before, start=1):
                os.dup2(copy, number)
                os.close(copy)


def _content(file: IO[str]) -> str:
    file.flush()
    file.seek(0)
    return file.read()


def run(words: Sequence[object]) -> Ended:
    """Runs a command of `circuitseer`."""
    raised = None
    with counted_work() as passes, _captured() as (output, log):
        try:
            status: int | None = main([str(word) for word in words])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except Exception as error:
            status, raised = None, f"{type(error).__name__}: {error}"
        printed, logged = _content(output), _content(log)
    if "Traceback (most recent call last)" in logged:
        status = None
    errors = [line for line in logged.splitlines() if line.startswith("error: ")]
    return Ended(status, printed, [raised] if raised else errors, logged, len(passes))


def judge_refusal(ended: Ended, says: str) -> Outcome:
    """The outcome of an input that must be refused with one line that has the text `says`."""
    if ended.status is None:
        return "traceback"
    if ended.status == 0:
        return "silent"
    if ended.work:
        return "after work"
    if ended.status != 2 or len(ended.errors) != 1 or says not in ended.errors[0]:
        return "unclear"
    return "clear"
