"""Reads the scores of a run: the table in `scores/` and its card `scores.json`, which must belong together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitseer_trl.artifacts import read_card
from circuitseer_trl.distributed.shard_folders import manifest_path, read_manifest, read_shards

STEP = "score-pool"


@dataclass(frozen=True)
class ScoreFolder:
    """Scores that another run wrote: the rows in the pool's order, and the content of `scores.json`."""

    table: pa.Table
    card: dict[str, Any]


def read_score_folder(folder: str | Path) -> ScoreFolder:
    """Reads the scores in an output folder of `score-pool` or `select-data`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is broken, or card and table are of different runs.
    """
    path = Path(folder).expanduser()
    card = read_card(path / "scores.json", STEP, ("pool", "scorer", "parameters", "fingerprint", "seconds"))
    table = read_shards(path / "scores", STEP)
    manifest = read_manifest(manifest_path(path / "scores"))
    made_from = manifest["made_from"] if manifest is not None else {}
    of = {key: value for key, value in made_from.items() if key in card} | {"pool": made_from.get("pool")}
    described = {key: card[key] for key in of} | {"pool": card["pool"]["fingerprint"]}
    if of != described or len(table) != card["pool"]["num_usable"]:
        different = [key for key in of if of[key] != described[key]] or ["the number of rows"]
        raise ValueError(
            f"{path / 'scores.json'} is not the card of {path / 'scores'}: they differ in {', '.join(different)}. "
            f"Delete the card and run `circuitseer {STEP}` again, which writes it anew."
        )
    return ScoreFolder(table, card)
