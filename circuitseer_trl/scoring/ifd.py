"""How little does the problem help the reference model to predict the solution? Instruction-following difficulty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from circuitseer_trl.checks import check_positive
from circuitseer_trl.modeling.encoding import EncodedExample, chat_text, encode_prompt
from circuitseer_trl.modeling.losses import response_losses
from circuitseer_trl.pool.chat import PLAIN_HEADER
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.base import Row
from circuitseer_trl.scoring.diagnostics import quantiles
from circuitseer_trl.scoring.max_loss import MaxLossScorer


def answer_header(tokenizer: PreTrainedTokenizerBase, prompt_format: str) -> list[int]:
    """Token ids before a solution that is read without its problem. They give its first token a context.

    Cherry_LLM's code has `### Response:` there. Our reading for other templates: the assistant's header in the chat format,
    the plain form's last line in the plain format. The start token comes first if the prompt has one.
    """
    if prompt_format == "plain":
        return encode_prompt(tokenizer, PLAIN_HEADER, "plain", "")
    turn = [{"role": "user", "content": "1"}]
    open_turn, closed_turn = (chat_text(tokenizer, turn, add_generation_prompt=flag) for flag in (True, False))
    if not open_turn.startswith(closed_turn) or open_turn == closed_turn:
        raise ValueError(
            f"The chat template of {tokenizer.name_or_path} has no separate header for the assistant's turn. IFD needs one, to "
            "put it before a solution without its problem. Set `probe_format: plain`."
        )
    header = tokenizer(open_turn[len(closed_turn) :], add_special_tokens=False)["input_ids"]
    starts = tokenizer.bos_token is not None and open_turn.startswith(tokenizer.bos_token)
    return [tokenizer.bos_token_id, *header] if starts else header


@dataclass
class IFDScorer(MaxLossScorer):
    """Scores an example by its loss with the problem divided by its loss without it (Li et al. 2023, arXiv 2308.12032).

    Both are mean losses over the same tokens of the solution, not perplexities, as in the authors' code (Cherry_LLM). In a row
    above 1 the problem makes the solution less likely. Rows above `max_ifd` have no score and the status `above_max`, and the
    card counts them. The paper trains a "pre-experienced" model first; this scorer does not, as in later papers.

    Attributes:
        max_ifd: Rows with a larger ratio get no score; None keeps all rows.
    """

    columns: ClassVar[dict[str, pa.DataType]] = {
        "ifd": pa.float64(),
        "loss_nats": pa.float64(),
        "loss_without_problem_nats": pa.float64(),
    }

    max_ifd: float | None = 1.0

    def __post_init__(self) -> None:
        if self.max_ifd is not None:
            check_positive("max_ifd", self.max_ifd)

    def score_batch(self, batch: Sequence[Example]) -> list[Row]:
        rows = super().score_batch(batch)
        header = answer_header(self.reference.tokenizer, self.reference.text_format)
        encoded = self.reference.encode(batch)
        scored = [index for index, row in enumerate(rows) if row["score"] is not None]
        alone = [without_problem(encoded[index], header) for index in scored]
        losses = response_losses(self.model, alone, self.reference.batch_tokens)
        for index, without in zip(scored, losses, strict=True):
            ratio = rows[index]["loss_nats"] / without if without > 0 else math.nan  # type: ignore[operator]
            rows[index] |= {"score": ratio, "ifd": ratio, "loss_without_problem_nats": without}
            if not math.isfinite(ratio):
                rows[index] |= {"score": None, "ifd": None, "status": "error"}
            elif self.max_ifd is not None and ratio > self.max_ifd:
                rows[index] |= {"score": None, "status": "above_max"}
        for row in rows:
            for name in self.columns:
                row.setdefault(name, None)
        return rows

    def summary(self, table: pa.Table) -> dict[str, Any]:
        """The spread of all ratios, with those above `max_ifd`. On long solutions all are near 1, and their order is noise."""
        ratios = table["ifd"].to_numpy()
        ratios = ratios[np.isfinite(ratios)]
        if not len(ratios):
            return {"ifd": None}
        low, high = np.quantile(ratios, [0.25, 0.75])
        return {
            "ifd": {
                "num_above_max": 0 if self.max_ifd is None else int((ratios > self.max_ifd).sum()),
                "standard_deviation": float(ratios.std()),
                "interquartile_range": float(high - low),
                "quantiles": quantiles(ratios),
            }
        }


def without_problem(example: EncodedExample, header: Sequence[int]) -> EncodedExample:
    """Replaces the prompt of an example by a header. The tokens of the solution stay the same."""
    answer = example.input_ids[example.num_prompt_tokens :]
    return EncodedExample(example.uid, (*header, *answer), len(header), example.truncated)
