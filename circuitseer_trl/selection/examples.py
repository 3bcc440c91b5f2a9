"""What do the scores prefer? Rows with the highest and the lowest scores, and random rows to compare them with."""

from collections.abc import Container
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import sealed
from circuitseer_trl.pool.rows import Pool

NUM_ROWS = 10
MAX_TEXT = 1000  # characters; a longer problem is cut
SEED = 0  # a constant, so that the random rows are the same for every method on a pool

Examples = dict[str, list[dict[str, Any]]]


def ranked(table: pa.Table) -> np.ndarray:
    """Positions of the rows of a score table, from the highest score to the lowest, without rows that have no score."""
    scores = table["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    return order[np.isfinite(scores[order])]


def example_rows(
    table: pa.Table, pool: Pool, selected: Container[str] | None = None, num_rows: int = NUM_ROWS
) -> Examples:
    """Picks rows of a pool by their scores, each with its row, uid, score, number of tokens and problem.

    Args:
        table: The score table, in the pool's order.
        selected: uids of the selected rows. If given, each row has the key `selected`.

    Returns:
        The groups `highest`, `lowest` and `random`. `highest` begins with the highest score and `lowest` with the lowest. Both
        are empty if all scores are equal.
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
                line["score"] = None  # JSON has no NaN and no infinity
            if selected is not None:
                line["selected"] = line["uid"] in selected
            line["problem"] = pool[position].problem[:MAX_TEXT]
    return found


def stored_examples(examples: Examples, selection_card: dict[str, Any]) -> dict[str, Any]:
    """The content of `examples.json`: the rows, and which selection they are of."""
    return sealed({**examples, "selection": selection_card["fingerprint"]})


def as_text(examples: Examples, max_text: int = 90) -> str:
    """Formats the rows for a terminal, one line each. A star marks a selected row."""
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
