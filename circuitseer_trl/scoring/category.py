"""Which category does a row belong to? A column of the pool, or a cluster of similar problems, for the method `diversity`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import read_table
from circuitseer_trl.checks import check_count, check_seed
from circuitseer_trl.digests import content_digest
from circuitseer_trl.extras import require_extra
from circuitseer_trl.modeling.loading import local_device, model_path
from circuitseer_trl.pool.row_shards import run_row_shards
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Row, Scorer
from circuitseer_trl.scoring.fitted import fitted_file


def check_extra() -> None:
    """Raises if the libraries of the extra `diversity` are not installed."""
    require_extra("diversity", "`num_clusters`", "sentence_transformers", "sklearn")


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
    """Gives every row the score 1 and its category (the baseline Diversity). The sampler spreads the budget over categories.

    The category is the pool's `category_column`. If `num_clusters` is set, it is a k-means cluster of the problems'
    embeddings (our reading for a pool without such a column). `trace_length`, for s1's rule, is in characters.

    Attributes:
        num_clusters: Number of clusters; None takes the categories of the column.
        embedding_model: Model of sentence-transformers that embeds the problems.
        cluster_seed: Seed of k-means.
    """

    columns: ClassVar[dict[str, pa.DataType]] = {"category": pa.string(), "trace_length": pa.int64()}
    not_in_noise: ClassVar[tuple[str, ...]] = ("embedding_model",)

    num_clusters: int | None = None
    embedding_model: str = "sentence-transformers/all-MiniLM-L6-v2"
    cluster_seed: int = 0

    def __post_init__(self) -> None:
        check_seed("cluster_seed", self.cluster_seed, bits=32)  # as scikit-learn takes
        if self.num_clusters is not None:
            check_count("num_clusters", self.num_clusters)
            check_extra()

    def check(self, pool: Pool) -> None:
        if self.num_clusters is None and not any(pool.examples["category"]):
            raise ValueError(
                "This pool has no categories. Set `category_column`, or `method_args: {num_clusters: 10}` for clusters of "
                "the problems."
            )
        if self.num_clusters is not None and self.num_clusters > len(pool):
            raise ValueError(f"`num_clusters` is {self.num_clusters}, but the pool has only {len(pool)} usable rows.")

    @cached_property
    def _embedding_digest(self) -> dict[str, str]:
        """The content of a model in a folder, which may change under its name; empty for a model of the Hub."""
        folder = Path(self.embedding_model).expanduser()
        used = self.num_clusters is not None and folder.is_dir()
        return {"embedding_model_digest": content_digest(folder)} if used else {}

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | self._embedding_digest

    def fit(self, pool: Pool, output_dir: Path) -> None:
        number = self.num_clusters
        if number is None:
            return
        made_from: dict[str, Any] = {
            "pool": pool.fingerprint,
            "embedding_model": self.embedding_model,
            **self._embedding_digest,
        }
        folder = run_row_shards(pool, output_dir / "embeddings", made_from, self._embeddings, "Embeddings")
        embedder.cache_clear()  # frees the memory before the rows are scored
        made_from |= {"num_clusters": number, "cluster_seed": self.cluster_seed}
        self._labels = fitted_file(output_dir, "clusters", made_from, lambda: self._clusters(folder.read_all(), number))

    def _embeddings(self, examples: list[Example]) -> pa.Table:
        vectors = embed([example.problem for example in examples], self.embedding_model)
        return pa.table(
            {"uid": [example.uid for example in examples], "vector": [vector.tolist() for vector in vectors]}
        )

    def _clusters(self, embeddings: pa.Table, number: int) -> pa.Table:
        labels = cluster(np.array(embeddings["vector"].to_pylist()), number, self.cluster_seed)
        return pa.table({"uid": embeddings["uid"], "cluster": labels})

    @cached_property
    def clusters(self) -> dict[str, int]:
        """The cluster of each row, by uid."""
        table = read_table(self._labels)
        return dict(zip(table["uid"].to_pylist(), table["cluster"].to_pylist(), strict=True))

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        return [
            {
                "score": 1.0,
                "status": "ok",
                "category": self._category(example),
                "trace_length": len(example.completion),
            }
            for example in batch
        ]

    def _category(self, example: Example) -> str | None:
        return example.category if self.num_clusters is None else f"cluster {self.clusters[example.uid]}"
