"""How are recipes read? YAML files and command-line flags become the dataclasses of a step."""

import argparse
import sys
from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from trl import TrlParser

from circuitseer_trl.command_line import CommandParser
from circuitseer_trl.named_files import PLAIN_KINDS, find_file, shipped_path
from circuitseer_trl.value_types import check_type
from circuitseer_trl.yaml_files import read_yaml

# Keys that transformers 5 and TRL 1 removed, and what replaces them (their release notes; TRL's parser).
RENAMED = {
    "chat_template": "chat_template_path (a .jinja file or a tokenizer)",
    "dataset_mixture": "dataset_name (one data recipe a pool)",
    "evaluation_strategy": "eval_strategy",
    "group_by_length": "train_sampling_strategy: group_by_length",
    "logging_dir": "the environment variable TENSORBOARD_LOGGING_DIR",
    "max_seq_length": "max_length",
    "overwrite_output_dir": "nothing: use another output_dir, or delete the old one",
    "save_safetensors": "nothing: weights are always safetensors",
    "tokenizer": "processing_class",
    "tokenizer_name": "model_name_or_path",
    "torch_dtype": "dtype",
    "use_liger": "model_init_kwargs: {use_kernels: true}",
    "warmup_ratio": "warmup_steps (a float below 1 is a share of all steps)",
}

TAKES_TRUE = ("resume_from_checkpoint",)  # to TRL it is text, but transformers takes `true`, for the last checkpoint


def _with_shipped_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_shipped_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_shipped_paths(item) for item in value]
    return shipped_path(value) if isinstance(value, str) else value


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Reads one YAML recipe into a flat dict."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no recipe {path}. `circuitseer recipes` lists the recipes of the package.")
    values = read_yaml(path)
    if "config" in values:
        raise ValueError(f"Recipe {path} has the key `config`, but a recipe cannot name others. Repeat `--config`.")
    return _with_shipped_paths(values)


class RecipeParser(CommandParser, TrlParser):
    """TRL's parser with a repeatable `--config`, hints for unknown keys, and groups in its help.

    Args:
        dataclass_types: The dataclasses whose fields are the keys. `groups` of a class maps titles in the help to fields.
        kinds: Kinds of recipe among which `--config NAME` is searched.
        hidden: Keys that this step accepts but does not use. The help leaves them out.
    """

    def __init__(
        self, *dataclass_types: Any, kinds: Sequence[str] = PLAIN_KINDS, hidden: Collection[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(dataclass_types, usage="%(prog)s [--config RECIPE]... [--KEY VALUE]...", **kwargs)
        self.kinds = kinds
        self.add_argument(
            "--config",
            action="append",
            default=[],
            metavar="RECIPE",
            help="A YAML file, or a name that `circuitseer recipes` lists. May be repeated. Later recipes override "
            "earlier ones, and flags override recipes.",
        )
        for action in self._actions:
            if action.dest in hidden:
                action.help = argparse.SUPPRESS
        for kind in self.dataclass_types:
            for title, names in getattr(kind, "groups", {kind.__name__: [item.name for item in fields(kind)]}).items():
                self._group(title, names)

    def _group(self, title: str, names: Collection[str]) -> None:
        """Moves the keys from argparse's group of options to a separate group."""
        group = next((each for each in self._action_groups if each.title == title), None) or self.add_argument_group(
            title
        )
        for action in [each for each in self._optionals._group_actions if each.dest in names]:
            self._optionals._group_actions.remove(action)
            group._group_actions.append(action)

    def parse(self, args: Sequence[str] | None = None) -> tuple[Any, ...]:
        recipes, rest = self.split(list(sys.argv[1:] if args is None else args))
        kinds = {name: kind for each in self.dataclass_types for name, kind in get_type_hints(each).items()}
        defaults = {action.dest: action.default for action in self._actions}
        for path in (find_file(name, self.kinds) for name in recipes):
            values = read_recipe(path)
            for key, value in values.items():
                takes_true = key in TAKES_TRUE and isinstance(value, bool)
                if key in kinds and value != defaults.get(key) and not takes_true:
                    check_type(key, value, kinds[key], f"recipe {path}")
            unknown = self.set_defaults_with_config(**values)
            if unknown:
                raise ValueError("\n".join(self.hint(key[2:], f"recipe {path}") for key in unknown[::2]))
        self.check_flags(rest)
        try:
            *parsed, _, remaining = self.parse_args_into_dataclasses(
                args=rest, return_remaining_strings=True, look_for_args_file=False
            )
        except TypeError as error:  # a dataclass compares a value of the wrong type with a number
            raise ValueError(f"A value has the wrong type: {error}.") from error
        self.check_remaining(remaining)
        return tuple(parsed)

    @staticmethod
    def split(arguments: list[str]) -> tuple[list[str], list[str]]:
        recipes, rest = [], []
        position = 0
        while position < len(arguments):
            flag, _, value = arguments[position].partition("=")
            if flag != "--config":
                rest.append(arguments[position])
            elif value:
                recipes.append(value)
            else:
                position += 1
                if position == len(arguments):
                    raise ValueError("`--config` needs the path or the name of a recipe after it.")
                recipes.append(arguments[position])
            position += 1
        return recipes, rest

    def hint(self, key: str, where: str) -> str:
        if key in RENAMED:
            return f"Unknown key `{key}` in {where}. It is now: {RENAMED[key]}."
        return super().hint(key, where)


def raw_values(words: Sequence[str], kinds: Sequence[str] = PLAIN_KINDS) -> dict[str, Any]:
    """The keys of recipes and flags as they are written, without the dataclasses that check them and fill in defaults."""
    recipes, rest = RecipeParser.split(list(words))
    values: dict[str, Any] = {}
    for name in recipes:
        values |= read_recipe(find_file(name, kinds))
    flags: dict[str, list[str]] = {}
    key = ""
    for word in rest:
        if word.startswith("--"):
            key, given, value = word[2:].partition("=")
            flags[key] = [value] if given else []
        else:
            flags.setdefault(key, []).append(word)
    return values | {key: given[0] if len(given) == 1 else given for key, given in flags.items()}


def parse_recipe(*dataclass_types: Any, args: Sequence[str] | None = None, **kwargs: Any) -> Any:
    """Reads recipes and flags into the dataclasses of a step.

    Args:
        dataclass_types: The dataclasses, whose fields are the keys.
        args: The command line; None takes that of the process.
        kwargs: Arguments of the parser: `prog`, `description`, `kinds`, `hidden`.

    Returns:
        A tuple with an instance of each dataclass; the instance itself if there is only one.
    """
    parsed = RecipeParser(*dataclass_types, **kwargs).parse(args)
    return parsed[0] if len(parsed) == 1 else parsed
