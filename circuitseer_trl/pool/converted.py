"""How is a JSONL, JSON or CSV file read as a dataset? It becomes Parquet once, in a cache, under a key of its content.

The caches of `datasets` know a local file by its path and time of change alone. A file with other content and the same time
would be read as the old one. So each content has its own folder, for the Parquet file and for what `datasets` makes of it.
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.digests import content_digest
from circuitseer_trl.pool.file_rows import READERS, FileRow

logger = logging.getLogger(__name__)

# Raised when the readers of files, or of texts in a pool, give something else than before for the same content.
READER_VERSION = 1
GROUP_ROWS = 10_000  # of a row group
GROUP_CHARACTERS = 1 << 26
# Of the Arrow files that `datasets` writes: opening a file touches a piece of memory for each batch.
BATCH_ROWS = 5000
LARGE_BATCHES: dict[str, Any] = {"writer_batch_size": BATCH_ROWS}
MAX_COLUMNS = 1000  # of more the rows have no columns in common
FILE = Path("rows") / "part-00000.parquet"
JSON = pa.json_()  # a column of several types; `datasets` decodes it
Files = Mapping[str, Path]  # by their names in messages, whose endings say how they are read
# What pyarrow raises for values that a column cannot hold.
_REFUSED = (ValueError, OverflowError, pa.ArrowTypeError, pa.ArrowNotImplementedError)


def content_folder(files: Files) -> Path:
    """The cache folder of the content of files. HF_DATASETS_CACHE or HF_HOME moves it, as for `datasets`."""
    contents = [[Path(name).suffix, content_digest(path)] for name, path in files.items()]
    key = fingerprint([READER_VERSION, contents])
    return Path(datasets.config.HF_DATASETS_CACHE).expanduser() / "circuitseer_trl" / key


def read_converted(files: Files) -> datasets.Dataset:
    """Reads the rows of JSONL, JSON or CSV files.

    Raises:
        ValueError: A file is broken or changes while it is read, or there are no rows.
    """
    folder = content_folder(files)
    if folder.is_dir() and not _is_whole(folder / FILE):
        logger.warning(f"The converted copy {folder} of {', '.join(files)} is broken. It is deleted and made again.")
        shutil.rmtree(folder)
    if not folder.is_dir():
        _make(files, folder)
    return datasets.load_dataset(
        "parquet", data_files=str(folder / FILE), split="train", cache_dir=str(folder), **LARGE_BATCHES
    )


def _is_whole(file: Path) -> bool:
    try:
        return pq.read_metadata(file).num_rows > 0
    except (OSError, pa.ArrowException):
        return False


def _make(files: Files, folder: Path) -> None:
    """Converts into a temporary folder and renames it. Of several processes that do so at once, the first one counts."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        new = Path(temporary) / "new"
        (new / FILE).parent.mkdir(parents=True)
        convert(files, new / FILE)
        if content_folder(files) != folder:
            raise ValueError(f"{', '.join(files)} changed while it was read. Run the command again.")
        try:
            os.rename(new, folder)
        except OSError:
            if not folder.is_dir():
                raise


def convert(files: Files, target: Path) -> None:
    """Writes the rows of files as one Parquet file, one row group at a time.

    The files are read twice: the first time for the types of their columns. A column with values of several types is stored
    as JSON.
    """
    types: dict[str, pa.DataType] = {}
    for name, rows in _groups(files):
        if len({*types, *(column for row in rows for column in row.values)}) > MAX_COLUMNS:
            raise ValueError(
                f"The rows of {name} have more than {MAX_COLUMNS} keys in all. Give all rows the same keys."
            )
        for column in dict.fromkeys(column for row in rows for column in row.values):
            kind = _column_type([row.values.get(column) for row in rows])
            types[column] = _common(types[column], kind) if column in types else kind
    if not types:
        raise ValueError(f"The pool {', '.join(files)} is empty: it has no rows with values.")
    schema = pa.schema(types)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for name, rows in _groups(files):
            columns = [_column(rows, column, kind, name) for column, kind in types.items()]
            writer.write_table(pa.table(columns, schema=schema))
    with open(target, "rb") as written:
        os.fsync(written.fileno())


def _groups(files: Files) -> Iterator[tuple[str, list[FileRow]]]:
    """The rows of each file, some at a time, with the file's name."""
    for name, path in files.items():
        group: list[FileRow] = []
        length = 0
        for row in READERS[Path(name).suffix](path, name):
            group.append(row)
            length += row.length
            if len(group) == GROUP_ROWS or length >= GROUP_CHARACTERS:
                yield name, group
                group, length = [], 0
        if group:
            yield name, group


def _column_type(values: Sequence[Any]) -> pa.DataType:
    try:
        kind = pa.array(values).type
    except _REFUSED:
        return JSON
    return JSON if "struct<>" in str(kind) else kind  # Parquet has no struct without fields


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if JSON in (one, other):
        return JSON
    schemas = [pa.schema({"column": kind}) for kind in (one, other)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field("column").type
    except pa.ArrowException:
        return JSON


def _column(rows: Sequence[FileRow], column: str, kind: pa.DataType, name: str) -> pa.Array:
    """The values of a column. The error for a value that cannot be stored names its line."""
    try:
        return _array([row.values.get(column) for row in rows], kind)
    except _REFUSED:
        for row in rows:
            try:
                _array([row.values.get(column)], kind)
            except _REFUSED as error:
                reason = (
                    "half of a surrogate pair" if isinstance(error, UnicodeEncodeError) else str(error).rstrip(".!")
                )
                raise ValueError(f"Line {row.line} of {name}: `{column}` cannot be stored: {reason}.") from None
        raise


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind != JSON:
        return pa.array(values, kind)
    texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    for text in texts:
        if text is not None:
            datasets.Json().decode_example(text)  # raises for numbers that its decoder cannot hold
    return pa.ExtensionArray.from_storage(JSON, pa.array(texts, pa.string()))
