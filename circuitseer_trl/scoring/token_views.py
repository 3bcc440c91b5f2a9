"""What does a page show of single scores? The tokens of a few rows, with the attention that each receives."""

from pathlib import Path
from typing import Any

import numpy as np

from circuitseer_trl.artifacts import read_json, sealed, write_card
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.scoring.base import Scorer, ScoreTable
from circuitseer_trl.scoring.circuitseer import CircuitSeerScorer
from circuitseer_trl.scoring.explain import explain

FILE = "token_views.json"
NUM_OF_EACH = 2
MAX_TOKENS = 400  # of a row


def write_token_views(scorer: Scorer, pool: Pool, scores: ScoreTable, output_dir: str | Path) -> None:
    """Writes the tokens of the rows with the highest, the middle and the lowest scores, if scores are of attention's variance.

    It is done once for each table of scores. Call it on one rank, with a scorer whose inputs are read.
    """
    path, made_from = Path(output_dir) / FILE, scores.card["fingerprint"]
    if not isinstance(scorer, CircuitSeerScorer) or scorer.statistic != "variance" or _made_from(path) == made_from:
        return
    values = scores.table["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    order = np.argsort(-values, kind="stable")
    order = order[np.isfinite(values[order])]
    middle = max(0, (len(order) - NUM_OF_EACH) // 2)
    groups = {
        "highest": order[:NUM_OF_EACH],
        "middle": order[middle : middle + NUM_OF_EACH],
        "lowest": order[-NUM_OF_EACH:],
    }
    places = {uid: place for place, uid in enumerate(pool.uids)}
    seen: set[str] = set()
    views: list[dict[str, Any]] = []
    for group, rows in groups.items():
        for uid in (scores.table["uid"][int(row)].as_py() for row in rows):
            if uid not in seen:
                seen.add(uid)
                found = explain(pool[places[uid]], scorer)
                views.append(
                    {
                        **{"group": group, "uid": uid, "row": found.example.row, "score": found.score},
                        **{"num_tokens": len(found.tokens), "tokens": found.tokens[:MAX_TOKENS]},
                        "attention_received": [round(float(value), 5) for value in found.alpha[:MAX_TOKENS]],
                    }
                )
    write_card(path, sealed({"scores": made_from, "views": views}))


def _made_from(path: Path) -> str | None:
    """The fingerprint of the scores that a file's views are of; None if there is no whole file."""
    try:
        return str(read_json(path)["scores"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
