"""Which category is a row of: a column of the pool, or a cluster of like problems. What `diversity` spreads its budget over."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.configs import check_count
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.distributed.shards import run_shards
from circuitseer_trl.modeling.loading import local_device, model_path
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import ROWS_PER_SHARD, Row, Scorer


def check_extra() -> None:
    """Raises where the libraries of the extra `diversity` are not installed."""
    if missing := [name for name in ("sentence_transformers", "sklearn") if find_spec(name) is None]:
        raise ImportError(f"`num_clusters` needs {' and '.join(missing)}: pip install 'circuitseer-trl[diversity]'")


@lru_cache(maxsize=1)  # one load for all shards
def embedder(model: str) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(model_path(model), device=str(local_device()))


def embed(texts: list[str], model: str) -> np.ndarray:
    """Unit vectors of texts, in float32."""
    return embedder(model).encode(texts, normalize_embeddings=True, show_progress_bar=False)


def cluster(vectors: np.ndarray, number: int, seed: int) -> list[int]:
    """k-means labels of vectors."""
    from sklearn.cluster import KMeans

    return KMeans(number, random_state=seed, n_init=10).fit_predict(vectors).tolist()


@dataclass
class CategoryScorer(Scorer):
    """Gives every row the score 1 and its category, for the sampler to spread the budget over (the baseline Diversity).

    The category is the pool's `category_column`. Where `num_clusters` is set it is a k-means cluster of the problems'
    embeddings (our reading of what to do without such a column). `trace_length`, for s1's rule, is in characters.

    Attributes:
        num_clusters: Number of clusters; None reads the column.
        embedding_model: Model of sentence-transformers that embeds the problems.
        cluster_seed: Seed of k-means.
    """

    uses_reference: ClassVar[bool] = False
    columns: ClassVar[dict[str, pa.DataType]] = {"category": pa.string(), "trace_length": pa.int64()}

    num_clusters: int | None = None
    embedding_model: str = "sentence-transformers/all-MiniLM-L6-v2"
    cluster_seed: int = 0

    def __post_init__(self) -> None:
        self.clusters: dict[str, int] = {}
        check_count("cluster_seed", self.cluster_seed, smallest=0)
        if self.num_clusters is not None:
            check_count("num_clusters", self.num_clusters)
            check_extra()

    def fit(self, pool: Pool, reference: Reference | None, output_dir: Path) -> None:
        number = self.num_clusters
        if number is None:
            if not any(pool.examples["category"]):
                raise ValueError(
                    "This pool has no categories. Set `category_column`, or `method_args: {num_clusters: 10}` for clusters of "
                    "the problems."
                )
            return
        if number > len(pool):
            raise ValueError(f"`num_clusters` is {number}, but the pool has only {len(pool)} usable rows.")

        def compute(shard: int) -> pa.Table:
            rows = pool.take(range(shard * ROWS_PER_SHARD, min((shard + 1) * ROWS_PER_SHARD, len(pool))))
            vectors = embed([example.problem for example in rows], self.embedding_model)
            return pa.table(
                {"uid": [example.uid for example in rows], "vector": [vector.tolist() for vector in vectors]}
            )

        made_from: dict[str, Any] = {"pool": pool.fingerprint, "embedding_model": self.embedding_model}
        table = run_shards(output_dir / "embeddings", -(-len(pool) // ROWS_PER_SHARD), made_from, compute, "Embeddings")
        embedder.cache_clear()  # no memory of it while the rows are scored
        labels = on_main_rank(lambda: cluster(np.array(table["vector"].to_pylist()), number, self.cluster_seed))
        self.clusters = dict(zip(table["uid"].to_pylist(), labels, strict=True))

    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        return [
            {
                "score": 1.0,
                "status": "ok",
                "category": f"cluster {self.clusters[example.uid]}" if self.clusters else example.category,
                "trace_length": len(example.completion),
            }
            for example in batch
        ]
