"""Where does a dataset come from? A local file or folder, the web, or the Hub."""

from pathlib import Path

import datasets

SUFFIXES = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def _read_files(kind: str, name: str) -> datasets.Dataset:
    """The rows of a file; the error for one that is broken names it."""
    try:
        return datasets.load_dataset(kind, data_files=name, split="train")
    except datasets.exceptions.DatasetGenerationError as error:
        raise ValueError(f"{name} is not a {kind} file that can be read: {error.__cause__ or error}.") from error


def read_dataset(
    name: str, config: str | None = None, split: str = "train", revision: str | None = None
) -> datasets.Dataset:
    """Reads a dataset from a local file or folder, from the web, or else from the Hub.

    Raises:
        ValueError: The file is of an unknown kind, empty or broken, or the folder has no such split.
        FileNotFoundError: A name that looks like a file does not exist.
    """
    path = Path(name).expanduser()
    if "://" in name:  # a file on the web, or in a dataset's repository (hf://datasets/OWNER/NAME/FILE)
        if path.suffix not in SUFFIXES:
            raise ValueError(f"Cannot tell what kind of file {name} is; known endings are {', '.join(SUFFIXES)}.")
        return _read_files(SUFFIXES[path.suffix], name)
    if path.is_dir() and ((path / "state.json").is_file() or (path / "dataset_dict.json").is_file()):
        loaded = datasets.load_from_disk(str(path))
        if isinstance(loaded, datasets.Dataset):
            return loaded
        if split not in loaded:
            raise ValueError(f"The dataset {name} has no split {split!r}; it has {', '.join(loaded)}.")
        return loaded[split]
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise ValueError(f"Cannot tell what kind of file {name} is; known endings are {', '.join(SUFFIXES)}.")
        if path.stat().st_size == 0:
            raise ValueError(f"The pool {name} is empty.")
        return _read_files(SUFFIXES[path.suffix], str(path))
    if path.suffix in SUFFIXES or name.startswith((".", "/", "~")):
        raise FileNotFoundError(f"There is no dataset file {name}.")
    return datasets.load_dataset(name, config, split=split, revision=revision)
