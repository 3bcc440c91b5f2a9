"""How similar is a problem to the target problems? The similarity of hidden states to those of target queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel

from circuitseer_trl.artifacts import fingerprint, read_table
from circuitseer_trl.checks import check_choice
from circuitseer_trl.modeling.encoding import encode_prompt
from circuitseer_trl.modeling.losses import check_ready, last_hidden_states, length_batches, pad_right
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.pool.sources import read_dataset
from circuitseer_trl.pool.texts import texts_of
from circuitseer_trl.scoring.base import Needs, Row, Scorer
from circuitseer_trl.scoring.fitted import fitted_file

Pooling = Literal["mean", "weighted"]


@torch.no_grad()
def mean_hidden_states(
    model: PreTrainedModel, texts: Sequence[Sequence[int]], pooling: Pooling, max_batch_tokens: int
) -> np.ndarray:
    """The mean of each text's last hidden states, scaled to length 1, in float64.

    Args:
        texts: Token ids of each text, at least one.
        pooling: `mean` gives all tokens the same weight; `weighted` gives the i-th token the weight i.
    """
    check_ready(model)
    vectors: dict[int, np.ndarray] = {}
    for batch in length_batches([len(ids) for ids in texts], max_batch_tokens):
        hidden = last_hidden_states(model, pad_right([texts[index] for index in batch], model.device))
        for row, index in enumerate(batch):
            states = hidden[row, : len(texts[index])].double().cpu().numpy()
            weights = np.arange(1, len(states) + 1) if pooling == "weighted" else np.ones(len(states))
            mean = weights @ states / weights.sum()
            vectors[index] = mean / np.linalg.norm(mean)
    return np.array([vectors[index] for index in range(len(texts))])


@dataclass
class RDSScorer(Scorer):
    """Scores a problem by the cosine similarity of its mean hidden state to target queries (RDS+'s family of baselines).

    `similarities` has one number for each query, for the round-robin sampler; the score is the largest. Our reading: the
    hidden states of the last layer, and the problem alone on both sides, since most queries are benchmark problems without a
    solution.

    Attributes:
        queries: A dataset of target problems: a local file or folder, or a Hub id. Do not use a benchmark that you report.
        query_column: Column of the dataset with the problem's text.
        query_split: Split of the dataset.
        pooling: `weighted` is RDS+'s position-weighted mean, as summarised by others.
    """

    needs: ClassVar[Needs] = "model"
    reads_with: ClassVar[tuple[str, ...]] = ("max_batch_tokens",)
    columns: ClassVar[dict[str, pa.DataType]] = {"similarities": pa.list_(pa.float64())}
    not_in_noise: ClassVar[tuple[str, ...]] = ("queries",)

    queries: str = ""
    query_column: str = "problem"
    query_split: str = "train"
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        if not self.queries:
            raise ValueError("`method: rds` needs target problems. Set `method_args: {queries: FILE}`.")
        check_choice("pooling", self.pooling, Pooling)

    @cached_property
    def texts(self) -> list[str]:
        """The target problems."""
        dataset = read_dataset(self.queries, split=self.query_split)
        if self.query_column not in dataset.column_names:
            raise ValueError(
                f"The queries have no column {self.query_column!r} (`query_column`); their columns are "
                f"{', '.join(dataset.column_names)}."
            )
        texts = [text for text in texts_of(dataset, self.query_column, self.queries) if text.strip()]
        if not texts:
            raise ValueError(f"The queries {self.queries} have no text in their column {self.query_column!r}.")
        return texts

    def read_inputs(self) -> None:
        self.texts  # noqa: B018

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"queries_fingerprint": fingerprint(self.texts), "num_queries": len(self.texts)}

    def fit(self, pool: Pool, output_dir: Path) -> None:
        if "targets" in vars(self):
            return  # the targets do not depend on the pool
        made_from = {"model": self.reference.describe(for_scores=True), "parameters": self.parameters()}
        self._vectors = fitted_file(output_dir, "queries", made_from, self._embedded_queries)

    def _embedded_queries(self) -> pa.Table:
        ids = [self.encode(text) for text in self.texts]
        if not all(ids):
            raise ValueError(f"The query {self.texts[ids.index([])]!r} has no tokens. Take it out of {self.queries}.")
        return pa.table({"vector": list(self.embed(ids))})

    @cached_property
    def targets(self) -> np.ndarray:
        """The queries' vectors, of shape `(Q, hidden)`."""
        return np.array(read_table(self._vectors)["vector"].to_pylist())

    def embed(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        return mean_hidden_states(self.model, texts, self.pooling, self.reference.batch_tokens)

    def encode(self, text: str) -> list[int]:
        return encode_prompt(self.reference.tokenizer, text, "plain", "")

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        longest = self.reference.max_tokens
        encoded = [self.encode(example.problem) for example in batch]
        rows: list[dict[str, Any]] = [
            {
                "score": None,
                "status": "truncated" if len(ids) > longest else "ok" if ids else "empty",
                "num_tokens": min(len(ids), longest),
                "similarities": None,
            }
            for ids in encoded
        ]
        read = [index for index, ids in enumerate(encoded) if ids]
        texts = [encoded[index][:longest] for index in read]
        for index, vector in zip(read, self.embed(texts), strict=True):
            near = self.targets @ vector
            if np.isfinite(near).all():
                rows[index] |= {"score": float(near.max()), "similarities": near.tolist()}
            else:
                rows[index]["status"] = "error"
        return rows
