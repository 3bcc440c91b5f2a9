"""How does a command read its arguments and end? A user's mistake is one line; a bug keeps its traceback."""

import argparse
import difflib
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from circuitseer_trl.children import Stopped, die_with_launcher
from circuitseer_trl.terminal import VisibleStream, visible_streams

DEBUG_VARIABLE = "CIRCUITSEER_DEBUG"  # inherited by the steps that a command starts
BUG, MISTAKE, STOPPED = 1, 2, 130
PATIENCE_SECONDS = 10.0
# A ValueError from one of these packages is about the user's input. From another package, such as torch, it is a bug.
_CHECKING = {"accelerate", "circuitseer_trl", "datasets", "huggingface_hub", "transformers", "trl"}


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Formats the help with one spelling for each flag, and with its default if there is one."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = (
            "" if action.nargs == 0 else " " + self._format_args(action, self._get_default_metavar_for_optional(action))
        )
        return action.option_strings[0] + value

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return getattr(action.type, "__name__", "value").upper().removesuffix("_TO_BOOL").replace("STRING", "BOOL")

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        if (
            action.default in (None, argparse.SUPPRESS, "", [], False)
            or not action.option_strings
            or "%(default)" in text
        ):
            return text
        shown = " ".join(map(str, action.default)) if isinstance(action.default, list) else "%(default)s"
        return f"{text} Default: {shown}"


class CommandParser(argparse.ArgumentParser):
    """A parser without abbreviated flags. Its errors are exceptions with a hint."""

    def __init__(self, *arguments: Any, **kwargs: Any) -> None:
        ours: dict[str, Any] = {"formatter_class": _Formatter, "allow_abbrev": False}
        super().__init__(*arguments, **(ours | kwargs | {"epilog": "--debug shows the traceback of an error."}))

    def error(self, message: str) -> NoReturn:
        raise ValueError(re.sub(r"(--\w+)/--[\w-]+", r"\1", message))  # one spelling of a flag

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        self.check_flags(words)
        options, remaining = self.parse_known_args(words, namespace)
        self.check_remaining(remaining)
        return options

    def check_flags(self, words: Sequence[str]) -> None:
        """Raises if a flag is unknown. argparse itself would first report the required flags that are missing."""
        flags = [word.split("=")[0] for word in words if word.startswith("--")]
        if unknown := [flag for flag in flags if flag not in self._option_string_actions]:
            raise ValueError("\n".join(self.hint(flag[2:], "the command line") for flag in unknown))

    def check_remaining(self, words: Sequence[str]) -> None:
        if words:
            raise ValueError(f"The command line has words that belong to no flag: {' '.join(words)}.")

    def hint(self, key: str, where: str) -> str:
        close = difflib.get_close_matches(key, [action.dest for action in self._actions], n=1)
        advice = f"Did you mean `{close[0]}`?" if close else "See `--help` for the keys of this step."
        return f"Unknown key `{key}` in {where}. {advice}"


def _without_debug(words: Sequence[str]) -> tuple[list[str], bool]:
    """Removes our `--debug` and returns whether it was there. `--debug` with a value is a training key of transformers."""
    kept = [
        word
        for word, after in zip(words, [*words[1:], ""], strict=False)
        if word != "--debug" or after in ("underflow_overflow", "tpu_metrics_debug")
    ]
    return kept, len(kept) < len(words)


class FailedElsewhereError(RuntimeError):
    """Another process of this launch has failed.

    Attributes:
        mistake: Whether by a user's mistake, which has no traceback.
    """

    def __init__(self, message: str, mistake: bool) -> None:
        super().__init__(message)
        self.mistake = mistake


class PartDone(Exception):  # noqa: N818  # it is no error
    """The command has done its part of the work, and other commands do the rest. Its text says what is left."""


def is_mistake(error: Exception) -> bool:
    """Whether an error is about what the user gave, so that one line says all."""
    if isinstance(error, FailedElsewhereError):
        return True  # the traceback, if there is one, is printed where it failed
    if isinstance(error, ImportError):
        return error.name is None  # raised by our own check: the import system sets `name`
    return isinstance(error, OSError) or (isinstance(error, ValueError) and _raised_by(error) in _CHECKING)


def _raised_by(error: Exception) -> str:
    """Returns the package whose code raised an error."""
    file = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    if file.is_relative_to(Path(__file__).parent):
        return "circuitseer_trl"
    return re.split(r"(?:site|dist)-packages/", str(file))[-1].partition("/")[0]


def _leave_launch() -> None:
    """Ends the process group of a launch on CPUs after a command that ends well, or with a mistake.

    Otherwise gloo aborts some exits ("terminate called without an active exception"), and the launcher then kills the ranks
    that still work. NCCL does not abort, and its end is collective: rank 0 may have to grade for minutes before it.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    if distributed.get_backend() == "gloo":
        distributed.destroy_process_group()


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _tell(error: Exception) -> int:
    """Prints a mistake in one line, once for all ranks of a launch, and returns the exit status.

    Rank 0 prints it. The launcher ends all ranks when one of them ends, so the others wait for that. Their own mistake is
    printed if rank 0 has not made it.
    """
    elsewhere = error if isinstance(error, FailedElsewhereError) else None
    bug = elsewhere is not None and not elsewhere.mistake  # the other rank prints its traceback
    rank = _rank()
    if rank > 0 or bug:
        time.sleep(PATIENCE_SECONDS)
    if rank == 0 or elsewhere is None:
        where = f"rank {rank}: " if rank > 0 else ""
        if isinstance(sys.stderr, VisibleStream):
            sys.stderr.end_line()
        print(f"error: {where}{' '.join(str(error).split())}", file=sys.stderr, flush=True)
    _leave_launch()
    return BUG if bug else MISTAKE


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    with visible_streams():
        sys.__excepthook__(kind, error, trace)


def run_command(main: Callable[[list[str]], int | None], arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 2 after a user's mistake, reported in one line; 130 after Ctrl-C."""
    words, debug = _without_debug(sys.argv[1:] if arguments is None else arguments)
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"
    die_with_launcher()
    with visible_streams():
        try:
            status = main(words) or 0
            _leave_launch()
            return status
        except KeyboardInterrupt as stop:
            if _rank() == 0 and not (isinstance(stop, Stopped) and stop.reported):
                with suppress(OSError):  # the terminal may be gone
                    print("\nStopped. Run the same command again to continue.", file=sys.stderr, flush=True)
            return stop.status if isinstance(stop, Stopped) else STOPPED
        except PartDone as end:
            if _rank() == 0:
                print(end, flush=True)
            _leave_launch()
            return 0
        except Exception as error:
            if DEBUG_VARIABLE in os.environ or not is_mistake(error):
                sys.excepthook = _print_traceback
                raise
            return _tell(error)
