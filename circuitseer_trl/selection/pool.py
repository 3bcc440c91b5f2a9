"""From a dataset to the pool that a data recipe means, and from a selection back to a dataset for a trainer."""

from dataclasses import asdict

import datasets
import numpy as np

from circuitseer_trl.cleaning import clean_pool
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.data import Pool, build_pool, conversation, load_pool
from circuitseer_trl.sampling.base import Selection


def _cleaned(pool: Pool, config: PoolConfig) -> Pool:
    return clean_pool(pool, config.dedup_similarity, config.text_sources(), config.ngram_size)


def pool_from_config(config: PoolConfig) -> Pool:
    """Reads the pool of a data recipe, without the rows that its cleaning drops."""
    keys = {
        key: value for key, value in asdict(config).items() if key.startswith("dataset_") or key.endswith("_column")
    }
    return _cleaned(load_pool(**keys), config)


def pool_from_dataset(dataset: datasets.Dataset, config: PoolConfig) -> Pool:
    """The pool of a dataset in memory, with the columns and the cleaning of a data recipe."""
    columns = {key: value for key, value in asdict(config).items() if key.endswith("_column")}
    return _cleaned(build_pool(dataset, **columns), config)


def trainable_rows(pool: Pool, selection: Selection, system_prompt: str) -> datasets.Dataset:
    """The selected rows in the pool's order, each as often as its weight says, in a form that TRL can train on."""
    order = np.argsort(selection.rows, kind="stable")
    repeats = selection.weights[order].astype(np.int64)
    rows = np.repeat(selection.rows[order], repeats)
    chosen = pool.source.select(rows)
    if {"messages", "prompt", "text"} & set(chosen.column_names):
        return chosen
    place = {row: index for index, row in enumerate(pool.rows.tolist())}
    talks = [
        conversation(example.problem, example.completion, system_prompt)
        for example in pool.take([place[row] for row in rows.tolist()])
    ]
    taken = [name for name in ("prompt", "completion") if name in chosen.column_names]
    chosen = chosen.remove_columns(taken)
    return datasets.concatenate_datasets([chosen, datasets.Dataset.from_list(talks)], axis=1)
