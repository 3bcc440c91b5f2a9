"""Random bits that depend on a number alone."""

import numpy as np


def splitmix64(state: np.ndarray) -> np.ndarray:
    """The SplitMix64 output function (Steele et al. 2014): 64 well-mixed bits of any 64 bits."""
    with np.errstate(over="ignore"):
        mixed = state + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
