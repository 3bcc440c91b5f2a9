"""Which tokens of one example taught the model its right answers? Its influence, step by step and token by token."""

from dataclasses import dataclass

import numpy as np

from circuitseer_trl.data import Example
from circuitseer_trl.models import Reference
from circuitseer_trl.scoring.explain import BAR, bar, share, visible
from circuitseer_trl.scoring.infra import InfraScorer


@dataclass(frozen=True)
class InfluenceExplanation:
    """One example's influence, taken apart.

    Attributes:
        example: The row of the pool.
        tokens: Prompt and completion, as text.
        parts (`np.ndarray` of shape `(T,)`): Each position's part.
        steps: The step of each token, from 1; 0 for the prompt.
    """

    example: Example
    tokens: list[str]
    parts: np.ndarray
    steps: list[int]

    @property
    def score(self) -> float:
        return float(self.parts.sum())


def explain_influence(example: Example, reference: Reference, scorer: InfraScorer) -> InfluenceExplanation:
    """Takes the influence of one row apart; a scorer with a curvature must be fitted."""
    [encoded] = scorer.encode([example], reference)
    if encoded.num_completion_tokens < 1:
        raise ValueError(f"Row {example.row} has no token of its solution left, and so no influence.")
    [parts] = scorer.token_parts([encoded], reference)
    tokens = [reference.tokenizer.decode([token]) for token in encoded.input_ids]
    return InfluenceExplanation(example, tokens, parts, scorer.step_of_token(example, encoded, reference))


def render_influence(explanation: InfluenceExplanation, max_tokens: int = 60) -> str:
    """The explanation as text for a terminal: the steps, then the tokens that matter most, in their order.

    Parts are shares of the sum of their absolute values, since parts above and below 0 may nearly cancel.
    """
    parts, steps = explanation.parts, np.array(explanation.steps)
    whole = float(np.abs(parts).sum()) or 1.0
    lines = [
        f"Row {explanation.example.row}, uid {explanation.example.uid}: influence {explanation.score:+.4g} from "
        f"{len(parts)} tokens; parts above 0 add up to {parts[parts > 0].sum():.4g}, those below to "
        f"{parts[parts < 0].sum():.4g}.",
        "",
        "Steps".ljust(44) + "part",
    ]
    for step in range(int(steps.max()) + 1):
        text = "".join(token for token, at in zip(explanation.tokens, steps.tolist(), strict=True) if at == step)
        name = "prompt" if step == 0 else f"step {step}"
        lines.append(
            f"{name:>8} {visible(' '.join(text.split()))} {share(float(parts[steps == step].sum()) / whole):>18}"
        )
    lines += ["", "Tokens by position of activation"]
    shown = np.sort(np.argsort(-np.abs(parts), kind="stable")[:max_tokens])
    largest = float(np.abs(parts).max())
    for index in shown.tolist():
        token = visible(explanation.tokens[index])
        size = bar(abs(parts[index]), largest)
        lines.append(
            f"{index:5d} {token} {'-' if parts[index] < 0 else '+'} {size:{BAR}} {share(parts[index] / whole)}"
        )
    if len(shown) < len(parts):
        lines.append(f"      \u2026 {len(parts) - len(shown)} tokens nearer to 0 left out")
    return "\n".join(lines)
