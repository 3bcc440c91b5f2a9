"""Where does a dataset come from? A local file or folder, the web, or the Hub."""

import glob
from pathlib import Path

import datasets
import pyarrow as pa

from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.digests import content_digest
from circuitseer_trl.pool.converted import LARGE_BATCHES, content_folder, read_converted
from circuitseer_trl.pool.file_names import check_dataset_file
from circuitseer_trl.pool.file_rows import READERS


def _read_file(path: Path, name: str) -> datasets.Dataset:
    """The rows of a file whose name in messages is `name`; the error for one that is broken names it."""
    kind = Path(name).suffix
    if path.stat().st_size == 0:
        raise ValueError(f"The pool {name} is empty.")
    if kind in READERS:
        return read_converted({name: path})
    cache = str(content_folder({name: path}))
    try:
        # `datasets` reads the path as a pattern.
        return datasets.load_dataset(
            kind[1:], data_files=glob.escape(str(path.resolve())), split="train", cache_dir=cache, **LARGE_BATCHES
        )
    except (datasets.exceptions.DatasetGenerationError, pa.ArrowException) as error:
        raise ValueError(f"{name} is not a {kind[1:]} file that can be read: {error.__cause__ or error}.") from error


def _read_folder(path: Path, config: str | None, split: str) -> datasets.Dataset:
    """The rows of a folder of files. `datasets` says which files belong to the split."""
    if glob.has_magic(str(path.resolve())):
        raise ValueError(
            f"The folder {path.resolve()} has `[`, `*` or `?` in its path, which `datasets` reads as a pattern. Rename "
            "the folder, or give one file in it."
        )
    files = datasets.load_dataset_builder(str(path), config).config.data_files or {}
    if split not in files:
        raise ValueError(
            f"The folder {path} has no files of the split {split!r}; it has {', '.join(map(str, files)) or 'none'}."
        )
    named = {name: Path(name) for name in files[split]}
    if all(file.suffix in READERS for file in named.values()):
        return read_converted(named)
    return datasets.load_dataset(
        str(path), config, split=split, cache_dir=str(content_folder({str(path): path})), **LARGE_BATCHES
    )


def _read_from_disk(path: Path, split: str) -> datasets.Dataset:
    loaded = datasets.load_from_disk(str(path))
    if isinstance(loaded, datasets.DatasetDict):
        if split not in loaded:
            raise ValueError(f"The dataset {path} has no split {split!r}; it has {', '.join(loaded)}.")
        loaded = loaded[split]
    # What is computed from it is cached under this fingerprint. The stored one stays when a file is replaced.
    content = fingerprint([content_digest(Path(file["filename"])) for file in loaded.cache_files])
    return datasets.Dataset(loaded.data, info=loaded.info, split=loaded.split, fingerprint=content)


def read_dataset(
    name: str, config: str | None = None, split: str = "train", revision: str | None = None
) -> datasets.Dataset:
    """Reads a dataset from a local file or folder, from the web, or else from the Hub.

    Raises:
        ValueError: The file is of an unknown kind, empty or broken, or the folder has no such split.
        FileNotFoundError: A name that looks like a file does not exist.
    """
    check_dataset_file(name)
    path = Path(name).expanduser()
    if "://" in name:  # a file on the web, or in a dataset's repository (hf://datasets/OWNER/NAME/FILE)
        return _read_file(Path(datasets.DownloadManager().download(name)), name)
    if path.is_file():
        return _read_file(path, name)
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        return _read_from_disk(path, split)
    if path.is_dir():
        return _read_folder(path, config, split)
    return datasets.load_dataset(name, config, split=split, revision=revision, **LARGE_BATCHES)
