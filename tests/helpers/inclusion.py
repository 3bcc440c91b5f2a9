"""Inclusion probabilities of a soft draw in another way: of a race that stops at a fixed time."""

import numpy as np


def race_inclusion_probabilities(weights: np.ndarray, size: int) -> np.ndarray:
    """1 - exp(-lambda w), where lambda makes the probabilities add up to `size`. The error shrinks as items grow in number."""
    positive = weights > 0
    if size >= positive.sum():
        return positive.astype(np.float64)
    shares = weights / weights.sum()
    low, high = -60.0, 700.0  # bounds of log(lambda)
    for _ in range(100):
        middle = (low + high) / 2
        expected = -np.expm1(-np.exp(middle) * shares).sum()
        low, high = (middle, high) if expected < size else (low, middle)
    return -np.expm1(-np.exp(low) * shares)
