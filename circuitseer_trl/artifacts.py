"""How are results written? Atomically, and with a fingerprint of their inputs."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

# Raised when the same inputs may give other results, or other files, than before. Folders of version 0.1.0 have no format.
FORMAT = 2
LIBRARIES = ("circuitseer-trl", "torch", "transformers", "trl", "accelerate", "deepspeed", "datasets")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and renames it when the `with` block succeeds. A kill leaves no partial file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, payload: Any) -> None:
    """Writes `payload` as indented JSON. NaN raises an error: it is not JSON, and no result may be NaN unnoticed."""
    write_text(path, json.dumps(payload, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # also where it is no text
        raise ValueError(f"{path} is not JSON that can be read: {error}.") from error


def write_card(path: str | Path, card: dict[str, Any]) -> None:
    """Writes a card. A card that differs only in `seconds` is not overwritten, so it keeps the seconds of the first run."""
    path = Path(path)
    if path.is_file():
        before = read_json(path)
        if before | {"seconds": None} == json.loads(json.dumps(card)) | {"seconds": None}:
            return
    write_json(path, card)


def write_table(path: str | Path, table: "pa.Table") -> None:
    """Writes `table` as one Parquet file; the same table gives the same bytes."""
    import pyarrow.parquet as pq  # takes a quarter of a second, which commands without a table save

    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: str | Path) -> "pa.Table":
    """Reads one Parquet file, or all Parquet files of a folder in the order of their names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    return pa.concat_tables([pq.read_table(file, partitioning=None) for file in files])


def fingerprint(payload: Any) -> str:
    """Returns sixteen hexadecimal digits that depend on every value in `payload` (anything that JSON can hold)."""
    canonical = json.dumps(payload, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def check_format(path: str | Path, record: dict[str, Any]) -> None:
    """Refuses to add to what a version with another format wrote.

    Args:
        path: The file with the record, for the message.
        record: Has `format`, and `version` of the package, since format 2.
    """
    if record.get("format") != FORMAT:
        raise ValueError(
            f"{path} was written by circuitseer_trl {record.get('version', '0.1.0')}, and results of this version, "
            f"{metadata.version('circuitseer-trl')}, may differ. The old ones can be reported, compared and trained from, but "
            "nothing is added to them. Choose another `output_dir`."
        )


def format_record() -> dict[str, Any]:
    """The format and the version of the package, for a record that `check_format` reads."""
    return {"format": FORMAT, "version": metadata.version("circuitseer-trl")}


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a result depends on."""
    versions = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
