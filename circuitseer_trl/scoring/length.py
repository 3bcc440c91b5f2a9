"""How long is a text? The control for scores that grow with length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from circuitseer_trl.checks import check_choice
from circuitseer_trl.configs import ScoreOn
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.base import Needs, Row, Scorer


@dataclass
class LengthScorer(Scorer):
    """Scores an example by its number of tokens.

    Attributes:
        length_of: The text that is counted: the problem, or the solution.
    """

    needs: ClassVar[Needs] = "model"
    reads_with: ClassVar[tuple[str, ...]] = ()

    length_of: ScoreOn = "problem"

    def __post_init__(self) -> None:
        check_choice("length_of", self.length_of, ScoreOn)

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        texts = [example.problem if self.length_of == "problem" else example.completion for example in batch]
        encoded = self.reference.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [{"score": float(len(ids)), "status": "ok", "num_tokens": len(ids)} for ids in encoded]
