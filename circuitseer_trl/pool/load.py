"""From a data recipe to the pool."""

from dataclasses import asdict

import datasets

from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.pool.build import build_pool, load_pool
from circuitseer_trl.pool.cleaning import clean_pool
from circuitseer_trl.pool.rows import Pool


def _cleaned(pool: Pool, config: PoolConfig) -> Pool:
    return clean_pool(pool, config.dedup_similarity, config.text_sources(), config.ngram_size)


def pool_from_config(config: PoolConfig) -> Pool:
    """Reads the pool of a data recipe and applies its cleaning."""
    keys = {
        key: value for key, value in asdict(config).items() if key.startswith("dataset_") or key.endswith("_column")
    }
    return _cleaned(load_pool(**keys), config)


def pool_from_dataset(dataset: datasets.Dataset, config: PoolConfig) -> Pool:
    """Makes the pool of a dataset in memory, with the columns and the cleaning of a data recipe."""
    columns = {key: value for key, value in asdict(config).items() if key.endswith("_column")}
    return _cleaned(build_pool(dataset, **columns), config)
