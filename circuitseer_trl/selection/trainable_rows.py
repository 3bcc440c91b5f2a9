"""Which dataset does a trainer get from a selection?"""

import datasets
import numpy as np

from circuitseer_trl.pool.chat import conversation
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.sampling.base import Selection


def trainable_rows(pool: Pool, selection: Selection, system_prompt: str) -> datasets.Dataset:
    """Returns the selected rows in a format that TRL can train on, in the pool's order. A row of weight 2 is there twice."""
    order = np.argsort(selection.rows, kind="stable")
    repeats = selection.weights[order].astype(np.int64)
    rows = np.repeat(selection.rows[order], repeats)
    chosen = pool.source.select(rows)
    if {"messages", "prompt", "text"} & set(chosen.column_names):
        return chosen
    talks = [
        conversation(example.problem, example.completion, system_prompt) for example in pool.take(pool.places_of(rows))
    ]
    taken = [name for name in ("prompt", "completion") if name in chosen.column_names]
    chosen = chosen.remove_columns(taken)
    return datasets.concatenate_datasets([chosen, datasets.Dataset.from_list(talks)], axis=1)
