"""Which heads do hard rows need, and easy rows not? The importance of heads by contrast (ours)."""

import numpy as np

# Nats per token. A head that easy rows need less than this counts as if they needed it this much: a ratio to nearly nothing says
# nothing.
FLOOR_NATS = 0.01


def easy_and_hard(difficulty: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the easiest and of the hardest third of a probe, each of the floor of a third of its rows.

    Args:
        difficulty (`np.ndarray` of shape `(E,)`): The base loss of each example, or another mark of difficulty. Ties go to the
            earlier example.
    """
    size = len(difficulty) // 3
    order = np.argsort(difficulty, kind="stable")
    return order[:size], order[len(order) - size :]


def contrast(increases: np.ndarray, difficulty: np.ndarray, floor: float = FLOOR_NATS) -> np.ndarray:
    """The mean rise of the loss on the hardest third of a probe over that on its easiest third, for each head.

    Args:
        increases (`np.ndarray` of shape `(E, H)`): Loss increase of each head on each example, in nats per token.
        difficulty (`np.ndarray` of shape `(E,)`): As in `easy_and_hard`.
        floor: The smallest divisor, in nats per token.

    Returns:
        `np.ndarray` of shape `(H,)`: A ratio, without a unit.
    """
    easy, hard = easy_and_hard(difficulty)
    return increases[hard].mean(axis=0) / np.maximum(increases[easy].mean(axis=0), floor)
