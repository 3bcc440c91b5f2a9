"""How is an explanation shown in a terminal?"""

import numpy as np

from circuitseer_trl.circuits.received import attention_variance
from circuitseer_trl.scoring.explain import Explanation
from circuitseer_trl.scoring.explain_dependence import DependenceExplanation
from circuitseer_trl.scoring.explain_influence import InfluenceExplanation

# K heads, T tokens
BAR = 30


MIN_SHOWN = 0.005


def bar(value: float, largest: float) -> str:
    """A bar of up to `BAR` characters, in eighths of one; a value above the largest ends in an arrow."""
    if value > largest:
        return "\u2588" * BAR + "\u25b6"
    eighths = round(8 * BAR * max(0.0, value) / largest) if largest > 0 else 0
    return "\u2588" * (eighths // 8) + ("", *"\u258f\u258e\u258d\u258c\u258b\u258a\u2589")[eighths % 8]


def visible(token: str) -> str:
    """Formats a token in 16 characters, with visible spaces and line ends."""
    shown = token.replace(" ", "\u00b7").replace("\n", "\u23ce").replace("\t", "\u21e5")
    return (shown if len(shown) <= 16 else shown[:15] + "\u2026").ljust(16)


def share(part: float) -> str:
    return f"{part:6.1%}" if abs(part) >= MIN_SHOWN else "     \u00b7"


def render(explanation: Explanation, max_tokens: int = 60, max_heads: int = 20) -> str:
    """Formats an explanation for a terminal: the tokens in their order, then the heads by their part."""
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
    # The first token receives so much attention that the bars of the others would vanish, so bars end at the second largest.
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


def render_influence(explanation: InfluenceExplanation, max_tokens: int = 60) -> str:
    """Formats an influence for a terminal: the steps, then the tokens with the largest parts, in their order.

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


def render_dependence(explanation: DependenceExplanation, max_tokens: int = 60) -> str:
    """Formats a dependence for a terminal: the steps, then the tokens with the largest rises, in their order."""
    rises, steps = explanation.rises, explanation.steps
    loss, without = float(explanation.losses.mean()), float(explanation.losses_without.mean())
    lines = [
        f"Row {explanation.example.row}, uid {explanation.example.uid}: the loss of {len(rises)} tokens is {loss:.4f} nats per "
        f"token, and {without:.4f} without {explanation.num_heads} heads.",
        f"Difference {without - loss:+.4f}, ratio {(without - loss) / loss if loss else np.nan:+.4f}. The rises of the steps add "
        f"up to {rises.sum():+.4f} nats, the number of tokens x the difference.",
        "",
        "Steps (our reading of AIR)".ljust(30) + "tokens  loss  without    rise, in nats",
    ]
    by_step = {step: steps == step for step in sorted(set(steps.tolist()))}
    largest = max(float(rises[of].sum()) for of in by_step.values())
    for step, of in by_step.items():
        text = "".join(token for token, inside in zip(explanation.tokens, of.tolist(), strict=True) if inside)
        before, after = explanation.losses[of].mean(), explanation.losses_without[of].mean()
        rise = float(rises[of].sum())
        name = f"{f'step {step}':>8} {visible(' '.join(text.split()))}"
        lines.append(f"{name:29} {of.sum():6d} {before:5.2f} {after:8.2f} {rise:+8.3f} {bar(rise, largest)}".rstrip())
    lines += ["", "Tokens".ljust(37) + "loss  without    rise"]
    shown = np.sort(np.argsort(-np.abs(rises), kind="stable")[:max_tokens])
    highest = float(rises.max())
    for index in shown.tolist():
        name = f"{index:5d} {visible(explanation.tokens[index])}"
        numbers = f"{explanation.losses[index]:5.2f} {explanation.losses_without[index]:8.2f} {rises[index]:+8.3f}"
        lines.append(f"{name:36}{numbers} {bar(rises[index], highest)}".rstrip())
    if len(shown) < len(rises):
        lines.append(f"      \u2026 {len(rises) - len(shown)} tokens nearer to 0 left out")
    return "\n".join(lines)
