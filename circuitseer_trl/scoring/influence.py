"""Which examples taught a model its answers? Influence of training examples on answers that an evaluation judged."""

import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.configs import SYSTEM_PROMPT, PruneStrategy, TextFormat, check_choice, check_count
from circuitseer_trl.modeling import ekfac
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.gradients import Gradients, influences, linear_layers, num_parameters, query_gradients
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.modeling.stored_losses import MIN_TRUNCATED_TOKENS, checked_model, encode_all, probe_form
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Row, Scorer
from circuitseer_trl.scoring.judged_answers import Answer, first_by_name, turned_answers

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
        probe_format: Form in which the model reads rows and answers; by default chat if the tokenizer has a template.
        system_prompt: For the chat form.
        max_gradient_tokens: Tokens of one backward pass. It does not change results beyond rounding.
        max_query_gigabytes: Gradients of answers that are held at once; where they need more, rows are read several times.
    """

    uses_gradients: ClassVar[bool] = True

    backend: Backend = "graddot"
    layers: str = MLP_LAYERS
    damping: float | None = None
    num_factor_rows: int = 1000
    max_queries: int | None = None
    probe_format: TextFormat | None = None
    system_prompt: str = SYSTEM_PROMPT
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
        for name in ("damping", "max_query_gigabytes"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or not value > 0):
                raise ValueError(f"`{name}` must be a number above 0, got {value!r}.")
        check_count("num_factor_rows", self.num_factor_rows, smallest=2)
        check_count("max_gradient_tokens", self.max_gradient_tokens)
        if self.max_queries is not None:
            check_count("max_queries", self.max_queries)
        self.factors: Path | None = None

    def describe_answers(self, **kinds: list[Answer]) -> dict[str, Any]:
        texts = {name: [[answer.question, answer.text] for answer in answers] for name, answers in kinds.items()}
        counts = {f"num_{name}": len(answers) for name, answers in kinds.items()}
        return counts | {"answers_fingerprint": fingerprint(texts)}

    def encode(self, examples: Sequence[Example], reference: Reference) -> list[EncodedExample]:
        return encode_all(list(examples), reference, self.probe_format, self.system_prompt)

    def encode_answers(self, answers: Sequence[Answer], reference: Reference) -> list[EncodedExample]:
        encoded = self.encode([Example(-1, each.problem, each.question, each.text) for each in answers], reference)
        for item in encoded:
            if item.num_completion_tokens < 1:
                raise ValueError(
                    f"No token is left of the answer to {item.uid}: it is empty, or its question fills all of "
                    f"{reference.max_length} tokens. Raise `reference_max_length`, or take it out of the evaluation."
                )
        return encoded

    def fit(self, pool: Pool, reference: Reference | None, output_dir: Path) -> None:
        """Fits the curvature, and checks the layers and the answers before any row is read."""
        assert reference is not None
        self.encode_answers(self.all_answers(), reference)
        found = linear_layers(reference.model(for_scores=True), self.layers)
        if self.backend == "graddot":
            return
        drawn = sorted(range(len(pool)), key=lambda index: fingerprint(pool.uids[index]))[: self.num_factor_rows]
        encoded = [item for item in self.encode(pool.take(sorted(drawn)), reference) if item.num_completion_tokens > 0]
        if not encoded:
            raise ValueError(
                f"No row that the curvature is fitted on has a token of its solution within {reference.max_length} tokens. "
                "Raise `reference_max_length`."
            )
        longest = max(len(item.input_ids) for item in encoded)
        made_from = {
            "pool": pool.fingerprint,
            "model": reference.describe(for_scores=True),
            "layers": list(found),
            "num_factor_rows": self.num_factor_rows,
            "form": probe_form(reference, self.probe_format),
            "system_prompt": self.system_prompt,
        }
        batch_size = max(1, self.max_gradient_tokens // longest)
        self.factors = ekfac.fit_factors(encoded, reference, list(found), batch_size, Path(output_dir), made_from)

    @abstractmethod
    def all_answers(self) -> list[Answer]:
        """The answers whose loss is looked at."""

    def seen_through_curvature(self, gradients: Gradients) -> Gradients:
        if self.backend == "graddot":
            return gradients
        if self.factors is None:
            raise ValueError("The curvature is not fitted. Call `fit` before `score_batch`.")
        return ekfac.precondition(gradients, self.factors, self.damping)

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
                "`output_dir`s of `python -m eval.run` for the model before and after training."
            )
        turned = turned_answers(self.before, self.after)
        for kind, answers in (("correct", turned.right), ("incorrect", turned.wrong)):
            if not answers and self.strategy in (kind, "combined"):
                other = "incorrect" if kind == "correct" else "correct"
                raise ValueError(
                    f"Training turned no problem {'right' if kind == 'correct' else 'wrong'}, which `strategy: "
                    f"{self.strategy}` looks at. Set `method_args: {{strategy: {other}}}`, or evaluate on more problems."
                )
        self.right = first_by_name(turned.right, self.max_queries)
        self.wrong = first_by_name(turned.wrong, self.max_queries)
        self._held: Gradients | None = None

    def parameters(self) -> dict[str, Any]:
        values = {name: value for name, value in super().parameters().items() if name != "strategy"}
        return values | self.describe_answers(turned_right=self.right, turned_wrong=self.wrong)

    def all_answers(self) -> list[Answer]:
        return self.right + self.wrong

    def groups(self, reference: Reference) -> Iterator[tuple[slice, Gradients]]:
        """The answers' gradients, as many at a time as may be held; one group stays for the next batch."""
        if self._held is not None:
            yield slice(0, len(self.all_answers())), self._held
            return
        queries = self.encode_answers(self.all_answers(), reference)
        model = checked_model(reference, queries, for_scores=True)
        found = linear_layers(model, self.layers)
        bytes_each = num_parameters(found) * max(4, model.dtype.itemsize)
        size = max(1, int(self.max_query_gigabytes * 1e9 / bytes_each))
        for start in range(0, len(queries), size):
            part = slice(start, min(start + size, len(queries)))
            gradients = query_gradients(model, found, queries[part], "mean", self.max_gradient_tokens)
            gradients = self.seen_through_curvature(gradients)
            if size >= len(queries):
                self._held = gradients
            yield part, gradients
            del gradients

    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        assert reference is not None
        encoded = self.encode(batch, reference)
        rows, scored = self.unscored_rows(encoded), self.scorable(encoded)
        if not scored:
            return rows
        values = np.zeros((len(scored), len(self.all_answers())))
        for part, gradients in self.groups(reference):
            model = reference.model(for_scores=True)
            found = linear_layers(model, self.layers)
            examples = [encoded[index] for index in scored]
            values[:, part] = influences(model, found, gradients, examples, self.max_gradient_tokens)
        for index, row in zip(scored, values, strict=True):
            if not np.isfinite(row).all():
                rows[index]["status"] = "error"
                continue
            right, wrong = row[: len(self.right)], row[len(self.right) :]
            means = [float(part.mean()) if len(part) else None for part in (right, wrong)]
            rows[index] |= {
                "score": (means[0] or 0.0) - (means[1] or 0.0),
                "infl_correct": means[0],
                "infl_incorrect": means[1],
                "influences_correct": right.tolist(),
                "influences_incorrect": wrong.tolist(),
            }
        return rows
