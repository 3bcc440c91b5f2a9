"""Which random numbers does a draw use? Noise of the method's own, or that of the seed alone."""

from dataclasses import MISSING, Field, fields
from typing import Any

from circuitseer_trl.artifacts import fingerprint
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.sampling.base import Sampler, Selection
from circuitseer_trl.scoring.base import Scorer
from circuitseer_trl.scoring.combination import Combination
from circuitseer_trl.selection.parts import Parts, class_path


def noise_seed(config: SelectionConfig, parts: Parts) -> int:
    """The seed that the sampler gets.

    It is a hash of `selection_seed` and of what makes the scores and the draw: scorer, kind of heads, combination, length
    control and sampler. So two methods with one `selection_seed` are independent draws. The budget is not part of it, so that
    subsets stay nested, and neither is the name under which a method is called, nor what depends on the machine. With
    `shared_noise` it is `selection_seed` itself.
    """
    if config.shared_noise:
        return config.selection_seed
    key: dict[str, Any] = {
        "seed": config.selection_seed,
        "scorer": identity(parts.scorer),
        "head_set": _head_set(config) if parts.scorer.needs == "heads" else None,
        "combination": identity(parts.combination),
        "length_control": config.length_control,
        "sampler": identity(parts.sampler),
    }
    if config.noise_filter_ratio is not None:
        key["noise_filter"] = config.noise_filter_ratio
    return int(fingerprint(key)[:8], 16)  # 32 bits, which every generator takes as a seed


def identity(part: Scorer | Combination | Sampler | None) -> list[Any] | None:
    """The class of a part and its parameters; None without a part.

    Parameters at their defaults are left out, so a new parameter with a default does not change the draws of before.
    """
    if part is None:
        return None
    left_out = part.not_in_noise if isinstance(part, Scorer) else ()
    values = [(item, getattr(part, item.name)) for item in fields(part) if item.init and item.name not in left_out]
    return [class_path(part), {item.name: value for item, value in values if value != _default(item)}]


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def _head_set(config: SelectionConfig) -> list[Any]:
    criterion = [config.criterion] if config.head_set == "detected" and config.criterion != "loss" else []
    ablation = [config.ablation] if config.head_set == "detected" and config.ablation != "uniform" else []
    return [config.head_set, *([config.head_seed] if config.head_set == "random" else []), *criterion, *ablation]


def noise_card(config: SelectionConfig, seed: int, selection: Selection) -> dict[str, Any] | None:
    """The card's entry for the noise; None if nothing was left to chance."""
    if (selection.inclusion_probabilities == 1).all():
        return None
    return {"kind": "shared" if config.shared_noise else "own", "seed": seed}
