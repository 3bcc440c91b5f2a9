"""What is in a folder of shards? Its files, the manifest beside it, and whether they belong together.

A shard is one Parquet file, written whole. It says which shard of which folder and inputs it is. The manifest records the inputs,
so that changed inputs are refused and never mixed.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitseer_trl.artifacts import check_format, fingerprint, format_record, read_json, read_table, write_json

logger = logging.getLogger(__name__)


def manifest_path(folder: Path) -> Path:
    return folder.with_name(folder.name + ".manifest.json")


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Reads `made_from` and its fingerprint; None if the file is missing or broken."""
    try:
        found = read_json(path)
        return found if found["fingerprint"] == fingerprint(found["made_from"]) else None
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def check_manifest(path: Path, made_from: dict[str, Any]) -> None:
    """Writes the inputs of a folder, or compares them with the recorded ones. A broken record is written again.

    Raises:
        ValueError: The folder was made from other inputs; the message names each one. Or another version wrote it.
    """
    expected = {"fingerprint": fingerprint(made_from), "made_from": made_from}
    found = read_manifest(path)
    if found is None:
        if path.exists():
            logger.warning("%s is broken. It is written again.", path)
        write_json(path, expected | format_record())
        return
    check_format(path, found)
    if found["fingerprint"] != expected["fingerprint"]:
        before = found["made_from"]
        changed = [
            f"{key}: {before.get(key)!r} then, {made_from.get(key)!r} now"
            for key in sorted({*before, *made_from})
            if before.get(key) != made_from.get(key)
        ]
        raise ValueError(
            f"{path.parent} holds results of other inputs (fingerprint {found['fingerprint']} there, "
            f"{expected['fingerprint']} now). Changed: {'; '.join(changed)}. Choose another `output_dir`, or delete that one."
        )


@dataclass(frozen=True)
class ShardFolder:
    """A folder of shards.

    Attributes:
        folder: The folder.
        num_shards: The number of shards.
        made_from: The fingerprint of the inputs; None for a folder of version 0.1.0, whose shards do not say theirs.
        uids: Gives the column `uid` of a shard; None if it is not known.
        columns: The columns of a shard; None if they are not known.
    """

    folder: Path
    num_shards: int
    made_from: str | None
    uids: Callable[[int], Sequence[str]] | None = None
    columns: pa.Schema | None = None

    def path(self, shard: int) -> Path:
        return self.folder / (f"part-{shard:05d}.parquet" if self.made_from is None else f"part-{shard:09d}.parquet")

    def title(self, shard: int) -> str | None:
        """What a shard says that it is."""
        return None if self.made_from is None else f"shard {shard} of {self.folder.name} {self.made_from}"

    def read(self, shard: int) -> pa.Table:
        """Reads a shard.

        Raises:
            FileNotFoundError: It is missing.
            ValueError: It is broken, of another folder, or has other rows or columns than it must have.
        """
        path = self.path(shard)
        table = read_table(path, self.title(shard))
        if self.columns is not None and not table.schema.equals(self.columns):
            raise ValueError(
                f"{path} has the columns {', '.join(table.column_names)}, which are not those of this step."
            )
        if self.uids is not None and table["uid"].to_pylist() != list(self.uids(shard)):
            raise ValueError(f"{path} has other rows than those of the pool that belong there.")
        return table

    def has(self, shard: int) -> bool:
        """Whether a shard is there and can be used."""
        try:
            self.read(shard)
        except (FileNotFoundError, ValueError):
            return False
        return True

    def tables(self) -> Iterator[pa.Table]:
        """The tables of all shards, one at a time, in the order of their numbers."""
        return (self.read(shard) for shard in range(self.num_shards))

    def read_all(self) -> pa.Table:
        """The rows of all shards as one table."""
        return pa.concat_tables(self.tables())

    def to_compute(self) -> list[int]:
        """Numbers of the shards that are missing or cannot be used. One warning names the latter and other files."""
        todo, wrong = [], []
        for shard in range(self.num_shards):
            try:
                self.read(shard)
            except FileNotFoundError:
                todo.append(shard)
            except ValueError as error:
                todo.append(shard)
                wrong.append(str(error))
        if wrong:
            logger.warning("%d shards of %s are made again: %s", len(wrong), self.folder, " ".join(wrong[:3]))
        own = {self.path(shard).name for shard in range(self.num_shards)}
        if strays := sorted(path.name for path in self.folder.glob("[!.]*") if path.name not in own):
            logger.warning(
                "%s has files that are not its shards and are not read: %s.", self.folder, ", ".join(strays[:3])
            )
        return todo


def read_shards(folder: str | Path, step: str) -> pa.Table:
    """Reads a complete folder of shards, and computes nothing.

    Args:
        step: The command that writes the folder, for messages.

    Raises:
        FileNotFoundError: The manifest or a shard is missing.
        ValueError: The manifest or a shard is broken, or a shard belongs elsewhere.
    """
    folder = Path(folder)
    path, advice = manifest_path(folder), f"`circuitseer {step}` writes it; run that again with the same settings."
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. {advice}")
    manifest = read_manifest(path)
    if manifest is None:
        raise ValueError(f"{path} is broken. {advice}")
    made_from = manifest["fingerprint"] if "format" in manifest else None
    try:
        return ShardFolder(folder, manifest["made_from"]["num_shards"], made_from).read_all()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no {error.filename}. {advice}") from error
    except (ValueError, KeyError) as error:
        raise ValueError(f"{error} {advice}") from error
