"""Which examples taught a model its answers? Influence of training examples on answers that an evaluation judged."""

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
from circuitseer_trl.configs import PruneStrategy, check_choice, check_count, check_positive
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
    """What the two gradient methods share: examples and answers in one form, and the inner product of their gradients.

    The influence of an example on an answer is how much a small step on the example's mean response loss lowers the answer's
    loss: g_answer^T P g_example, above 0 where it helps.

    Attributes:
        backend: `graddot` has P = 1 (one step of gradient descent); `ekfac` the inverse of the damped curvature (influence
            functions, by the extra `influence`).
        layers: Regular expression of the linear layers' names; by default those of the MLPs.
        damping: Of the curvature; by default 0.1 times the mean of each layer.
        num_factor_rows: The curvature is that of so many rows, drawn by a hash of their names (ours).
        max_queries: Answers of each kind; more are drawn from by a hash of their problems' names.
        max_gradient_tokens: Tokens of one backward pass. It does not change results beyond rounding.
        max_query_gigabytes: Gradients of answers that are held at once; where they need more, rows are read several times.
    """

    needs: ClassVar[Needs] = "gradients"
    reads_with: ClassVar[tuple[str, ...]] = ("probe_format", "system_prompt")

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
        """The answers whose loss is looked at, as the model reads them."""
        encoded = self.reference.encode(
            [Example(-1, each.problem, each.question, each.text) for each in self.all_answers()]
        )
        for item in encoded:
            if item.num_completion_tokens < 1:
                raise ValueError(
                    f"No token is left of the answer to {item.uid}: it is empty, or its question fills all of "
                    f"{self.reference.max_length} tokens. Raise `reference_max_length`, or take it out of the evaluation."
                )
        return encoded

    @property
    def linear_layers(self) -> dict[str, nn.Linear]:
        """The layers of the model that `layers` names."""
        return linear_layers(self.model, self.layers)

    def read_inputs(self) -> None:
        self.all_answers()

    def fit(self, pool: Pool, output_dir: Path) -> None:
        """Fits the curvature, and checks the layers and the answers before any row is read."""
        self.encoded_answers  # noqa: B018
        found = list(self.linear_layers)
        if self.backend == "graddot":
            return
        drawn = sorted(range(len(pool)), key=lambda index: fingerprint(pool.uids[index]))[: self.num_factor_rows]
        encoded = [item for item in self.reference.encode(pool.take(sorted(drawn))) if item.num_completion_tokens > 0]
        if not encoded:
            raise ValueError(
                f"No row that the curvature is fitted on has a token of its solution within {self.reference.max_length} "
                "tokens. Raise `reference_max_length`."
            )
        longest = max(len(item.input_ids) for item in encoded)
        made_from = {
            "pool": pool.fingerprint,
            "model": self.reference.describe(for_scores=True),
            "layers": found,
            "num_factor_rows": self.num_factor_rows,
            "form": self.reference.text_format,
            "system_prompt": self.reference.system_prompt,
        }
        batch_size = max(1, self.max_gradient_tokens // longest)
        self._factors = ekfac.fit_factors(encoded, self.reference, found, batch_size, output_dir, made_from)

    @abstractmethod
    def all_answers(self) -> list[Answer]:
        """The answers whose loss is looked at."""

    def precondition(self, gradients: Gradients) -> Gradients:
        """Gradients multiplied by P, in their place."""
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
        """As for the loss, a row of whose solution truncation left fewer than 16 tokens has no score (our reading)."""
        return [
            index
            for index, item in enumerate(encoded)
            if item.num_completion_tokens >= (MIN_TRUNCATED_TOKENS if item.truncated else 1)
        ]


@dataclass
class InfluenceScorer(GradientScorer):
    """Scores an example by its influence on answers that training turned right and wrong (arXiv 2510.06108).

    Our reading, since the paper was read second-hand: the queries are the trained model's own answers, right ones to problems
    that it got wrong before, and wrong ones to problems that it got right before; influence is on their mean loss per token;
    the model looked into is the trained one. The score, which pruning does not look at, is the mean influence on right
    answers less that on wrong ones. Ranks within an answer need the whole pool: the sampler makes them of the lists.

    Attributes:
        before: Folder of `eval.run` for the model before training.
        after: The same for the model after training, which `reference_model` names.
        strategy: What the sampler is to do, so that missing answers are said before the work. Scores do not depend on it.
    """

    columns: ClassVar[dict[str, pa.DataType]] = {
        "infl_correct": pa.float64(),
        "infl_incorrect": pa.float64(),
        "influences_correct": pa.list_(pa.float64()),
        "influences_incorrect": pa.list_(pa.float64()),
    }

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
        """The answers that are looked at."""
        turned = turned_answers(self.before, self.after)
        for kind, answers in (("correct", turned.right), ("incorrect", turned.wrong)):
            if not answers and self.strategy in (kind, "combined"):
                other = "incorrect" if kind == "correct" else "correct"
                raise ValueError(
                    f"Training turned no problem {'right' if kind == 'correct' else 'wrong'}, which `strategy: "
                    f"{self.strategy}` looks at. Set `method_args: {{strategy: {other}}}`, or evaluate on more problems."
                )
        return Turned(first_by_name(turned.right, self.max_queries), first_by_name(turned.wrong, self.max_queries))

    def parameters(self) -> dict[str, Any]:
        values = {name: value for name, value in super().parameters().items() if name != "strategy"}
        return values | self.describe_answers(turned_right=self.turned.right, turned_wrong=self.turned.wrong)

    def all_answers(self) -> list[Answer]:
        return self.turned.right + self.turned.wrong

    @cached_property
    def group_size(self) -> int:
        """So many answers' gradients may be held at once."""
        model = self.reference.checked_model(self.encoded_answers, for_scores=True)
        bytes_each = num_parameters(self.linear_layers) * max(4, model.dtype.itemsize)
        return max(1, int(self.max_query_gigabytes * 1e9 / bytes_each))

    def gradients(self, part: slice) -> Gradients:
        """The gradients of some answers."""
        queries = self.encoded_answers[part]
        found = query_gradients(self.model, self.linear_layers, queries, "mean", self.max_gradient_tokens)
        return self.precondition(found)

    @cached_property
    def all_gradients(self) -> Gradients:
        return self.gradients(slice(None))

    def groups(self) -> Iterator[tuple[slice, Gradients]]:
        """The answers' gradients, as many at a time as may be held; where that is all of them they stay for the next batch."""
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
