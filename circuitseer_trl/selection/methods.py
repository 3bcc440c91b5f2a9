"""Every selection method by its name: a scorer and a sampler."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from circuitseer_trl.configs import Sampling
from circuitseer_trl.sampling.base import Sampler
from circuitseer_trl.sampling.soft import SoftSampler
from circuitseer_trl.sampling.top_k import TopKSampler
from circuitseer_trl.scoring.base import Scorer
from circuitseer_trl.scoring.circuitseer import CircuitSeerScorer
from circuitseer_trl.scoring.controls import ConstantScorer, LengthScorer
from circuitseer_trl.scoring.ifd import IFDScorer
from circuitseer_trl.scoring.max_loss import MaxLossScorer

SAMPLERS: Mapping[Sampling, Sampler] = MappingProxyType(
    {
        "soft": SoftSampler(),
        "soft_inverse": SoftSampler(inverse=True),
        "top_k": TopKSampler(),
        "bottom_k": TopKSampler(lowest=True),
    }
)

# Rows of every comparison that select nothing: training on the whole pool, and no training.
WITHOUT_SELECTION = ("full", "zero_shot")


@dataclass(frozen=True)
class Method:
    """A named pair of scorer and sampler.

    Attributes:
        scorer: Class of the scorer.
        sampling: The method's own sampler, by its name; the recipe may name another.
        parameters: Fields of the scorer that make the method what it is.
    """

    scorer: type[Scorer]
    sampling: Sampling
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def make_scorer(self, options: Mapping[str, Any]) -> Scorer:
        """The scorer, with those of the options that are fields of it."""
        own = {item.name: options[item.name] for item in fields(self.scorer) if item.name in options}
        return self.scorer(**(own | dict(self.parameters)))


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "circuitseer": Method(CircuitSeerScorer, "soft"),
        "random": Method(ConstantScorer, "soft"),
        "length": Method(LengthScorer, "soft", {"length_of": "problem"}),
        "longest": Method(LengthScorer, "top_k", {"length_of": "problem"}),
        "trace_length": Method(LengthScorer, "soft", {"length_of": "solution"}),
        "max_loss": Method(MaxLossScorer, "top_k"),
        "ifd": Method(IFDScorer, "top_k"),
    }
)


def get_method(name: str) -> Method:
    """The method of a name, or an error that lists the names."""
    if name in WITHOUT_SELECTION:
        raise ValueError(
            f"`method: {name}` selects nothing: it is a row of comparisons, which `circuitseer reproduce` makes. "
            "To train on the whole pool, leave `selection_file` out."
        )
    if name not in METHODS:
        raise ValueError(f"There is no method {name!r}. Methods are {', '.join(METHODS)}.")
    return METHODS[name]
