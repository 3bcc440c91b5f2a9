"""Which files does the key `selection_file` name?"""

from pathlib import Path


def selection_files(selection_file: str | Path) -> tuple[Path, Path]:
    """The table and the card of a selection, which is named by its table or by its folder."""
    path = Path(selection_file).expanduser()
    path = path / "selection.parquet" if path.is_dir() else path
    return path, path.with_suffix(".json")
