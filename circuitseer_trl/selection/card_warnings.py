"""What in a selection is allowed but likely unwanted?"""

from collections.abc import Sequence

import numpy as np

from circuitseer_trl.circuits.head_card import first_layer_warning
from circuitseer_trl.sampling.base import Sampler
from circuitseer_trl.sampling.soft import SoftSampler
from circuitseer_trl.scoring.diagnostics import effective_sample_size

# Above this rank correlation, the score is mostly a measure of length (docs/methods.md, "What to beware of").
LENGTH_WARNING = 0.8
# Above this share of the rows, the weights of a soft draw hardly differ: their standard deviation is below 0.23 of their mean.
EVEN_DRAW_WARNING = 0.95


def selection_warnings(
    length_correlation: float | None,
    sampler: Sampler,
    values: np.ndarray,
    heads: Sequence[Sequence[int]] | None,
) -> list[str]:
    """The warnings of a selection's card.

    Args:
        length_correlation: Rank correlation of score and length.
        sampler: The sampler.
        values (`np.ndarray` of shape `(N,)`): The scores that the sampler got.
        heads: The heads of the scores, as (layer, head); None if the scorer has none.
    """
    found = [length_warning(length_correlation), even_draw_warning(sampler, values), first_layer_warning(heads or [])]
    return [each for each in found if each is not None]


def length_warning(correlation: float | None) -> str | None:
    """Returns the warning for scores that mostly measure length; None if it does not apply."""
    if correlation is None or abs(correlation) <= LENGTH_WARNING:
        return None
    return (
        f"The rank correlation of score and length is {correlation:+.2f}: these scores are mostly a measure of length. "
        "Compare with `method: length`. `length_control: bin` removes the length; `statistic: entropy` depends on it less."
    )


def even_draw_warning(sampler: Sampler, values: np.ndarray) -> str | None:
    """Returns the warning for a soft draw whose weights hardly differ; None if it does not apply.

    It does not apply to equal weights either, such as those of `random`: there an even draw is what was asked for.
    """
    drawable = values[np.nan_to_num(values) > 0]
    if not isinstance(sampler, SoftSampler) or len(drawable) == 0 or np.ptp(drawable) == 0:
        return None
    share = effective_sample_size(1 / drawable if sampler.inverse else drawable) / len(drawable)
    if share <= EVEN_DRAW_WARNING:
        return None
    return (
        f"The draw is nearly uniform: the effective sample size of its weights is {share:.3f} of the rows, so this selection is "
        "nearly a random one. Compare with `method: random`. `sampling: top_k` takes the rows with the highest scores."
    )
