"""What can happen to a file: it is cut, changed, emptied, deleted, or replaced by that of another run."""

from collections.abc import Callable
from pathlib import Path


def flip(path: Path) -> None:
    """Changes one bit in the middle; in a text, of a letter or digit, so that it stays a text."""
    content = bytearray(path.read_bytes())
    places = range(len(content) // 2, len(content))
    text = path.suffix in (".json", ".jsonl")
    place = next(place for place in places if not text or chr(content[place]).isalnum())
    content[place] ^= 1
    path.write_bytes(content)


# To be called with the file, and that of another run.
DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "cut": lambda path, other: path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3]),
    "flipped": lambda path, other: flip(path),
    "emptied": lambda path, other: path.write_bytes(b""),
    "deleted": lambda path, other: path.unlink(),
    "swapped": lambda path, other: path.write_bytes(other.read_bytes()),
}
