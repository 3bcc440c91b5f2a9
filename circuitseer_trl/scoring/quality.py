"""How good is a pair of problem and solution? The rating of a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import pyarrow as pa

from circuitseer_trl.checks import check_choice, check_count
from circuitseer_trl.configs import ScoreOn
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.base import Row
from circuitseer_trl.scoring.judge import JudgeScorer
from circuitseer_trl.scoring.rating import greedy_answers, read_rating

# The papers that compare with "Quality" print no prompt: this one is ours.
QUALITY_PROMPT = (
    "You rate training data. Read the mathematics problem and the solution, and rate the quality of the pair: is the problem "
    "clear, is the solution correct, complete and well explained? Answer with one digit from 1 (bad) to 5 (excellent) and "
    "nothing else."
)


QualityMode = Literal["expectation", "generate"]


@dataclass
class QualityScorer(JudgeScorer):
    """Scores problem and solution by the reference model's rating from 1 to 5 (the baseline Quality; the prompt is ours).

    Attributes:
        mode: `expectation` is over the five labels at the answer's first token. `generate` takes the paper literally: the model
            generates an answer greedily, and the score is the rating in it. If the answer has no rating, the row has no score
            and the status `no_rating`.
        max_new_tokens: Largest number of tokens of an answer in the mode `generate`.
    """

    labels: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5)
    judges: ClassVar[ScoreOn] = "solution"
    columns: ClassVar[dict[str, pa.DataType]] = {"valid_mass": pa.float64(), "answer": pa.string()}

    prompt: str = QUALITY_PROMPT
    mode: QualityMode = "expectation"
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mode", self.mode, QualityMode)
        check_count("max_new_tokens", self.max_new_tokens)

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        if self.mode == "expectation":
            return [row | {"answer": None} for row in super().score_batch(batch)]
        prompts = [self.encode(example) for example in batch]
        ids = [prompt for prompt, _ in prompts]
        tokenizer = self.reference.tokenizer
        answers = greedy_answers(self.model, tokenizer, ids, self.max_new_tokens, self.reference.batch_tokens)
        rows: list[Row] = []
        for example, (_, truncated), answer in zip(batch, prompts, answers, strict=True):
            rating = read_rating(answer)
            tokens = len(tokenizer(example.completion, add_special_tokens=False)["input_ids"])
            status = "no_rating" if rating is None else "truncated" if truncated else "ok"
            rows.append({"score": rating, "status": status, "num_tokens": tokens, "valid_mass": None, "answer": answer})
        return rows
