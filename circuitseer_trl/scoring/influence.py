"""Which examples taught a model its answers? The influence of training examples on the answers of an evaluation."""

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from torch import nn

from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.checks import check_choice, check_count, check_positive
from circuitseer_trl.configs import PruneStrategy
from circuitseer_trl.modeling import ekfac
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.gradients import Gradients, influences, linear_layers, num_parameters, query_gradients
from circuitseer_trl.modeling.stored_losses import MIN_TRUNCATED_TOKENS
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Needs, Row, Scorer
from circuitseer_trl.scoring.judged_answers import Answer, Turned, first_by_name, turned_answers

Backend = Literal["graddot", "ekfac"]

MLP_LAYERS = r"\.(mlp|feed_forward|ffn)\."


@dataclass
class GradientScorer(Scorer):
    """The common part of the two gradient methods: encoded answers, and the settings of the inner product of gradients.

    The influence of an example on an answer is the amount by which a small step on the example's mean response loss lowers the
    answer's loss: g_answer^T P g_example. It is above 0 if the example helps.

    Attributes:
        backend: `graddot` has P = 1 (one step of gradient descent). `ekfac` has the inverse of the damped curvature (influence
            functions; needs the extra `influence`).
        layers: Regular expression that matches the names of linear layers; the default is the MLPs.
        damping: Added to the curvature of the rows' mean loss per token; None is 0.1 times the mean of each layer.
        num_factor_rows: Number of rows that the curvature is fitted on, drawn by a hash of their uids (ours).
        max_queries: Largest number of answers of each kind, drawn by a hash of their problems' names; None takes all.
        max_gradient_tokens: Tokens of one backward pass. It changes results by no more than rounding.
        max_query_gigabytes: Memory for the gradients of answers. If they need more, the rows are read several times.
    """

    signed: ClassVar[bool] = True
    needs: ClassVar[Needs] = "gradients"
    reads_with: ClassVar[tuple[str, ...]] = ("probe_format", "system_prompt", "chat_date")
    not_in_noise: ClassVar[tuple[str, ...]] = ("max_gradient_tokens", "max_query_gigabytes")

    backend: Backend = "graddot"
    layers: str = MLP_LAYERS
    damping: float | None = None
    num_factor_rows: int = 1000
    max_queries: int | None = None
    max_gradient_tokens: int = 1024
    max_query_gigabytes: float = 8.0

    def __post_init__(self) -> None:
        check_choice("backend", self.backend, Backend)
        try:
            re.compile(self.layers)
        except re.error as error:
            raise ValueError(f"`layers` must be a regular expression, got {self.layers!r}: {error}.") from None
        if self.backend == "ekfac":
            ekfac.check_installed()
        if self.damping is not None:
            check_positive("damping", self.damping)
        check_positive("max_query_gigabytes", self.max_query_gigabytes)
        check_count("num_factor_rows", self.num_factor_rows, smallest=2)
        check_count("max_gradient_tokens", self.max_gradient_tokens)
        if self.max_queries is not None:
            check_count("max_queries", self.max_queries)

    def describe_answers(self, **kinds: list[Answer]) -> dict[str, Any]:
        texts = {name: [[answer.question, answer.text] for answer in answers] for name, answers in kinds.items()}
        counts = {f"num_{name}": len(answers) for name, answers in kinds.items()}
        return counts | {"answers_fingerprint": fingerprint(texts)}

    @cached_property
    def encoded_answers(self) -> list[EncodedExample]:
        """The tokens of all answers, each with its question."""
        encoded = self.reference.encode(
            [Example(-1, each.problem, each.question, each.text) for each in self.all_answers()]
        )
        for item in encoded:
            if item.num_completion_tokens < 1:
                raise ValueError(
                    f"No token is left of the answer to {item.uid}: it is empty, or its question fills all "
                    f"{self.reference.max_tokens} tokens. Raise `reference_max_length`, or take it out of the evaluation."
                )
        return encoded

    @property
    def linear_layers(self) -> dict[str, nn.Linear]:
        """The layers of the model whose names match `layers`."""
        return linear_layers(self.model, self.layers)

    def read_inputs(self) -> None:
        self.all_answers()

    def fit(self, pool: Pool, output_dir: Path) -> None:
        """Checks the layers and the answers before any row is read, and fits the curvature."""
        self.encoded_answers  # noqa: B018
        found = list(self.linear_layers)
        if self.backend == "graddot":
            return
        drawn = sorted(range(len(pool)), key=lambda index: fingerprint(pool.uids[index]))[: self.num_factor_rows]
        encoded = [item for item in self.reference.encode(pool.take(sorted(drawn))) if item.num_completion_tokens > 0]
        if not encoded:
            raise ValueError(
                f"The curvature cannot be fitted: none of its rows has a token of the solution within the first "
                f"{self.reference.max_tokens} tokens. Raise `reference_max_length`."
            )
        longest = max(len(item.input_ids) for item in encoded)
        made_from = {
            "pool": pool.fingerprint,
            "model": self.reference.describe(for_scores=True),
            "layers": found,
            "num_factor_rows": self.num_factor_rows,
            **self.reference.form(),
        }
        batch_size = max(1, self.max_gradient_tokens // longest)
        self._factors = ekfac.fit_factors(encoded, self.reference, found, batch_size, output_dir, made_from)

    @abstractmethod
    def all_answers(self) -> list[Answer]:
        """The answers that the influence is computed for."""

    def precondition(self, gradients: Gradients) -> Gradients:
        """Multiplies gradients by P, in place."""
        if self.backend == "graddot":
            return gradients
        return ekfac.precondition(gradients, self._factors, self.damping)

    def unscored_rows(self, encoded: Sequence[EncodedExample]) -> list[dict[str, Any]]:
        return [
            {"score": None, "status": "truncated" if item.truncated else "ok", "num_tokens": item.num_completion_tokens}
            | dict.fromkeys(self.columns)
            for item in encoded
        ]

    @staticmethod
    def scorable(encoded: Sequence[EncodedExample]) -> list[int]:
        """Indices of the examples that get a score: a truncated solution needs 16 tokens, as for the loss (our reading)."""
        return [
            index
            for index, item in enumerate(encoded)
            if item.num_completion_tokens >= (MIN_TRUNCATED_TOKENS if item.truncated else 1)
        ]


@dataclass
class InfluenceScorer(GradientScorer):
    """Scores an example by its influence on answers that training turned right or wrong (arXiv 2510.06108).

    Our reading, from summaries of the paper: the queries are answers of the trained model. They are its right answers to
    problems that it got wrong before training, and its wrong answers to problems that it got right before. Influence is on
    the mean loss per token of an answer, and the gradients are those of the trained model. The score is the mean influence on
    right answers minus the mean influence on wrong ones. Pruning does not use the score: the sampler ranks the rows for each
    answer by the lists, which needs the whole pool.

    Attributes:
        before: Output folder of the evaluation of the model before training.
        after: Output folder of the evaluation of the model after training, which `reference_model` names.
        strategy: The sampler's strategy. It lets missing answers be reported before the work; scores do not depend on it.
    """

    columns: ClassVar[dict[str, pa.DataType]] = {
        "infl_correct": pa.float64(),
        "infl_incorrect": pa.float64(),
        "influences_correct": pa.list_(pa.float64()),
        "influences_incorrect": pa.list_(pa.float64()),
    }
    not_in_noise: ClassVar[tuple[str, ...]] = (*GradientScorer.not_in_noise, "before", "after")

    before: str = ""
    after: str = ""
    strategy: PruneStrategy = "combined"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("strategy", self.strategy, PruneStrategy)
        if not self.before or not self.after:
            raise ValueError(
                "`method: influence` needs two evaluations. Set `method_args: {before: FOLDER, after: FOLDER}` to the "
                "`output_dir`s of `circuitseer evaluate` for the model before and after training."
            )

    @cached_property
    def turned(self) -> Turned:
        """The answers that the influence is computed for, by kind."""
        turned = turned_answers(self.before, self.after)
        for kind, answers in (("correct", turned.right), ("incorrect", turned.wrong)):
            if not answers and self.strategy in (kind, "combined"):
                other = "incorrect" if kind == "correct" else "correct"
                raise ValueError(
                    f"Training turned no problem {'right' if kind == 'correct' else 'wrong'}, but `strategy: "
                    f"{self.strategy}` needs one. Set `method_args: {{strategy: {other}}}`, or evaluate on more problems."
                )
        return Turned(first_by_name(turned.right, self.max_queries), first_by_name(turned.wrong, self.max_queries))

    def parameters(self) -> dict[str, Any]:
        values = {name: value for name, value in super().parameters().items() if name != "strategy"}
        return values | self.describe_answers(turned_right=self.turned.right, turned_wrong=self.turned.wrong)

    def all_answers(self) -> list[Answer]:
        return self.turned.right + self.turned.wrong

    @cached_property
    def group_size(self) -> int:
        """Number of answers whose gradients fit into `max_query_gigabytes`."""
        model = self.reference.checked_model(self.encoded_answers, for_scores=True)
        bytes_each = num_parameters(self.linear_layers) * max(4, model.dtype.itemsize)
        return max(1, int(self.max_query_gigabytes * 1e9 / bytes_each))

    def gradients(self, part: slice) -> Gradients:
        """Gradients of the answers in `part`, multiplied by P."""
        queries = self.encoded_answers[part]
        found = query_gradients(self.model, self.linear_layers, queries, "mean", self.max_gradient_tokens)
        return self.precondition(found)

    @cached_property
    def all_gradients(self) -> Gradients:
        return self.gradients(slice(None))

    def groups(self) -> Iterator[tuple[slice, Gradients]]:
        """The gradients of the answers, one group at a time. If all fit into memory, they stay there for the next batch."""
        number, size = len(self.encoded_answers), self.group_size
        if size >= number:
            yield slice(0, number), self.all_gradients
            return
        for start in range(0, number, size):
            part = slice(start, min(start + size, number))
            yield part, self.gradients(part)

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        encoded = self.reference.encode(batch)
        rows, scored = self.unscored_rows(encoded), self.scorable(encoded)
        if not scored:
            return rows
        examples = [encoded[index] for index in scored]
        values = np.zeros((len(scored), len(self.encoded_answers)))
        for part, gradients in self.groups():
            values[:, part] = influences(self.model, self.linear_layers, gradients, examples, self.max_gradient_tokens)
        for index, row in zip(scored, values, strict=True):
            if not np.isfinite(row).all():
                rows[index]["status"] = "error"
                continue
            right, wrong = np.split(row, [len(self.turned.right)])
            means = [float(part.mean()) if len(part) else None for part in (right, wrong)]
            rows[index] |= {
                "score": (means[0] or 0.0) - (means[1] or 0.0),
                "infl_correct": means[0],
                "infl_incorrect": means[1],
                "influences_correct": right.tolist(),
                "influences_incorrect": wrong.tolist(),
            }
        return rows
