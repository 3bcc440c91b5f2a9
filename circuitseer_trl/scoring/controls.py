"""Scorers that look at no attention: what a method has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.configs import ScoreOn
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.base import Row, Scorer


@dataclass
class ConstantScorer(Scorer):
    """Scores every example 1, so that soft sampling is a uniform draw: the baseline `random`."""

    uses_reference: ClassVar[bool] = False

    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        return [{"score": 1.0, "status": "ok"} for _ in batch]


@dataclass
class LengthScorer(Scorer):
    """Scores an example by its number of tokens: the control for scores that grow with length.

    Attributes:
        length_of: Whose tokens: the problem's, or the solution's.
    """

    length_of: ScoreOn = "problem"

    def score_batch(self, batch: Sequence[Example], reference: Reference | None, heads: HeadSet | None) -> list[Row]:
        assert reference is not None
        texts = [example.problem if self.length_of == "problem" else example.completion for example in batch]
        encoded = reference.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [{"score": float(len(ids)), "status": "ok", "num_tokens": len(ids)} for ids in encoded]
