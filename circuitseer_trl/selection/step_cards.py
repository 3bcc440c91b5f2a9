"""Reads the cards that the steps of a selection left in a folder. Each must be whole, and they must be of one selection."""

from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import read_card
from circuitseer_trl.circuits.head_card import read_heads_card

CARDS = ("heads.json", "scores.json", "selection.json", "examples.json")
EXAMPLE_GROUPS = ("highest", "lowest", "random")


def read_step_cards(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Reads those of the four cards that the folder has, by their file names.

    Raises:
        ValueError: A card is broken, or of another run than the others.
    """
    folder = Path(folder)
    cards: dict[str, dict[str, Any]] = {}
    for name, step, keys in (
        ("scores.json", "score-pool", ("fingerprint", "pool")),
        ("selection.json", "select-data", ("fingerprint", "pool")),
        ("examples.json", "select-data", EXAMPLE_GROUPS),
    ):
        if (folder / name).is_file():
            cards[name] = read_card(folder / name, step, keys)
    if (folder / "heads.json").is_file():
        cards["heads.json"] = read_heads_card(folder / "heads.json")
    selection = cards.get("selection.json", {})
    # Which card another one names; version 0.1.0 did not name the selection in `examples.json`.
    for name, of, named in (
        ("selection.json", "scores.json", selection.get("scores", {}).get("fingerprint")),
        ("examples.json", "selection.json", cards.get("examples.json", {}).get("selection")),
    ):
        if named is not None and of in cards and cards[of]["fingerprint"] != named:
            raise ValueError(
                f"{folder / name} is not of the {folder / of} beside it. Run `circuitseer select-data` again with the settings "
                "of the selection, which writes both."
            )
    return cards
