"""Which selection methods are there? Each has a scorer, a sampler, and in some cases a combination.

Classes are named as strings, so that reading the names imports no method.
"""

import difflib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from circuitseer_trl.configs import PoolConfig, Sampling, SelectionConfig
from circuitseer_trl.modeling.model_folders import check_model_folder
from circuitseer_trl.pool.file_names import check_dataset_file

# Rows of comparisons without a selection: training on the whole pool, and no training.
WITHOUT_SELECTION = ("full", "zero_shot")


@dataclass(frozen=True)
class NamedSampler:
    """The sampler of a value of `sampling`.

    Attributes:
        sampler: The class, as `module:Class`.
        parameters: Fields of the sampler that the name stands for.
    """

    sampler: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A named pair of scorer and sampler. Classes are `module:Class`, as for your own scorer in a recipe.

    Attributes:
        scorer: Class of the scorer.
        sampling: Name of the method's sampler; a recipe may name another.
        parameters: Fields of the scorer that the name stands for.
        combination: Class that makes one score from the columns of the score table; None for most methods.
    """

    scorer: str
    sampling: Sampling
    parameters: Mapping[str, Any] = field(default_factory=dict)
    combination: str | None = None


_SAMPLING, _SCORING = "circuitseer_trl.sampling", "circuitseer_trl.scoring"

SAMPLERS: Mapping[Sampling, NamedSampler] = MappingProxyType(
    {
        "soft": NamedSampler(f"{_SAMPLING}.soft:SoftSampler"),
        "soft_inverse": NamedSampler(f"{_SAMPLING}.soft:SoftSampler", {"inverse": True}),
        "top_k": NamedSampler(f"{_SAMPLING}.top_k:TopKSampler"),
        "bottom_k": NamedSampler(f"{_SAMPLING}.top_k:TopKSampler", {"lowest": True}),
        "stratified": NamedSampler(f"{_SAMPLING}.stratified:StratifiedSampler"),
        "round_robin": NamedSampler(f"{_SAMPLING}.round_robin:RoundRobinSampler"),
        "prune": NamedSampler(f"{_SAMPLING}.prune:PruneSampler"),
        "reweight": NamedSampler(f"{_SAMPLING}.reweight:ReweightSampler"),
    }
)

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "circuitseer": Method(f"{_SCORING}.circuitseer:CircuitSeerScorer", "soft"),
        # `SelectionConfig` gives this name another criterion of heads.
        "circuitseer_contrast": Method(f"{_SCORING}.circuitseer:CircuitSeerScorer", "top_k"),
        "random": Method(f"{_SCORING}.constant:ConstantScorer", "soft"),
        "length": Method(f"{_SCORING}.length:LengthScorer", "soft", {"length_of": "problem"}),
        "longest": Method(f"{_SCORING}.length:LengthScorer", "top_k", {"length_of": "problem"}),
        "trace_length": Method(f"{_SCORING}.length:LengthScorer", "soft", {"length_of": "solution"}),
        "max_loss": Method(f"{_SCORING}.max_loss:MaxLossScorer", "top_k"),
        "mid_perplexity": Method(
            f"{_SCORING}.max_loss:MaxLossScorer", "top_k", combination=f"{_SCORING}.combination:MiddleRank"
        ),
        "ifd": Method(f"{_SCORING}.ifd:IFDScorer", "top_k"),
        "hes": Method(f"{_SCORING}.hes:HESScorer", "top_k"),
        "aslec_drop": Method(f"{_SCORING}.aslec:ASLECScorer", "top_k"),
        "aslec_casl": Method(
            f"{_SCORING}.aslec:ASLECScorer", "top_k", combination=f"{_SCORING}.aslec:StepLengthCorrection"
        ),
        "rsr": Method(f"{_SCORING}.rsr:RSRScorer", "top_k"),
        "dependence": Method(f"{_SCORING}.dependence:DependenceScorer", "top_k"),
        # `SelectionConfig` gives this name another criterion of heads.
        "attention_influence": Method(
            f"{_SCORING}.dependence:DependenceScorer",
            "top_k",
            {"rise": "ratio"},
            combination=f"{_SCORING}.combination:CategoryRank",
        ),
        "quality": Method(f"{_SCORING}.quality:QualityScorer", "top_k"),
        "diversity": Method(f"{_SCORING}.category:CategoryScorer", "stratified"),
        "select2reason": Method(
            f"{_SCORING}.difficulty:DifficultyScorer", "top_k", combination=f"{_SCORING}.combination:JointRank"
        ),
        "rds": Method(f"{_SCORING}.rds:RDSScorer", "round_robin"),
        "gradient_similarity": Method(f"{_SCORING}.gradient_similarity:GradientSimilarityScorer", "round_robin"),
        "circuit_gradient_similarity": Method(f"{_SCORING}.gradient_similarity:CircuitGradientScorer", "round_robin"),
        "influence": Method(f"{_SCORING}.influence:InfluenceScorer", "prune"),
        "infra": Method(f"{_SCORING}.infra:InfraScorer", "reweight"),
        "pass_rate": Method(
            f"{_SCORING}.pass_rate:PassRateScorer", "soft", combination=f"{_SCORING}.pass_rate:PassRateBand"
        ),
        "combine": Method(f"{_SCORING}.stored:StoredScorer", "top_k"),
    }
)


def check_names(pool_config: PoolConfig, config: SelectionConfig) -> None:
    """Raises for a file, method, class or model's folder that is not there, before anything slow is imported."""
    for name in [pool_config.dataset_name, *(source["dataset_name"] for source in pool_config.text_sources())]:
        check_dataset_file(name)
    for key, path in (("scorer", config.scorer), ("sampler", config.sampler)):
        if path is not None:
            split_class_path(key, path)
    if config.scorer is None:
        get_method(config.method)
    for model in (config.reference_model, config.noise_filter_model):
        if model is not None:
            check_model_folder(model)


def split_class_path(key: str, path: str) -> tuple[str, str]:
    """Splits a `module:Class` into its two names. Raises if it is none, or there is no such module."""
    module_name, _, name = path.partition(":")
    if not module_name or not name or module_name.startswith("."):
        raise ValueError(f"`{key}` must be a `module:Class` such as my_package.my_module:MyClass, got {path!r}.")
    missing: str | None = None
    try:
        missing = None if module_name in sys.modules or importlib.util.find_spec(module_name) else module_name
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the package exists, but one of its own imports does not
        missing = error.name
    if missing is not None:
        raise ValueError(
            f"`{key}: {path}`: there is no module {missing!r}. Is it installed, or its folder on PYTHONPATH?"
        )
    return module_name, name


def get_method(name: str) -> Method:
    """Returns the method of a name; raises an error with the nearest name if there is none."""
    if name in WITHOUT_SELECTION:
        raise ValueError(
            f"`method: {name}` selects nothing: it is a baseline, which `circuitseer reproduce` runs. To train on the whole "
            "pool, run `circuitseer train-sft` without `selection_file`."
        )
    if name not in METHODS:
        close = difflib.get_close_matches(str(name), METHODS, n=1)
        advice = f" Did you mean `{close[0]}`?" if close else ""
        raise ValueError(
            f"There is no method {name!r}.{advice} Methods are {', '.join(METHODS)}; `scorer: my_package.my_module:MyScorer` "
            "names one of your own."
        )
    return METHODS[name]
