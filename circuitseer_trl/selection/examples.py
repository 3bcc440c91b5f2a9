"""What do the scores prefer? Rows with the highest and the lowest scores, and a random draw to hold beside them."""

from collections.abc import Container
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.pool.rows import Pool

NUM_ROWS = 10
MAX_TEXT = 1000  # characters of a problem that are kept
SEED = 0  # of the draw, so that it is the same for every method on a pool

Examples = dict[str, list[dict[str, Any]]]


def ranked(table: pa.Table) -> np.ndarray:
    """Positions in a table of scores from the highest score to the lowest; rows without a score are left out."""
    scores = table["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    return order[np.isfinite(scores[order])]


def example_rows(
    table: pa.Table, pool: Pool, selected: Container[str] | None = None, num_rows: int = NUM_ROWS
) -> Examples:
    """Some rows of a pool by their scores, as lists of row, uid, score, number of tokens and problem.

    Args:
        table: The scores, in the pool's order.
        selected: Names of the selected rows, where some were; each row then says whether it is one of them.

    Returns:
        `highest` and `lowest`, both empty where all scores are the same, each from its end of the scale; and `random`.
    """
    order = ranked(table)
    scores = table["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    if len(order) and scores[order[0]] == scores[order[-1]]:
        order = order[:0]
    drawn = np.random.default_rng(SEED).permutation(len(pool))[:num_rows]
    highest, rest = order[:num_rows], order[num_rows:]
    found: Examples = {}
    for group, positions in (("highest", highest), ("lowest", rest[-num_rows:][::-1]), ("random", drawn)):
        found[group] = table.select(["row", "uid", "score", "num_tokens"]).take(pa.array(positions)).to_pylist()
        for position, line in zip(positions.tolist(), found[group], strict=True):
            if line["score"] is not None and not np.isfinite(line["score"]):
                line["score"] = None  # what is not finite has no form in JSON
            if selected is not None:
                line["selected"] = line["uid"] in selected
            line["problem"] = pool[position].problem[:MAX_TEXT]
    return found


def as_text(examples: Examples, max_text: int = 90) -> str:
    """The rows for a terminal, one line each; a star marks the selected ones."""
    lines = []
    for group, rows in examples.items():
        if rows:
            lines.append(f"{group.capitalize()} scores:" if group != "random" else "Random rows:")
        for row in rows:
            score = "         -" if row["score"] is None else f"{row['score']:10.4f}"
            mark = "*" if row.get("selected") else " "
            problem = " ".join(row["problem"].split())[:max_text]
            tokens = "    -" if row["num_tokens"] is None else f"{row['num_tokens']:5d}"  # the scorer counted none
            lines.append(f" {mark}{score}  {tokens} tokens  {problem}")
    return "\n".join(lines)
