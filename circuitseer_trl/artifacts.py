"""How are results written and read? Atomically, with a fingerprint of their inputs, and with a digest that a reader checks."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

# Raised when the same inputs may give other results, or other files, than before. Folders of version 0.1.0 have no format.
FORMAT = 2
# In the metadata of each Parquet file of format 2: a digest of the file, and what the table is.
TABLE_KEY, TABLE_MARK, NO_DIGEST = b"circuitseer", b"circuitseer-table:", b"0" * 16
LIBRARIES = ("circuitseer-trl", "torch", "transformers", "trl", "accelerate", "deepspeed", "datasets")


logger = logging.getLogger(__name__)


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


def sealed(card: dict[str, Any]) -> dict[str, Any]:
    """Adds format, version and fingerprint, over everything but the seconds. `read_card` compares it with the content."""
    card = card | format_record()
    return card | {"fingerprint": _fingerprint_of(card)}


def _fingerprint_of(card: dict[str, Any]) -> str:
    return fingerprint({key: value for key, value in card.items() if key not in ("fingerprint", "seconds")})


def read_card(path: str | Path, step: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Reads a JSON object that a step wrote.

    Args:
        step: The command that writes the file, for messages.
        keys: Keys that the file must have.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, has not all keys, or was changed after it was written.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. `circuitseer {step}` writes it.")
    advice = f"Delete it and run `circuitseer {step}` again, which writes it anew."
    try:
        card = read_json(path)
    except ValueError as error:
        raise ValueError(f"{error} {advice}") from error
    if not isinstance(card, dict):
        raise ValueError(f"{path} is not what `circuitseer {step}` writes: it is no JSON object. {advice}")
    needed = [*keys, *(["fingerprint"] if "format" in card else [])]  # not in every card of version 0.1.0
    if missing := [key for key in needed if key not in card]:
        raise ValueError(f"{path} is not what `circuitseer {step}` writes: it has no key {missing[0]!r}. {advice}")
    if "fingerprint" in card and card["fingerprint"] != _fingerprint_of(card):
        raise ValueError(
            f"{path} was changed after it was written: its content does not have its fingerprint, {card['fingerprint']}. "
            f"{advice}"
        )
    return card


def write_card(path: str | Path, card: dict[str, Any]) -> None:
    """Writes a card. A card that differs only in `seconds` is not overwritten, so it keeps the seconds of the first run."""
    path = Path(path)
    if path.is_file():
        try:
            before = read_json(path)
        except ValueError as error:
            logger.warning("%s It is written again.", error)
        else:
            after = json.loads(json.dumps(card)) | {"seconds": None}
            if isinstance(before, dict) and before | {"seconds": None} == after:
                return
    write_json(path, card)


def write_table(path: str | Path, table: "pa.Table", of: str | None = None) -> None:
    """Writes `table` as one Parquet file with a digest of itself; the same table gives the same bytes.

    Args:
        of: What the table is, such as a shard of a folder with certain inputs. A reader can ask for it.
    """
    import pyarrow as pa  # takes a quarter of a second, which commands without a table save
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({TABLE_KEY: TABLE_MARK + NO_DIGEST + b":" + (of or "").encode()})
    content = sink.getvalue().to_pybytes()
    with atomic_path(path) as temporary:
        temporary.write_bytes(_with_digest(content, _digest(content)))


def _with_digest(content: bytes, digest: bytes) -> bytes:
    place = content.rindex(TABLE_MARK) + len(TABLE_MARK)
    return content[:place] + digest + content[place + len(digest) :]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).hexdigest().encode()


def read_table(path: str | Path, of: str | None = None) -> "pa.Table":
    """Reads a Parquet file, or those of a folder by their numbers, and checks its digest. Files of version 0.1.0 have none.

    `read_shards` also checks that a folder is complete.

    Args:
        of: What the table must be, as in `write_table`; None accepts any table.

    Raises:
        ValueError: The file is broken, or is another table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.parquet"), key=lambda file: (len(file.name), file.name))
        return pa.concat_tables([read_table(file, of) for file in files])
    content = path.read_bytes()
    place = content.rfind(TABLE_MARK) + len(TABLE_MARK)
    digest = content[place : place + len(NO_DIGEST)]
    if TABLE_MARK in content and (len(digest) < len(NO_DIGEST) or _digest(_with_digest(content, NO_DIGEST)) != digest):
        raise ValueError(f"{path} is broken: its content does not have its digest.")
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        table, metadata = file.read().replace_schema_metadata(None), file.metadata.metadata or {}
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path} is not a Parquet file that can be read: {error}.") from error
    found = metadata.get(TABLE_KEY, b"").removeprefix(TABLE_MARK)[len(NO_DIGEST) + 1 :].decode()
    if of is not None and found != of:
        raise ValueError(
            f"{path} is another table ({found or 'it does not say which'}) than the one that belongs there ({of})."
        )
    return table


def table_fingerprint(table: "pa.Table") -> str:
    """A fingerprint of a table's columns and values, for the card beside it."""
    return fingerprint(table.to_pydict())


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
    if not isinstance(record, dict):
        raise ValueError(f"{path} is no JSON object. Delete it, or choose another `output_dir`.")
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
