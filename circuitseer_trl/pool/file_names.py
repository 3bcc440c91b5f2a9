"""Is the name of a dataset that of a local file, and is the file there? Needs no library, so a step can ask at once."""

from pathlib import Path

SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")


def check_dataset_file(name: str) -> None:
    """Raises if the name looks like a local file that is not there, or like a file of an unknown kind."""
    path = Path(name).expanduser()
    if "://" not in name and not path.is_dir() and not path.is_file():
        if path.suffix in SUFFIXES or name.startswith((".", "/", "~")):
            raise FileNotFoundError(f"There is no dataset file {name}.")
    elif not path.is_dir() and path.suffix not in SUFFIXES:
        raise ValueError(f"Cannot tell what kind of file {name} is; known endings are {', '.join(SUFFIXES)}.")
