"""How difficult is a problem? The answer of a model, of a column, or of verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from circuitseer_trl.checks import check_choice
from circuitseer_trl.configs import DifficultySource
from circuitseer_trl.pool.rows import Example, Pool
from circuitseer_trl.scoring.base import Row
from circuitseer_trl.scoring.judge import JudgeScorer
from circuitseer_trl.scoring.pass_rate import PassRate, check_joined, pass_rates_fingerprint, read_pass_rates

# Select2Reason's code, word for word.
DIFFICULTY_PROMPT = "Please judge the difficulty of this instruction and return 1 if difficult or 0 if not."


@dataclass
class DifficultyScorer(JudgeScorer):
    """Scores a problem by the probability that the reference model answers 1 (difficult), not 0 (Select2Reason's code).

    Select2Reason's code takes the two most likely tokens, which need not be labels. This scorer reads the probabilities of the
    two labels, without that code's repetition penalty. `trace_length` is the number of tokens of the solution (that code
    counts characters).

    Attributes:
        deduplicate_steps: Count a repeated step of the solution only once (the paper, as summarised by others). A step is the
            text between blank lines (our reading).
        difficulty: `judge` asks the model. `column`: the joint rank reads the pool's `difficulty_column`, and rows have no
            score. `verdicts`: the score is 1 - the pass rate of an evaluation on the pool.
        verdicts: The evaluation for `difficulty: verdicts`, as in `read_pass_rates`.
    """

    labels: ClassVar[tuple[int, ...]] = (0, 1)
    columns: ClassVar[dict[str, pa.DataType]] = {"valid_mass": pa.float64(), "trace_length": pa.int64()}
    not_in_noise: ClassVar[tuple[str, ...]] = ("verdicts",)

    prompt: str = DIFFICULTY_PROMPT
    deduplicate_steps: bool = False
    difficulty: DifficultySource = "judge"
    verdicts: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("difficulty", self.difficulty, DifficultySource)
        if (self.difficulty == "verdicts") != (self.verdicts is not None):
            raise ValueError(
                "`difficulty: verdicts` and `verdicts` (the evaluation to read) belong together: set both in `method_args`."
            )

    @cached_property
    def rates(self) -> dict[str, PassRate]:
        return read_pass_rates(self.verdicts) if self.verdicts is not None else {}

    def read_inputs(self) -> None:
        self.rates  # noqa: B018

    def parameters(self) -> dict[str, Any]:
        read = {"pass_rates_fingerprint": pass_rates_fingerprint(self.rates)} if self.verdicts is not None else {}
        return super().parameters() | read

    def check(self, pool: Pool) -> None:
        if self.verdicts is not None:
            check_joined(pool, self.rates, self.verdicts)

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        tokenizer = self.reference.tokenizer
        if self.difficulty == "judge":
            rows = super().score_batch(batch)
        else:
            encoded = tokenizer([example.problem for example in batch], add_special_tokens=False)["input_ids"]
            rows = [{"score": None, "status": "ok", "num_tokens": len(ids), "valid_mass": None} for ids in encoded]
            for row, example in zip(rows, batch, strict=True):
                if self.verdicts is not None:
                    rate = self.rates.get(example.uid)
                    row |= {"score": 1 - rate.value} if rate is not None else {"status": "no_verdict"}
        for row, example in zip(rows, batch, strict=True):
            text = example.completion
            if self.deduplicate_steps:
                text = "\n\n".join(dict.fromkeys(text.split("\n\n")))
            row["trace_length"] = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        return rows
