"""How near is a problem to the ones that a model shall solve? Similarity of hidden states to target queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyarrow as pa
import torch

from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.modeling.encoding import encode_prompt
from circuitseer_trl.modeling.losses import check_ready, last_hidden_states, length_batches, pad_right
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.pool.sources import read_dataset
from circuitseer_trl.scoring.base import Row, Scorer

Pooling = Literal["mean", "weighted"]


@torch.no_grad()
def mean_hidden_states(
    reference: Reference, texts: Sequence[Sequence[int]], pooling: Pooling, max_batch_tokens: int
) -> np.ndarray:
    """The mean of each text's last hidden states, scaled to length 1, in float64.

    Args:
        texts: Token ids, at least one each.
        pooling: `mean` counts all tokens alike; `weighted` the i-th of them i times.
    """
    model = reference.model(for_scores=True)
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

    `similarities` has one number a query, for the round robin; the score is the largest. Our reading: the last layer, the text of
    the problem alone on both sides, since queries are mostly benchmark problems without a solution.

    Attributes:
        queries: A dataset of target problems: a local file or folder, or a Hub id. Not the benchmark to be reported.
        query_column: Its column of the problem's text.
        query_split: Its split.
        pooling: `weighted` is RDS+'s position-weighted mean, as summarised by others.
        max_batch_tokens: Tokens of one forward pass. It does not change results beyond rounding.
    """

    columns: ClassVar[dict[str, pa.DataType]] = {"similarities": pa.list_(pa.float64())}

    queries: str = ""
    query_column: str = "problem"
    query_split: str = "train"
    pooling: Pooling = "mean"
    max_batch_tokens: int = 8192

    def __post_init__(self) -> None:
        if not self.queries:
            raise ValueError("`method: rds` needs target problems. Set `method_args: {queries: FILE}`.")
        if self.pooling not in get_args(Pooling):
            raise ValueError(f"`pooling` must be one of {', '.join(get_args(Pooling))}, got {self.pooling!r}.")
        dataset = read_dataset(self.queries, split=self.query_split)
        if self.query_column not in dataset.column_names:
            raise ValueError(
                f"The queries have no column {self.query_column!r} (`query_column`); their columns are "
                f"{', '.join(dataset.column_names)}."
            )
        self.texts = [str(text) for text in dataset[self.query_column] if text is not None and str(text).strip()]
        if not self.texts:
            raise ValueError(f"The queries {self.queries} have no text in their column {self.query_column!r}.")
        self.targets: np.ndarray | None = None

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"queries_fingerprint": fingerprint(self.texts), "num_queries": len(self.texts)}

    def fit(self, pool: Pool, reference: Reference | None, output_dir: Path) -> None:
        assert reference is not None
        self.target_vectors(reference)

    def target_vectors(self, reference: Reference) -> np.ndarray:
        """The queries' vectors, made once."""
        if self.targets is not None:
            return self.targets
        ids = [self.encode(text, reference) for text in self.texts]
        if not all(ids):
            raise ValueError(f"The query {self.texts[ids.index([])]!r} has no tokens. Take it out of {self.queries}.")
        self.targets = mean_hidden_states(reference, ids, self.pooling, self.max_batch_tokens)
        return self.targets

    @staticmethod
    def encode(text: str, reference: Reference) -> list[int]:
        return encode_prompt(reference.tokenizer, text, "plain", "")

    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        assert reference is not None
        targets = self.target_vectors(reference)
        encoded = [self.encode(example.problem, reference) for example in batch]
        rows: list[dict[str, Any]] = [
            {
                "score": None,
                "status": "truncated" if len(ids) > reference.max_length else "ok" if ids else "empty",
                "num_tokens": min(len(ids), reference.max_length),
                "similarities": None,
            }
            for ids in encoded
        ]
        read = [index for index, ids in enumerate(encoded) if ids]
        texts = [encoded[index][: reference.max_length] for index in read]
        for index, vector in zip(
            read, mean_hidden_states(reference, texts, self.pooling, self.max_batch_tokens), strict=True
        ):
            near = targets @ vector
            if np.isfinite(near).all():
                rows[index] |= {"score": float(near.max()), "similarities": near.tolist()}
            else:
                rows[index]["status"] = "error"
        return rows
