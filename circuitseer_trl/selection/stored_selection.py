"""Reads a selection that a run wrote: `selection.parquet` and its card `selection.json`, which must belong together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import fingerprint, read_card, read_table, table_fingerprint

STEP = "select-data"
COLUMNS = ("row", "uid", "weight")


@dataclass(frozen=True)
class StoredSelection:
    """The chosen rows in the order of choice, and the content of `selection.json`."""

    table: pa.Table
    card: dict[str, Any]

    @property
    def uids(self) -> list[str]:
        return self.table["uid"].to_pylist()


def read_selection(path: str | Path) -> StoredSelection:
    """Reads a `selection.parquet` and the card beside it.

    Raises:
        FileNotFoundError: One of the two is missing.
        ValueError: One of the two is broken, or they are of different selections.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}. `circuitseer {STEP}` writes it.")
    if path.suffix != ".parquet":
        raise ValueError(f"{path} is no `selection.parquet`, which `circuitseer {STEP}` writes.")
    card = read_card(path.with_suffix(".json"), STEP, ("method", "pool", "fingerprint"))
    advice = f"Run `circuitseer {STEP}` again with the same settings, which writes both."
    try:
        table = read_table(path)
    except ValueError as error:
        raise ValueError(f"{error} {advice}") from error
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise ValueError(f"{path} has no column {missing[0]!r}: it is no selection. {advice}")
    selection = StoredSelection(table, card)
    if wrong := _difference(selection):
        raise ValueError(f"{path} is not the table of {path.with_suffix('.json')}: {wrong}. {advice}")
    weights = np.asarray(table["weight"].to_pylist(), dtype=np.float64)
    if not np.isfinite(weights).all() or len(set(selection.uids)) < len(table):
        raise ValueError(f"{path} has a row twice, or a weight that is no number. {advice}")
    return selection


def _difference(selection: StoredSelection) -> str | None:
    """How the table differs from what its card says; None if it does not. Version 0.1.0 recorded the uids alone."""
    table, card = selection.table, selection.card
    if len(table) != card.get("num_selected", len(table)):
        return f"it has {len(table)} rows, and the card says {card['num_selected']}"
    if fingerprint(sorted(map(str, selection.uids))) != card.get("uids"):
        return "it has other rows than the card says"
    if "rows" in card and table_fingerprint(table) != card["rows"]:
        return "its columns or values are not those that the card was made of"
    return None
