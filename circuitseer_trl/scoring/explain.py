"""Why has one text its score? Attention received token by token, and each head's part of the score."""

from dataclasses import dataclass

import numpy as np

from circuitseer_trl.circuits.attention import Head
from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.data import Example
from circuitseer_trl.models import Reference, encode_prompt
from circuitseer_trl.scoring.circuitseer import CircuitSeerScorer
from circuitseer_trl.scoring.received import attention_received, attention_variance

# K heads, T tokens
BAR = 30
MIN_SHOWN = 0.005


@dataclass(frozen=True)
class Explanation:
    """One text's score, taken apart.

    Attributes:
        example: The row of the pool.
        tokens: The text's tokens, as text.
        heads: The heads that were looked at.
        received (`np.ndarray` of shape `(K, T)`): Attention that each token receives from each head; rows have mean 1.
        sink_tokens: So many first tokens are left out of the score.
        score: Variance of the heads' mean over the tokens that are left.
    """

    example: Example
    tokens: list[str]
    heads: list[Head]
    received: np.ndarray
    sink_tokens: int
    score: float

    @property
    def alpha(self) -> np.ndarray:
        """Attention received by each token, averaged over the heads; shape `(T,)`."""
        return self.received.mean(axis=0)

    def token_parts(self) -> np.ndarray:
        """Each token's part of the score, of shape `(T,)`; they add up to 1."""
        rest = self.alpha[self.sink_tokens :]
        parts = np.zeros(len(self.tokens))
        parts[self.sink_tokens :] = (rest - rest.mean()) ** 2 / len(rest)
        return parts / self.score if self.score else parts

    def head_parts(self) -> np.ndarray:
        """Each head's part of the score, of shape `(K,)`; they add up to 1.

        The variance of a mean is the mean of the heads' covariances with it: nothing is left over. The part of a head
        that attends where the others do not is negative.
        """
        rest = self.received[:, self.sink_tokens :]
        deviation = rest.mean(axis=0) - rest.mean()
        parts = rest @ deviation / rest.shape[1] / len(self.heads)
        return parts / self.score if self.score else np.zeros(len(self.heads))


def explain(example: Example, reference: Reference, heads: HeadSet, scorer: CircuitSeerScorer) -> Explanation:
    """Takes the score of one row apart, by one forward a head."""
    text = example.problem if scorer.score_on == "problem" else example.completion
    ids = encode_prompt(reference.tokenizer, text, scorer.score_format, scorer.system_prompt)[: reference.max_length]
    if not ids:
        raise ValueError(f"Row {example.row} has no token in its {scorer.score_on}, and so no score.")
    model = reference.model(for_scores=True)
    received = np.stack([attention_received(model, [ids], [head])[0] for head in heads.selected])
    score = attention_variance(received.mean(axis=0), scorer.sink_tokens)
    tokens = [reference.tokenizer.decode([token]) for token in ids]
    return Explanation(example, tokens, heads.selected, received, scorer.sink_tokens, score)


def bar(value: float, largest: float) -> str:
    """A bar of up to `BAR` characters, in eighths of one; a value above the largest ends in an arrow."""
    if value > largest:
        return "\u2588" * BAR + "\u25b6"
    eighths = round(8 * BAR * max(0.0, value) / largest) if largest > 0 else 0
    return "\u2588" * (eighths // 8) + ("", *"\u258f\u258e\u258d\u258c\u258b\u258a\u2589")[eighths % 8]


def visible(token: str) -> str:
    """A token on one line of 16 characters, with its spaces and line ends to be seen."""
    shown = token.replace(" ", "\u00b7").replace("\n", "\u23ce").replace("\t", "\u21e5")
    return (shown if len(shown) <= 16 else shown[:15] + "\u2026").ljust(16)


def share(part: float) -> str:
    return f"{part:6.1%}" if abs(part) >= MIN_SHOWN else "     \u00b7"


def render(explanation: Explanation, max_tokens: int = 60, max_heads: int = 20) -> str:
    """The explanation as text for a terminal: the tokens in their order, then the heads by their part."""
    alpha, parts, num_tokens = explanation.alpha, explanation.token_parts(), len(explanation.tokens)
    lines = [
        f"Row {explanation.example.row}, uid {explanation.example.uid}: score {explanation.score:.4f} "
        f"from {num_tokens} tokens and {len(explanation.heads)} heads.",
        f"The first token receives {alpha[0] / num_tokens:.0%} of all attention and makes {parts[0]:.0%} of the score; "
        f"without it the score would be {attention_variance(alpha, 1):.4f}.",
        "",
        "Attention received (1 is an even share)".ljust(64) + "part of score",
    ]
    shown = np.sort(np.argsort(-np.abs(alpha - 1), kind="stable")[:max_tokens])
    # The first token receives so much that the others would have no bars beside it.
    largest = float(np.sort(alpha)[-2]) if num_tokens > 1 else float(alpha[0])
    before = -1
    for index in shown.tolist():
        if index > before + 1:
            lines.append(f"      \u2026 {index - before - 1} tokens nearer to 1 left out")
        token = visible(explanation.tokens[index])
        lines.append(
            f"{index:5d} {token} {alpha[index]:8.2f} {bar(alpha[index], largest):{BAR + 1}} {share(parts[index])}"
        )
        before = index
    if before < num_tokens - 1:
        lines.append(f"      \u2026 {num_tokens - 1 - before} tokens nearer to 1 left out")
    head_parts = explanation.head_parts()
    order = np.argsort(-head_parts, kind="stable")
    lines += ["", "Heads by their part of the score".ljust(54) + "on first token"]
    for index in order[:max_heads].tolist():
        layer, head = explanation.heads[index]
        sink = explanation.received[index, 0] / num_tokens
        name = f"layer {layer:2d} head {head:2d}"
        lines.append(
            f"  {name} {share(head_parts[index])} {bar(head_parts[index], head_parts.max()):{BAR}} {sink:6.0%}"
        )
    if len(order) > max_heads:
        lines.append(f"  {len(order) - max_heads} more heads: {head_parts[order[max_heads:]].sum():.1%} together")
    return "\n".join(lines)
