"""Is the content of a file or a folder the same as before? Sixteen hexadecimal digits say it."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from circuitseer_trl.artifacts import read_json, write_json
from circuitseer_trl.locks import is_lock

FINISHED_FILE = "finished.json"
LARGE_FILE = 1 << 26  # bytes; a smaller file is read in less than a tenth of a second
MAX_REMEMBERED = 10_000
# Records of steps, and a model's card, which may be edited. A training marks its selection.
NO_CONTENT = (FINISHED_FILE, "README.md", "trained_on.json")


def content_digest(path: Path) -> str:
    """Sixteen hexadecimal digits of a file's content, or of the names and contents of the files of a folder.

    Checkpoints in the folder of a model do not count: the model does not depend on them.
    """
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        inside = file.relative_to(path)
        if file.is_file() and (path == file or _counts(inside)):
            digest.update(inside.as_posix().encode() + b"\0")
            digest.update(_file_digest(file).encode())
    return digest.hexdigest()


def _file_digest(file: Path) -> str:
    """The digest of a file's content. That of a large file is remembered while nothing has been written to the file."""
    found = file.stat()
    # ctime changes with every write and cannot be set; inode and device keep files apart.
    key = f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"
    if found.st_size < LARGE_FILE:
        return _read_digest(file)
    remembered = _remembered()
    if key not in remembered:
        remembered[key] = _read_digest(file)
        with suppress(OSError):  # a home that cannot be written to
            write_json(memory_path(), dict(list(remembered.items())[-MAX_REMEMBERED:]))
    return remembered[key]


def memory_path() -> Path:
    """Where the digests of large files are remembered. The file can be deleted at any time."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "circuitseer_trl" / "digests.json"


def _remembered() -> dict[str, str]:
    try:
        found = read_json(memory_path())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_digest(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    with open(file, "rb") as content:
        while chunk := content.read(1 << 24):
            digest.update(chunk)
    return digest.hexdigest()


def _counts(file: Path) -> bool:
    if file.name in NO_CONTENT or is_lock(file) or file.name.startswith("."):
        return False
    return not any(part == "__pycache__" or part.startswith("checkpoint-") for part in file.parent.parts)
