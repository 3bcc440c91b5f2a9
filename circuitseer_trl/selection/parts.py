"""Which objects do the names in a recipe stand for? Makes scorer, combination and sampler."""

import difflib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.sampling.base import Sampler
from circuitseer_trl.scoring.base import Scorer
from circuitseer_trl.scoring.combination import Combination
from circuitseer_trl.selection.methods import SAMPLERS, Method, NamedSampler, get_method, split_class_path

# Keys of the recipe for the reference model. They were fields of scorers in early versions.
READING = ("probe_format", "system_prompt", "chat_date", "max_batch_tokens")


@dataclass(frozen=True)
class Parts:
    """The parts of a selection, with their parameters.

    Attributes:
        method: Name of the scorer on cards: the method's name, or `module:Class`.
        sampling: Name of the sampler on cards.
    """

    method: str
    sampling: str
    scorer: Scorer
    combination: Combination | None
    sampler: Sampler


def class_path(part: object) -> str:
    """The `module:Class` of an object's class."""
    return f"{type(part).__module__}:{type(part).__qualname__}"


def load_class(key: str, path: str, kind: type) -> Any:
    """Imports the class of a `module:Class`.

    Raises:
        ValueError: There is no such class, or it is not a subclass of `kind`.
    """
    module_name, name = split_class_path(key, path)
    module = importlib.import_module(module_name)
    found = getattr(module, name, None)
    if found is None:
        close = difflib.get_close_matches(name, vars(module), n=1)
        advice = f" Did you mean `{module_name}:{close[0]}`?" if close else ""
        raise ValueError(f"`{key}: {path}`: the module has no class {name!r}.{advice}")
    if not isinstance(found, type) or not issubclass(found, kind):
        raise ValueError(f"`{key}: {path}` is not a {kind.__name__}: make it a subclass of {_home(kind)}.")
    check_fields(found)
    return found


def check_object(key: str, part: object, kind: type) -> None:
    """Raises if `part` is not an object of `kind`."""
    if isinstance(part, type):
        raise TypeError(f"`{key}` must be an object, got the class {part.__name__}: write {part.__name__}().")
    if not isinstance(part, kind):
        raise TypeError(f"`{key}` must be a {kind.__name__} ({_home(kind)}), got a {type(part).__name__}.")
    check_fields(type(part))


def check_fields(part: type) -> None:
    """Raises where a class has fields but is no dataclass: no card would record them."""
    if "__dataclass_fields__" in vars(part):
        return
    for name, kind in inspect.get_annotations(part).items():
        if "ClassVar" not in str(kind):
            raise ValueError(
                f"{part.__name__} has the field {name!r}, but it is no dataclass. Write `@dataclass` above it."
            )


def _home(kind: type) -> str:
    return f"{kind.__module__}.{kind.__name__}"


def make_parts(config: SelectionConfig, scorer: Scorer | None = None, sampler: Sampler | None = None) -> Parts:
    """Makes the parts that a recipe names. Raises before any work if a name or a parameter is unknown.

    Args:
        config: The recipe. Its `method_args` set fields of the parts, and so do its keys with the name of a scorer's field.
        scorer: Your own scorer, in place of the recipe's.
        sampler: Your own sampler, in place of the recipe's.
    """
    if scorer is not None:
        check_object("scorer", scorer, Scorer)
    if sampler is not None:
        check_object("sampler", sampler, Sampler)
    own = config.scorer is not None or scorer is not None
    method = Method(config.scorer or "", "soft") if own else get_method(config.method)
    named = NamedSampler(config.sampler) if config.sampler else SAMPLERS[config.sampling or method.sampling]
    arguments = config.method_args or {}
    assert isinstance(arguments, dict)  # parsed by the config
    scorer_class = load_class("scorer", method.scorer, Scorer) if scorer is None else None
    combination_class = load_class("combination", method.combination, Combination) if method.combination else None
    sampler_class = load_class("sampler", named.sampler, Sampler) if sampler is None else None
    # Not arguments: fields that a name stands for, and fields of a part that is given as an object.
    in_scorer = _fields(scorer_class) - set(method.parameters)
    in_combination = _fields(combination_class)
    in_sampler = _fields(sampler_class) - ({"inverse", "lowest"} if config.sampler is None else set())
    check_arguments(arguments, in_scorer | in_combination | in_sampler)
    keys = {name: value for name, value in vars(config).items() if name in in_scorer}
    if scorer_class is not None:
        scorer = _make(scorer_class, keys | _some(arguments, in_scorer) | dict(method.parameters))
    combination = _make(combination_class, _some(arguments, in_combination)) if combination_class else None
    if sampler_class is not None:
        sampler = _make(sampler_class, dict(named.parameters) | _some(arguments, in_sampler))
    assert scorer is not None
    assert sampler is not None
    return Parts(
        method=config.method if scorer_class is not None else class_path(scorer),
        sampling=class_path(sampler) if sampler_class is None else config.sampler or config.sampling or method.sampling,
        scorer=scorer,
        combination=combination,
        sampler=sampler,
    )


def check_signs(config: SelectionConfig, parts: Parts) -> None:
    """Raises if scores may be below 0, and what comes after them needs scores of at least 0."""
    if not parts.scorer.signed:
        return
    if config.length_control == "residual":
        raise ValueError(
            f"`length_control: residual` takes logarithms, and scores of {parts.method} may be below 0. Set "
            "`length_control: bin`."
        )
    if parts.sampler.draws_by_scores and config.length_control == "none":
        raise ValueError(
            f"Soft sampling draws with probabilities, and scores of {parts.method} may be below 0. Set `sampling: top_k`, or "
            "`length_control: bin`, which makes ranks of the scores."
        )


def check_arguments(arguments: Mapping[str, Any], known: set[str]) -> None:
    """Raises if `method_args` has a key that is not a field of the method's parts."""
    for name in arguments:
        if name in known:
            continue
        if name in READING:
            raise ValueError(
                f"`{name}` is a key of the recipe, for all steps, not one of `method_args`. Move it to the top of the recipe."
            )
        close = difflib.get_close_matches(name, known, n=1)
        advice = f"Did you mean `{close[0]}`? " if close else ""
        raise ValueError(
            f"`method_args` has no key {name!r} for this method. {advice}Keys are {', '.join(sorted(known)) or 'none'}."
        )


def _fields(part: type | None) -> set[str]:
    return {item.name for item in fields(part) if item.init} if part is not None else set()


def _some(arguments: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name in names}


def _make(part: type, arguments: dict[str, Any]) -> Any:
    try:
        return part(**arguments)
    except TypeError as error:
        raise ValueError(f"{part.__name__} cannot be made: {error}. Set its fields in `method_args`.") from error
