"""Reads `heads.json`, and checks that its values can be those of a model's heads."""

from pathlib import Path
from typing import Any

import numpy as np

from circuitseer_trl.artifacts import read_card, read_table, table_fingerprint

STEP = "find-heads"


def read_heads_card(path: str | Path) -> dict[str, Any]:
    """Reads a `heads.json`, whole or with `model` and `selected` alone.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is broken, its heads cannot be heads of a model, or a table beside it is of other heads.
    """
    path = Path(path)
    card = read_card(path, STEP, ("selected", "model"))
    if wrong := _wrong_heads(card):
        raise ValueError(f"{path} holds no heads: {wrong}. Run `circuitseer {STEP}` again, which writes it anew.")
    for name, written in card.get("tables", {}).items():
        table = path.with_name(name)
        if table.is_file() and (wrong := _wrong_table(table, written)):
            raise ValueError(f"{wrong} It belongs to {path}. Run `circuitseer {STEP}` again, which writes both.")
    return card


def _wrong_table(path: Path, written: str) -> str | None:
    try:
        same = table_fingerprint(read_table(path)) == written
    except ValueError as error:
        return str(error)
    return None if same else f"{path} is the table of other heads."


def _is_head(pair: Any) -> bool:
    """Whether a value is a pair of whole numbers; numpy would round fractions and read texts."""
    return isinstance(pair, list) and len(pair) == 2 and all(type(number) is int and number >= 0 for number in pair)


def _wrong_heads(card: dict[str, Any]) -> str | None:
    pairs = card["selected"]
    if (
        not isinstance(pairs, list)
        or not all(map(_is_head, pairs))
        or len({tuple(pair) for pair in pairs}) < len(pairs)
    ):
        return "`selected` is no list of different pairs of layer and head"
    if not pairs:
        return "`selected` is empty"
    if not isinstance(card["model"], dict):
        return "`model` is no object"
    try:
        selected = np.array(pairs, dtype=np.int64)
        importance = np.array(card["importance"], dtype=np.float64) if "importance" in card else None
    except (TypeError, ValueError, OverflowError):
        return "`selected` or `importance` is no table of numbers"
    if importance is None:
        return None
    if importance.ndim != 2 or not np.isfinite(importance).all():
        return "`importance` is no table of layers and heads"
    if (selected >= importance.shape).any():
        return f"`selected` has a head outside the {importance.shape[0]} layers of {importance.shape[1]} heads"
    return None
