"""How much did each row, reasoning step and token help a model's right answers? The influence of Infra."""

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from circuitseer_trl.checks import check_choice
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.gradients import Gradients, mean_gradient, token_influences
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.base import Row
from circuitseer_trl.scoring.influence import GradientScorer
from circuitseer_trl.scoring.judged_answers import Answer, first_by_name, right_answers

Level = Literal["example", "span", "token"]

BLANK_LINE = re.compile(r"\n\s*\n\s*")


def step_starts(text: str) -> list[int]:
    """Positions of the first character of each reasoning step: the start of the text, and after each blank line."""
    return [0, *(match.end() for match in BLANK_LINE.finditer(text) if 0 < match.end() < len(text))]


@dataclass
class InfraScorer(GradientScorer):
    """Scores an example by its influence on the log-probability of right answers (Infra, arXiv 2505.19949).

    f = (1/n) sum log p(answer | question) over the right answers of one evaluation; a log-probability is a sum over tokens. An
    example's influence on f is the sum of the parts of its positions. The part of a position comes from the inputs of the
    layers at that position, through the losses there and at all later positions. A reasoning step is the text up to a blank
    line (our reading).

    Attributes:
        evaluation: Output folder of an evaluation of the model that `reference_model` names.
        level: The parts that are stored. `example` stores none. `span` stores `span_influence`: one number for the prompt and
            one for each step. `token` stores `token_influence` as well: one number for each token.
    """

    columns: ClassVar[dict[str, pa.DataType]] = {
        "span_influence": pa.list_(pa.float64()),
        "token_influence": pa.list_(pa.float64()),
    }
    not_in_noise: ClassVar[tuple[str, ...]] = (*GradientScorer.not_in_noise, "evaluation")

    evaluation: str = ""
    level: Level = "span"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("level", self.level, Level)
        if not self.evaluation:
            raise ValueError(
                "`method: infra` needs an evaluation. Set `method_args: {evaluation: FOLDER}` to the `output_dir` of "
                "`circuitseer evaluate`."
            )

    @cached_property
    def right(self) -> list[Answer]:
        """The right answers of the evaluation, at most `max_queries`."""
        return first_by_name(right_answers(self.evaluation), self.max_queries)

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | self.describe_answers(right=self.right)

    def all_answers(self) -> list[Answer]:
        return self.right

    @cached_property
    def gradient(self) -> Gradients:
        """The gradient of -f."""
        queries = self.encoded_answers
        model = self.reference.checked_model(queries, for_scores=True)
        return self.precondition(mean_gradient(model, self.linear_layers, queries, "sum", self.max_gradient_tokens))

    def token_parts(self, encoded: Sequence[EncodedExample]) -> list[np.ndarray]:
        """Each position's part of each example's influence."""
        return token_influences(self.model, self.linear_layers, self.gradient, encoded, self.max_gradient_tokens)

    def step_of_token(self, example: Example, encoded: EncodedExample) -> list[int]:
        """The step of each token, from 1; 0 for tokens of the prompt. A token belongs to the step in which it starts."""
        tokenizer = self.reference.tokenizer
        if not tokenizer.is_fast:
            raise ValueError(
                f"The tokenizer of {self.reference.name} gives no positions of its tokens in the text. Set `level: example`."
            )
        places = tokenizer(example.completion, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        starts = step_starts(example.completion)
        steps = [bisect.bisect_right(starts, start) for start, _ in places[: encoded.num_completion_tokens]]
        return [0] * encoded.num_prompt_tokens + steps

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        encoded = self.reference.encode(batch)
        rows, scored = self.unscored_rows(encoded), self.scorable(encoded)
        parts = self.token_parts([encoded[index] for index in scored]) if scored else []
        for index, tokens in zip(scored, parts, strict=True):
            if not np.isfinite(tokens).all():
                rows[index]["status"] = "error"
                continue
            rows[index]["score"] = float(tokens.sum())
            if self.level != "example":
                steps = self.step_of_token(batch[index], encoded[index])
                rows[index]["span_influence"] = np.bincount(steps, weights=tokens).tolist()
            if self.level == "token":
                rows[index]["token_influence"] = tokens.tolist()
        return rows
