"""Reads recipes: YAML files and command-line flags into the dataclasses of a step."""

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from trl import TrlParser

# Keys that transformers 5 and TRL 1 took away, and what says the same thing now (their release notes; TRL's parser).
RENAMED = {
    "chat_template": "chat_template_path (a .jinja file or a tokenizer)",
    "dataset_mixture": "dataset_name (one data recipe a pool)",
    "evaluation_strategy": "eval_strategy",
    "group_by_length": "train_sampling_strategy: group_by_length",
    "logging_dir": "the environment variable TENSORBOARD_LOGGING_DIR",
    "max_seq_length": "max_length",
    "overwrite_output_dir": "nothing: choose another output_dir, or delete the old one",
    "save_safetensors": "nothing: weights are always safetensors",
    "tokenizer": "processing_class",
    "tokenizer_name": "model_name_or_path",
    "torch_dtype": "dtype",
    "use_liger": "model_init_kwargs: {use_kernels: true}",
    "warmup_ratio": "warmup_steps (a float below 1 is a share of all steps)",
}


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Reads one YAML recipe into a flat dict."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no recipe {path}. Recipes are YAML files; see the folder recipes/.")
    values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(values, dict):
        raise ValueError(f"Recipe {path} must be a YAML mapping of keys to values, got a {type(values).__name__}.")
    return values


class RecipeParser(TrlParser):
    """TRL's parser with `--config` as often as one likes, hints for unknown keys, and no abbreviated flags."""

    def __init__(self, *dataclass_types: type, **kwargs: Any) -> None:
        super().__init__(dataclass_types, allow_abbrev=False, **kwargs)  # type: ignore[arg-type]  # a NewType of Any
        self.add_argument(
            "--config",
            action="append",
            default=[],
            metavar="RECIPE.yaml",
            help="A recipe; may be repeated. Later recipes win over earlier ones, flags win over recipes.",
        )

    def parse(self, args: Sequence[str] | None = None) -> tuple[Any, ...]:
        arguments = list(sys.argv[1:] if args is None else args)
        recipes, rest = self._split(arguments)
        for path in recipes:
            unknown = self.set_defaults_with_config(**read_recipe(path))
            if unknown:
                raise ValueError("\n".join(self.hint(key[2:], f"recipe {path}") for key in unknown[::2]))
        *parsed, _, remaining = self.parse_args_into_dataclasses(
            args=rest, return_remaining_strings=True, look_for_args_file=False
        )
        flags = [text.split("=")[0] for text in remaining if text.startswith("--")]
        if remaining:
            hints = [self.hint(flag[2:], "the command line") for flag in flags]
            raise ValueError("\n".join(hints) or f"The command line has words that belong to no flag: {remaining}.")
        return tuple(parsed)

    @staticmethod
    def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
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
                    raise ValueError("`--config` needs the path of a recipe after it.")
                recipes.append(arguments[position])
            position += 1
        return recipes, rest

    def hint(self, key: str, where: str) -> str:
        known = [action.dest for action in self._actions]
        if key in RENAMED:
            advice = f"It is now: {RENAMED[key]}."
        elif close := difflib.get_close_matches(key, known, n=1):
            advice = f"Did you mean `{close[0]}`?"
        else:
            advice = "See `--help` for the keys of this step."
        return f"Unknown key `{key}` in {where}. {advice}"


def parse_recipe(*dataclass_types: type, args: Sequence[str] | None = None, **kwargs: Any) -> Any:
    """Reads recipes and flags into one instance of each dataclass (one type gives the instance itself).

    Args:
        dataclass_types: The dataclasses of the step; their fields are its keys.
        args: The command line; by default that of the process.
        kwargs: For the parser: `prog`, `description`.
    """
    parsed = RecipeParser(*dataclass_types, **kwargs).parse(args)
    return parsed[0] if len(parsed) == 1 else parsed
