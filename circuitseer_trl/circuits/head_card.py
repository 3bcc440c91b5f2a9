"""Reads `heads.json`, checks that its values can be those of a model's heads, and warns of heads that are likely unwanted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from circuitseer_trl.artifacts import read_card, read_table, table_fingerprint

STEP = "find-heads"
UNITS = {"importance": "nats per token", "contrast": "ratio", "retrieval": "share copied"}
MEANINGS = {
    "importance": "increase of the response loss without the head",
    "contrast": "its increase on hard rows over that on easy ones",
    "retrieval": "share of an answer that the head copies, on texts of keys and values",
}


@dataclass(frozen=True)
class HeadValues:
    """One value of all heads of a model.

    Attributes:
        name: `importance` (the rise of the loss without the head), `contrast` or `retrieval`.
        values (`np.ndarray` of shape `(layers, heads)`): In `unit`; the highest are selected.
        standard_error: Of the same shape, as lists; None where it is not known.
    """

    name: str
    values: np.ndarray
    standard_error: list[list[float]] | None

    @property
    def unit(self) -> str:
        return UNITS[self.name]

    @property
    def meaning(self) -> str:
        return MEANINGS[self.name]


def values_of(card: Mapping[str, Any]) -> dict[str, HeadValues]:
    """The values of all heads that a card has. It has none if its heads were not detected."""
    found = {}
    if "importance" in card:
        values = np.array(card["importance"], dtype=float)
        found["importance"] = HeadValues("importance", values, card.get("standard_error"))
    for name in ("contrast", "retrieval"):
        if name in card:
            values = np.array(card[name]["values"], dtype=float)
            found[name] = HeadValues(name, values, card[name].get("standard_error"))
    return found


def criterion_of(card: Mapping[str, Any]) -> str:
    return next((name for name in ("contrast", "retrieval") if name in card), "loss")


def selecting_values(card: Mapping[str, Any]) -> HeadValues:
    """The values that the heads of a card were selected by. The card has some: see `values_of`."""
    criterion = criterion_of(card)
    return values_of(card)["importance" if criterion == "loss" else criterion]


def shown_values(card: Mapping[str, Any]) -> HeadValues:
    """The importance of a card's heads, which has the same unit in all cards; for heads without one, what selected them."""
    return values_of(card).get("importance") or selecting_values(card)


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


def first_layer_warning(selected: Sequence[Sequence[int]]) -> str | None:
    """Returns the warning for heads that are all in the first layer; None if it does not apply.

    All later layers read what the first one writes, so its heads are important to any text, with or without reasoning.
    """
    if not selected or any(layer > 0 for layer, _ in selected):
        return None
    return (
        f"All {len(selected)} selected heads are in the first layer. All layers above need it, for any text, so these heads may "
        "have little to do with reasoning. Compare with `head_set: random`, or raise `head_ratio`."
    )


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
    for name in ("contrast", "retrieval"):
        if name in card and not (isinstance(card[name], dict) and "values" in card[name]):
            return f"`{name}` has no `values`"
    try:
        selected = np.array(pairs, dtype=np.int64)
        found = values_of(card)
    except (TypeError, ValueError, OverflowError):
        return "`selected` or the values of heads are no table of numbers"
    for each in found.values():
        if each.values.ndim != 2 or not np.isfinite(each.values).all():
            return f"`{each.name}` is no table of layers and heads"
        if (selected >= each.values.shape).any():
            return f"`selected` has a head outside the {each.values.shape[0]} layers of {each.values.shape[1]} heads"
    return None
