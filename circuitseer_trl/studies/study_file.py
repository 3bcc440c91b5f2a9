"""Which runs does a study have? Reads STUDY.yaml: lists of methods, seeds, models and budgets, whose product are the points."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from circuitseer_trl.checks import check_seed
from circuitseer_trl.named_files import SELECTION_KINDS, find_file
from circuitseer_trl.recipe import read_recipe
from circuitseer_trl.selection.methods import METHODS, WITHOUT_SELECTION, get_method

RECIPES = {"data": ("data",), "sft": ("sft",), "eval": ("eval",), "selection": ("selection", "ablations")}
SEEDS = ("seeds", "selection_seeds", "training_seeds")
LISTS = (*SEEDS, "methods", "models", "reference_models", "budgets")
KEYS = (*RECIPES, *LISTS, "baseline", "output_dir")
BUDGETS = ("budget_ratio", "budget_size", "budget_tokens")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
# Keys that the lists of a study set, and those that its folders set.
_TAKEN = {"selection_seed": "selection_seeds", "output_dir": "output_dir", "selection_file": "methods"}


@dataclass(frozen=True)
class Choice:
    """One item of a list: its name, which is a part of the points' names, and the keys that it sets."""

    name: str
    keys: Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """The content of a study's file, with its recipes read.

    Attributes:
        data: Keys of the data recipe; `sft`, `eval` and `selection` likewise. `selection` is for all methods.
        methods: The methods, each with the keys of its recipe; `method` may be `full` or `zero_shot`.
        models: Target models, with keys of training.
        reference_models: Reference models, with keys of selection; empty where each method has its own.
        budgets: Budgets, with keys of selection; empty where each method has its own.
        seeds: Pairs of a selection seed and a training seed.
        joined: Whether the two vary together.
        baseline: Name of the method that the others are compared with.
        named: Whether the points' names have the model, the reference model and the budget: where the file lists them.
    """

    data: Mapping[str, Any]
    sft: Mapping[str, Any]
    eval: Mapping[str, Any]
    selection: Mapping[str, Any]
    methods: Sequence[Choice]
    models: Sequence[Choice]
    reference_models: Sequence[Choice]
    budgets: Sequence[Choice]
    seeds: Sequence[tuple[int, int]]
    joined: bool
    baseline: str
    output_dir: str | None = None
    named: Mapping[str, bool] = field(default_factory=dict)


def read_study(path: Path) -> Study:
    """Reads the file of a study and its recipes.

    Raises:
        ValueError: A key or a value is wrong.
        FileNotFoundError: A recipe is not there.
    """
    try:
        return _study(read_recipe(path))
    except (ValueError, FileNotFoundError) as error:
        text = str(error)
        raise type(error)(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _study(values: Mapping[str, Any]) -> Study:
    for key in values:
        if key not in KEYS:
            raise ValueError(f"a study has no key `{key}`; its keys are {', '.join(KEYS)}.")
    for key in ("data", "eval", "methods"):
        if not values.get(key):
            raise ValueError(f"a study needs the key `{key}`.")
    for key in LISTS:
        if key in values and (not isinstance(values[key], list) or not values[key]):
            raise ValueError(f"`{key}` must be a list with at least one item, got {values[key]!r}.")
    recipes = {key: _recipe(values.get(key) or {}, key, RECIPES[key]) for key in RECIPES}
    methods = [_method(item) for item in values["methods"]]
    models = [_model(item) for item in values.get("models", [])]
    if not models and not recipes["sft"].get("model_name_or_path"):
        raise ValueError("no model to train: set `models`, or `model_name_or_path` in the recipe `sft`.")
    references = [_named("reference_models", item, "reference_model") for item in values.get("reference_models", [])]
    budgets = [_budget(item) for item in values.get("budgets", [])]
    for key, items in (
        *(("methods", methods), ("models", models), ("reference_models", references), ("budgets", budgets)),
    ):
        names = [item.name for item in items]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"`{key}` has {twice[0]!r} twice, so two points would have one name. Give one of them another `name`."
            )
    baseline = values.get("baseline", methods[0].name)
    if baseline not in [method.name for method in methods]:
        known = ", ".join(method.name for method in methods)
        raise ValueError(f"`baseline: {baseline}` is none of the methods {known}.")
    seeds = {key: _seeds(key, values[key]) for key in SEEDS if key in values}
    if "seeds" in seeds and len(seeds) > 1:
        raise ValueError(
            "`seeds` sets selection and training seeds together. Leave it out, or `selection_seeds` and `training_seeds`."
        )
    if not isinstance(values.get("output_dir", ""), str):
        raise ValueError(f"`output_dir` must be a folder, got {values['output_dir']!r}.")
    pairs = [(seed, seed) for seed in seeds.get("seeds", [])]
    before = _seeds("seed", [recipes["sft"].get("seed", 42)])
    return Study(
        **recipes,
        methods=methods,
        models=models or [Choice("", {})],
        reference_models=references,
        budgets=budgets,
        seeds=pairs or list(product(seeds.get("selection_seeds", [42]), seeds.get("training_seeds", before))),
        joined=bool(pairs),
        baseline=baseline,
        output_dir=values.get("output_dir"),
        named={"model": bool(models), "reference": bool(references), "budget": bool(budgets)},
    )


def _recipe(value: Any, key: str, kinds: Sequence[str]) -> dict[str, Any]:
    """The keys of a recipe, given by its name or path, as a mapping of keys, or as a mapping with `recipe` and changes."""
    if isinstance(value, str):
        keys = read_recipe(find_file(value, kinds))
    elif isinstance(value, dict):
        changes = {name: each for name, each in value.items() if name != "recipe"}
        keys = (read_recipe(find_file(value["recipe"], kinds)) if "recipe" in value else {}) | changes
    else:
        raise ValueError(f"`{key}` must be a recipe's name or a mapping of keys, got {value!r}.")
    for name, where in _TAKEN.items():
        if name in keys:
            raise ValueError(f"`{key}` has the key `{name}`, which a study sets itself. Use `{where}` of the study.")
    return keys


def _method(item: Any) -> Choice:
    if isinstance(item, str):
        item = {"method": item} if item in METHODS or item in WITHOUT_SELECTION else {"recipe": item, "name": item}
    if not isinstance(item, dict):
        raise ValueError(f"an item of `methods` must be a name or a mapping of keys, got {item!r}.")
    asked = item.get("recipe")
    if asked is not None and asked == item.get("name"):
        try:
            find_file(asked, SELECTION_KINDS)
        except FileNotFoundError:
            get_method(asked)  # lists the methods
    keys = _recipe({key: value for key, value in item.items() if key != "name"}, "methods", RECIPES["selection"])
    method = keys.get("method", "" if "scorer" in keys else "circuitseer")
    if method and method not in WITHOUT_SELECTION:
        get_method(method)
    return Choice(_name("methods", item.get("name", asked or method)), keys | ({"method": method} if method else {}))


def _model(item: Any) -> Choice:
    """A target model: its name or path, or a mapping of keys, which may be those of a training recipe."""
    if isinstance(item, dict) and "recipe" in item:
        item = _recipe({key: value for key, value in item.items() if key != "name"}, "models", RECIPES["sft"]) | {
            key: item[key] for key in ("name",) if key in item
        }
    return _named("models", item, "model_name_or_path")


def _named(key: str, item: Any, model: str) -> Choice:
    keys = {model: item} if isinstance(item, str) else item
    if not isinstance(keys, dict) or not isinstance(keys.get(model), str):
        raise ValueError(f"an item of `{key}` must be a model, or a mapping with `{model}`, got {item!r}.")
    name = keys.get("name", Path(keys[model]).name)
    return Choice(_name(key, name), {each: value for each, value in keys.items() if each != "name"})


def _budget(item: Any) -> Choice:
    if not isinstance(item, dict) or len(item) != 1 or next(iter(item)) not in BUDGETS:
        raise ValueError(f"an item of `budgets` must be a mapping with one of {', '.join(BUDGETS)}, got {item!r}.")
    (key, value), words = next(iter(item.items())), dict(zip(BUDGETS, ("pct", "rows", "tokens"), strict=True))
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"`{key}` in `budgets` must be a number above 0, got {value!r}.")
    return Choice(f"{100 * value if key == 'budget_ratio' else value:g}{words[key]}", dict.fromkeys(BUDGETS) | item)


def _seeds(key: str, seeds: list[Any]) -> list[int]:
    for seed in seeds:
        check_seed(key, seed, bits=32)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"`{key}` has a seed twice: {seeds}.")
    return seeds


def _name(key: str, name: Any) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ValueError(
            f"an item of `{key}` has the name {name!r}, but names are of letters, digits and . _ + -. Set `name`."
        )
    return name
