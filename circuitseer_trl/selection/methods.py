"""Every selection method by its name: a scorer, perhaps a combination, and a sampler."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from circuitseer_trl.configs import Sampling
from circuitseer_trl.sampling.base import Sampler
from circuitseer_trl.sampling.prune import PruneSampler
from circuitseer_trl.sampling.reweight import ReweightSampler
from circuitseer_trl.sampling.round_robin import RoundRobinSampler
from circuitseer_trl.sampling.soft import SoftSampler
from circuitseer_trl.sampling.stratified import StratifiedSampler
from circuitseer_trl.sampling.top_k import TopKSampler
from circuitseer_trl.scoring.base import Scorer
from circuitseer_trl.scoring.category import CategoryScorer
from circuitseer_trl.scoring.circuitseer import CircuitSeerScorer
from circuitseer_trl.scoring.combination import Combination, JointRank, MiddleRank
from circuitseer_trl.scoring.controls import ConstantScorer, LengthScorer
from circuitseer_trl.scoring.difficulty import DifficultyScorer
from circuitseer_trl.scoring.ifd import IFDScorer
from circuitseer_trl.scoring.influence import InfluenceScorer
from circuitseer_trl.scoring.infra import InfraScorer
from circuitseer_trl.scoring.max_loss import MaxLossScorer
from circuitseer_trl.scoring.pass_rate import PassRateBand, PassRateScorer
from circuitseer_trl.scoring.quality import QualityScorer
from circuitseer_trl.scoring.rds import RDSScorer
from circuitseer_trl.scoring.stored import StoredScorer

SAMPLERS: Mapping[Sampling, Sampler] = MappingProxyType(
    {
        "soft": SoftSampler(),
        "soft_inverse": SoftSampler(inverse=True),
        "top_k": TopKSampler(),
        "bottom_k": TopKSampler(lowest=True),
        "stratified": StratifiedSampler(),
        "round_robin": RoundRobinSampler(),
        "prune": PruneSampler(),
        "reweight": ReweightSampler(),
    }
)

# Rows of every comparison that select nothing: training on the whole pool, and no training.
WITHOUT_SELECTION = ("full", "zero_shot")


@dataclass(frozen=True)
class Parts:
    """A method's parts, with their parameters set."""

    scorer: Scorer
    combination: Combination | None
    sampler: Sampler


@dataclass(frozen=True)
class Method:
    """A named scorer and sampler.

    Attributes:
        scorer: Class of the scorer.
        sampling: The method's own sampler, by its name; the recipe may name another.
        parameters: Fields of the scorer that make the method what it is.
        combination: What makes one score of the columns of the score table; most methods need none.
    """

    scorer: type[Scorer]
    sampling: Sampling
    parameters: Mapping[str, Any] = field(default_factory=dict)
    combination: type[Combination] | None = None

    def make_scorer(self, options: Mapping[str, Any]) -> Scorer:
        """The scorer, with those of the options that are fields of it."""
        own = {item.name: options[item.name] for item in fields(self.scorer) if item.name in options}
        return self.scorer(**(own | dict(self.parameters)))

    def make(self, options: Mapping[str, Any], sampling: Sampling | None, arguments: Mapping[str, Any]) -> Parts:
        """The method's parts.

        Args:
            options: Keys of the selection recipe; those that are fields of the scorer are taken.
            sampling: Another sampler than the method's own.
            arguments: `method_args`: fields of the scorer, the combination and the sampler.

        Raises:
            ValueError: An argument is a field of none of them.
        """
        sampler = SAMPLERS[sampling or self.sampling]
        # What the samplers' names already say is no argument.
        in_sampler = {item.name for item in fields(type(sampler))} - {"inverse", "lowest"}
        in_scorer = {item.name for item in fields(self.scorer)} - set(self.parameters)
        in_combination = {item.name for item in fields(self.combination)} if self.combination is not None else set()
        known = sorted(in_scorer | in_combination | in_sampler)
        for name in arguments:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                advice = f"Did you mean `{close[0]}`? " if close else ""
                raise ValueError(
                    f"`method_args` has no key {name!r} for this method. {advice}Keys are {', '.join(known) or 'none'}."
                )

        def of(names: set[str]) -> dict[str, Any]:
            return {name: value for name, value in arguments.items() if name in names}

        return Parts(
            scorer=self.make_scorer(dict(options) | of(in_scorer)),
            combination=self.combination(**of(in_combination)) if self.combination is not None else None,
            sampler=replace(sampler, **of(in_sampler)),
        )


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "circuitseer": Method(CircuitSeerScorer, "soft"),
        "random": Method(ConstantScorer, "soft"),
        "length": Method(LengthScorer, "soft", {"length_of": "problem"}),
        "longest": Method(LengthScorer, "top_k", {"length_of": "problem"}),
        "trace_length": Method(LengthScorer, "soft", {"length_of": "solution"}),
        "max_loss": Method(MaxLossScorer, "top_k"),
        "mid_perplexity": Method(MaxLossScorer, "top_k", combination=MiddleRank),
        "ifd": Method(IFDScorer, "top_k"),
        "quality": Method(QualityScorer, "top_k"),
        "diversity": Method(CategoryScorer, "stratified"),
        "select2reason": Method(DifficultyScorer, "top_k", combination=JointRank),
        "rds": Method(RDSScorer, "round_robin"),
        "influence": Method(InfluenceScorer, "prune"),
        "infra": Method(InfraScorer, "reweight"),
        "pass_rate": Method(PassRateScorer, "soft", combination=PassRateBand),
        "combine": Method(StoredScorer, "top_k"),
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
