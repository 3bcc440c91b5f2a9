"""What does the card of a selection hold? The chosen rows, their pool, the settings, and warnings."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import fingerprint, library_versions, sealed, table_fingerprint
from circuitseer_trl.pool.figures import num_words
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.sampling.base import Sampler
from circuitseer_trl.scoring.base import ScoreTable
from circuitseer_trl.scoring.diagnostics import diagnostics, nan_mean, quantiles
from circuitseer_trl.selection.card_warnings import selection_warnings
from circuitseer_trl.selection.choosing import Chosen

NUM_BINS = 24
EFFECTIVE_SAMPLE_SIZE = (
    "share of the rows that would carry a soft draw if all its weights were equal; at 1 the weights are equal, so the draw is a "
    "random one"
)


def selection_card(
    pool: Pool, scores: ScoreTable, chosen: Chosen, settings: dict[str, Any], sampler: Sampler
) -> dict[str, Any]:
    """Makes the content of `selection.json`.

    Means and categories of the selected rows count each row by its weight.

    Args:
        settings: The card's entries for method, sampler, seed and their parameters, and for the solutions' lengths.
        sampler: The sampler.
    """
    selection, values = chosen.selection, chosen.values
    tokens, sink_share = scores.figures.num_tokens, scores.figures.sink_share
    rows = chosen.scored.take(pa.array(np.repeat(np.arange(len(selection)), selection.weights.astype(np.int64))))
    places = rows["place"].to_numpy()
    figures = diagnostics(values, tokens, pool.figures.difficulty)
    card = {
        **settings,
        "num_selected": len(selection),
        "num_with_repeats": int(selection.weights.sum()),
        # The share of these rows that an independent draw of as many rows would have too.
        "overlap_by_chance": len(selection) / len(pool),
        "pool": pool.describe(),
        "scores": {key: scores.card[key] for key in ("fingerprint", "scorer", "parameters", "model", "heads")},
        **figures,
        "effective_sample_size_meaning": EFFECTIVE_SAMPLE_SIZE,
        "mean_sink_share": {"pool": nan_mean(sink_share), "selected": nan_mean(rows["sink_share"].to_numpy())},
        "score_quantiles": {"pool": quantiles(values), "selected": quantiles(selection.scores)},
        "mean_tokens": {"pool": nan_mean(tokens), "selected": nan_mean(rows["num_tokens"].to_numpy())},
        "words": word_counts(pool, places),
        "categories": category_shift(pool, places),
        "uids": fingerprint(sorted(selection.uids)),
        "rows": table_fingerprint(selection.to_table()),
        "warnings": selection_warnings(figures["rank_correlation_with_length"], sampler, values, scores.card["heads"]),
        **pool.figures.sample(),
        "versions": library_versions(),
    }
    return sealed(card)


def word_counts(pool: Pool, places: np.ndarray) -> dict[str, Any]:
    """The distribution of the rows' words in the pool and in the selection, for a picture like figure 5 of the paper.

    Args:
        places: Positions of the selected rows among the usable rows.

    Returns:
        `edges` of the bins, and for `pool` and `selected` the rows in each bin, in `counts`, with their mean and median. Rows
        above the last edge, the pool's 99th percentile, are in no bin.
    """
    words = pool.figures.words
    edges = np.linspace(0, max(1.0, float(np.quantile(words, 0.99))), NUM_BINS + 1)
    found: dict[str, Any] = {"edges": edges.tolist()}
    selected = [num_words(piece) for piece in pool.pieces(places, ["problem", "completion"])]
    for name, each in (("pool", words), ("selected", np.concatenate(selected))):
        counts = np.histogram(each, edges)[0].tolist()
        found[name] = {
            "counts": counts,
            "mean": float(each.mean()),
            "median": float(np.median(each)),
            "rows": len(each),
        }
    return found


def category_shift(pool: Pool, places: np.ndarray) -> dict[str, dict[str, int]] | None:
    """Number of rows of each category, in the pool and in the selection; None for a pool without categories."""
    counts = pool.figures.categories
    if not counts:
        return None
    selected = Counter(
        str(each) for piece in pool.pieces(places, ["category"]) for each in piece["category"].to_pylist()
    )
    return {name: {"pool": counts[name], "selected": selected[name]} for name in sorted(counts)}
