"""Would training on a row change the model as training on a target would? The similarity of gradients (LESS's idea)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from torch import nn

from circuitseer_trl.artifacts import fingerprint, read_table
from circuitseer_trl.checks import check_count
from circuitseer_trl.circuits.circuit_weights import circuit_parts
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.gradients import linear_layers
from circuitseer_trl.modeling.projected_gradients import Projection, projected_gradients
from circuitseer_trl.modeling.stored_losses import MIN_TRUNCATED_TOKENS
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.pool.sources import read_dataset
from circuitseer_trl.pool.texts import texts_of
from circuitseer_trl.scoring.base import Needs, Row, Scorer
from circuitseer_trl.scoring.fitted import fitted_file


@dataclass
class GradientSimilarityScorer(Scorer):
    """Scores a row by the cosine similarity of its gradient to those of target problems (after LESS, arXiv 2402.04333).

    A gradient is that of the mean response loss, by the weights of the linear layers, after a fixed random projection. LESS
    takes a LoRA's weights at several checkpoints and the moments of Adam for the pool's rows; both are left out here.
    `similarities` has a number for each target, for the round-robin sampler; the score is the largest.

    Attributes:
        queries: A dataset of target problems with solutions: a local file or folder, or a Hub id. Do not use a benchmark that you
            report.
        query_column, query_solution_column: Its columns.
        query_split: Its split.
        layers: Regular expression that matches the names of linear layers; the default is those of all decoder layers.
        projection_size: A layer's gradient becomes a matrix of so many rows and columns; None keeps it whole.
        max_gradient_tokens: Tokens of one backward pass. It changes results by no more than rounding.
    """

    needs: ClassVar[Needs] = "gradients"
    signed: ClassVar[bool] = True
    reads_with: ClassVar[tuple[str, ...]] = ("probe_format", "system_prompt", "chat_date")
    columns: ClassVar[dict[str, pa.DataType]] = {"similarities": pa.list_(pa.float64())}
    not_in_noise: ClassVar[tuple[str, ...]] = ("queries", "max_gradient_tokens")

    queries: str = ""
    query_column: str = "problem"
    query_solution_column: str = "solution"
    query_split: str = "train"
    layers: str = r"layers\.\d+\."
    projection_size: int | None = 16
    max_gradient_tokens: int = 1024

    def __post_init__(self) -> None:
        if not self.queries:
            raise ValueError("The gradients need target problems with solutions. Set `method_args: {queries: FILE}`.")
        try:
            re.compile(self.layers)
        except re.error as error:
            raise ValueError(f"`layers` must be a regular expression, got {self.layers!r}: {error}.") from None
        if self.projection_size is not None:
            check_count("projection_size", self.projection_size)
        check_count("max_gradient_tokens", self.max_gradient_tokens)

    @cached_property
    def targets(self) -> list[Example]:
        """The target problems with their solutions."""
        dataset = read_dataset(self.queries, split=self.query_split)
        for key, column in (
            ("query_column", self.query_column),
            ("query_solution_column", self.query_solution_column),
        ):
            if column not in dataset.column_names:
                raise ValueError(
                    f"The queries have no column {column!r} (`{key}`); their columns are {', '.join(dataset.column_names)}."
                )
        problems, solutions = (
            texts_of(dataset, column, self.queries) for column in (self.query_column, self.query_solution_column)
        )
        pairs = [pair for pair in zip(problems, solutions, strict=True) if all(text.strip() for text in pair)]
        if not pairs:
            raise ValueError(f"The queries {self.queries} have no row with a problem and a solution.")
        return [Example(number, f"query-{number}", *pair) for number, pair in enumerate(pairs)]

    def read_inputs(self) -> None:
        self.targets  # noqa: B018

    def parameters(self) -> dict[str, Any]:
        texts = [[example.problem, example.completion] for example in self.targets]
        return super().parameters() | {"queries_fingerprint": fingerprint(texts), "num_queries": len(texts)}

    @cached_property
    def projection(self) -> Projection:
        return Projection(self.projection_size)

    @property
    def linear_layers(self) -> dict[str, nn.Linear]:
        """The layers whose gradients are compared."""
        return linear_layers(self.model, self.layers)

    def fit(self, pool: Pool, output_dir: Path) -> None:
        made_from = {
            "model": self.reference.describe(for_scores=True),
            "parameters": self.parameters(),
            "layers": list(self.linear_layers),
            "heads": self._heads and [list(head) for head in self._heads.selected],
        }
        self._vectors = fitted_file(output_dir, "queries", made_from, self._target_gradients)

    def _target_gradients(self) -> pa.Table:
        encoded = self.reference.encode(self.targets)
        for example, item in zip(self.targets, encoded, strict=True):
            if item.num_completion_tokens < 1:
                raise ValueError(
                    f"The query {example.problem[:60]!r} fills all {self.reference.max_tokens} tokens, so nothing of its "
                    f"solution is left. Take it out of {self.queries}, or raise `reference_max_length`."
                )
        vectors = self._gradients(encoded)
        lengths = np.linalg.norm(vectors, axis=1)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise ValueError(
                f"The gradient of the query {self.targets[int(np.argmin(lengths))].problem[:60]!r} is 0 or not finite. Take it "
                f"out of {self.queries}."
            )
        return pa.table({"vector": list(vectors / lengths[:, None])})

    @cached_property
    def directions(self) -> np.ndarray:
        """The targets' gradients, scaled to length 1; shape `(Q, numbers)`."""
        return np.array(read_table(self._vectors)["vector"].to_pylist())

    def _gradients(self, encoded: Sequence[EncodedExample]) -> np.ndarray:
        return projected_gradients(self.model, self.linear_layers, encoded, self.projection, self.max_gradient_tokens)

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        encoded = self.reference.encode(batch)
        rows: list[Row] = [
            {
                "score": None,
                "status": "truncated" if item.truncated else "ok",
                "num_tokens": item.num_completion_tokens,
                "similarities": None,
            }
            for item in encoded
        ]
        scored = [
            index
            for index, item in enumerate(encoded)
            if item.num_completion_tokens >= (MIN_TRUNCATED_TOKENS if item.truncated else 1)
        ]
        if not scored:
            return rows
        for index, vector in zip(scored, self._gradients([encoded[index] for index in scored]), strict=True):
            length = np.linalg.norm(vector)
            if not (np.isfinite(length) and length > 0):
                rows[index]["status"] = "error"
                continue
            near = self.directions @ vector / length
            rows[index] |= {"score": float(near.max()), "similarities": near.tolist()}
        return rows


@dataclass
class CircuitGradientScorer(GradientSimilarityScorer):
    """The same with the gradients by the weights of the run's heads alone (ours)."""

    needs: ClassVar[Needs] = "heads"

    @cached_property
    def projection(self) -> Projection:
        return Projection(self.projection_size, circuit_parts(self.model, self.heads.selected))

    @property
    def linear_layers(self) -> dict[str, nn.Linear]:
        modules = dict(self.model.named_modules())
        return {name: modules[name] for name in self.projection.parts}  # type: ignore[misc]
