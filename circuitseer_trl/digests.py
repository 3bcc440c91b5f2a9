"""Is the content of a file or a folder the same as before? Sixteen hexadecimal digits say it."""

import hashlib
from pathlib import Path

from circuitseer_trl.locks import is_lock

FINISHED_FILE = "finished.json"
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
            with open(file, "rb") as content:
                while chunk := content.read(1 << 24):
                    digest.update(chunk)
    return digest.hexdigest()


def _counts(file: Path) -> bool:
    if file.name in NO_CONTENT or is_lock(file) or file.name.startswith("."):
        return False
    return not any(part == "__pycache__" or part.startswith("checkpoint-") for part in file.parent.parts)
