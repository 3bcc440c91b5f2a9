"""Which rows does a JSONL, JSON or CSV file have? An error names the file and the line."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

MAX_NESTING = 32  # levels of lists and objects in a row
_MAX_FIELD = 1 << 28  # characters of a CSV field; the csv module's own limit is shorter than some solutions
_CHUNK = 1 << 20  # characters
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row of a file: its values, the line where it starts, and its length in characters."""

    line: int
    values: dict[str, Any]
    length: int


@contextmanager
def _opened(path: Path, name: str, newline: str) -> Iterator[TextIO]:
    """Opens a UTF-8 file, with or without a byte order mark."""
    try:
        with open(path, encoding="utf-8-sig", newline=newline) as file:
            yield file
    except UnicodeDecodeError:
        with open(path, "rb") as raw:
            for number, line in enumerate(raw, start=1):
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    raise ValueError(f"Line {number} of {name} is not UTF-8 text: {error.reason}.") from None
        raise


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is there twice")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _check_row(values: Any) -> None:
    """Raises if a JSON value is not a row: an object of limited depth."""
    if not isinstance(values, dict):
        raise ValueError(f"it must be an object, but is {json.dumps(values)[:80]}")
    level: list[dict[str, Any] | list[Any]] = [values]
    for _ in range(MAX_NESTING):
        children = [child for each in level for child in (each.values() if isinstance(each, dict) else each)]
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return
    raise ValueError(f"its lists and objects are more than {MAX_NESTING} levels deep")


def _json_line(text: str) -> dict[str, Any]:
    values, end = _DECODER.raw_decode(text, _SPACE.match(text).end())  # type: ignore[union-attr]
    if text[end:].strip():
        raise json.JSONDecodeError("Extra data", text, end)
    _check_row(values)
    return values


def _bad_json(line: int, name: str, error: Exception) -> ValueError:
    reason = f"{error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else reason
    return ValueError(f"Line {line} of {name} is not a row in JSON: {reason}.")


def _json_lines(path: Path, name: str) -> Iterator[FileRow]:
    with _opened(path, name, "\n") as file:
        for number, line in enumerate(file, start=1):
            if line.isspace():
                continue
            try:
                values = _json_line(line.rstrip("\r\n"))
            except (ValueError, RecursionError) as error:
                raise _bad_json(number, name, error) from None
            yield FileRow(number, values, len(line))


class _ArrayText:
    """The text of a JSON file that is read in parts, with a position in it. `line` is that of the position."""

    def __init__(self, file: TextIO):
        self.file, self.text, self.position, self.line = file, "", 0, 1

    def more(self) -> bool:
        """Reads on, at least as much again as there is, so that a long value is not tried too often."""
        rest = self.text[self.position :]
        added = self.file.read(max(_CHUNK, len(rest)))
        self.text, self.position = rest + added, 0
        return bool(added)

    def advance(self, end: int) -> None:
        self.line += self.text.count("\n", self.position, end)
        self.position = end

    def next_sign(self) -> str:
        """The next character that is no space; an empty text at the end."""
        while True:
            self.advance(_SPACE.match(self.text, self.position).end())  # type: ignore[union-attr]
            if self.position < len(self.text) or not self.more():
                return self.text[self.position : self.position + 1]

    def value(self) -> tuple[Any, int]:
        """The JSON value at the position, and its end."""
        while True:
            try:
                return _DECODER.raw_decode(self.text, self.position)
            except ValueError:
                if not self.more():
                    raise


def _array_rows(path: Path, name: str) -> Iterator[FileRow]:
    """The objects of an array, without the whole file in memory."""
    with _opened(path, name, "\n") as file:
        text = _ArrayText(file)
        text.next_sign()
        text.advance(text.position + 1)  # the bracket
        sign = ","
        if text.next_sign() == "]":
            sign = "]"
            text.advance(text.position + 1)
        while sign == ",":
            text.next_sign()
            try:
                values, end = text.value()
                _check_row(values)
            except (ValueError, RecursionError) as error:
                raise _bad_json(text.line, name, error) from None
            row = FileRow(text.line, values, end - text.position)
            text.advance(end)
            yield row
            sign = text.next_sign()
            text.advance(text.position + 1)
        if sign != "]" or text.next_sign():
            raise ValueError(
                f"Line {text.line} of {name}: the array has no comma or bracket here, or text after its end."
            )


def json_rows(path: Path, name: str) -> Iterator[FileRow]:
    """The rows of JSON lines, or of one array of objects."""
    with _opened(path, name, "\n") as file:
        sign = _ArrayText(file).next_sign()
    yield from (_array_rows if sign == "[" else _json_lines)(path, name)


def _header(fields: Sequence[str], name: str) -> list[str]:
    names = [field or f"Unnamed: {place}" for place, field in enumerate(fields)]  # as pandas names them
    if twice := [each for each, count in Counter(names).items() if count > 1]:
        raise ValueError(f"The header of {name} has the column {twice[0]!r} twice. Rename one of the two.")
    return names


def csv_rows(path: Path, name: str) -> Iterator[FileRow]:
    """The rows of a CSV file with a header. All values are text; an empty field is None."""
    csv.field_size_limit(_MAX_FIELD)
    with _opened(path, name, "") as file:
        reader = csv.reader(file, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise ValueError(f"Line {line} of {name} is not CSV: {error}.") from None
            if fields is None:
                return
            if len(fields) == 0 or (len(fields) == 1 and not fields[0].strip()):
                continue
            if header is None:
                header = _header(fields, name)
                continue
            if len(fields) != len(header):
                raise ValueError(
                    f"Line {line} of {name} has {len(fields)} fields, but the header has {len(header)}. A field with a comma, a "
                    "quote or a line end must be in double quotes."
                )
            values = {column: field or None for column, field in zip(header, fields, strict=True)}
            yield FileRow(line, values, sum(map(len, fields)))


READERS: dict[str, Callable[[Path, str], Iterator[FileRow]]] = {
    ".jsonl": json_rows,
    ".json": json_rows,
    ".csv": csv_rows,
}
