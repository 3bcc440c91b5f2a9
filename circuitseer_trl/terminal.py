"""How is text shown in a terminal? Text of problems, files and servers must not control it, and keys are not shown."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from circuitseer_trl.redaction import redact

# Control characters (C0, DEL, C1), what reverses the order of text, and lone surrogates, which have no UTF-8 form.
_HIDDEN = re.compile(r"(?!\r\n)[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What tqdm writes in calls of their own: a return before a bar, and the way to the line of a bar.
_RETURN, _MOVES = "\r", re.compile(r"[\n\r]*(?:\x1b\[A)*")
# The start of a line of W&B, which is the one library that colours its lines.
_WANDB, _COLOURS = "\x1b[34m\x1b[1mwandb\x1b[0m", re.compile(r"\x1b\[[\d;]*m")


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def visible(text: str) -> str:
    """The text with every control character but tabs and line ends as an escape, such as `\\x1b`."""
    return _HIDDEN.sub(_escape, text)


class VisibleStream:
    """A stream that writes nothing but visible text without keys, and the moves of progress bars."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._in_line = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if not _MOVES.fullmatch(text):
            if text.startswith(_WANDB):
                text = _COLOURS.sub("", text)
            kept = _RETURN if text.startswith(_RETURN) else ""
            text = kept + visible(redact(text.removeprefix(kept)))
        if text:
            self._in_line = not text.endswith("\n")
        return self._stream.write(text)

    def end_line(self) -> None:
        """Starts a new line where one has begun, such as that of a progress bar."""
        if self._in_line:
            self.write("\n")

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)


@contextmanager
def visible_streams() -> Iterator[None]:
    """Guards what is printed, logged or warned in the block, also by libraries.

    The streams are guarded and not each print: texts reach a terminal in many ways, such as by a library's warning.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, stream and VisibleStream(stream)) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
