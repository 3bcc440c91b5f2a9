"""What do the scores prefer? Rows with the highest and the lowest scores, and random rows to compare them with."""

from collections.abc import Container, Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import sealed
from circuitseer_trl.pool.figures import SAMPLE_ROWS
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
    tables: Iterable[pa.Table], pool: Pool, selected: Container[str] | None = None, num_rows: int = NUM_ROWS
) -> Examples:
    """Picks rows of a pool by their scores, each with its row, uid, score, number of tokens and problem.

    Args:
        tables: The score table in parts, in the pool's order.
        selected: uids of the selected rows. If given, each row has the key `selected`.

    Returns:
        The groups `highest`, `lowest` and `random`. `highest` begins with the highest score and `lowest` with the lowest. Both
        are empty if all scores are equal.
    """
    drawn = _random_places(len(pool), num_rows)
    extreme: list[pa.Table] = []
    at_random: list[pa.Table] = []
    start = 0
    for table in tables:
        places = np.arange(start, start + len(table))
        start += len(table)
        part = table.select(["row", "uid", "score", "num_tokens"]).append_column("place", pa.array(places))
        at_random.append(part.take(pa.array(drawn[(drawn >= places[0]) & (drawn <= places[-1])] - places[0])))
        extreme = [_extremes(pa.concat_tables([*extreme, part]), num_rows)]
    ends = pa.concat_tables(extreme).to_pylist()
    if ends and ends[0]["score"] == ends[-1]["score"]:
        ends = []
    found: Examples = {"highest": ends[:num_rows], "lowest": ends[num_rows:][-num_rows:][::-1]}
    by_place = {line["place"]: line for line in pa.concat_tables(at_random).to_pylist()}
    found["random"] = [by_place[place] for place in drawn.tolist()]
    for line in (line for lines in found.values() for line in lines):
        if line["score"] is not None and not np.isfinite(line["score"]):
            line["score"] = None  # JSON has no NaN and no infinity
        if selected is not None:
            line["selected"] = line["uid"] in selected
        line["problem"] = pool[line.pop("place")].problem[:MAX_TEXT]
    return found


def _random_places(num_rows: int, number: int) -> np.ndarray:
    rng = np.random.default_rng(SEED)
    if num_rows > SAMPLE_ROWS:  # the order of all rows would take 8 bytes a row
        return rng.choice(num_rows, number, replace=False, shuffle=False)
    return rng.permutation(num_rows)[:number]


def _extremes(table: pa.Table, number: int) -> pa.Table:
    """The rows of the highest and of the lowest scores, from the highest to the lowest."""
    order = ranked(table)
    return table.take(pa.array(order if len(order) <= 2 * number else np.r_[order[:number], order[-number:]]))


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
