"""Recipes and flags: what wins over what, and what is refused with a hint."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.methods import METHODS, WITHOUT_SELECTION

RECIPES = ROOT / "recipes"


@dataclass
class Options:
    learning_rate: float = 1.0
    max_length: int = 8
    name: str | None = None
    values: dict = field(default_factory=dict)


def recipe(folder: Path, name: str, **values: object) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def test_later_recipes_win_and_flags_win_over_recipes(tmp_path: Path):
    first = recipe(tmp_path, "first", learning_rate=2.0, max_length=16)
    second = recipe(tmp_path, "second", learning_rate=3.0)
    assert parse_recipe(Options, args=["--config", first, f"--config={second}"]) == Options(3.0, 16)
    assert parse_recipe(Options, args=["--learning_rate", "4", "--config", first]) == Options(4.0, 16)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("lerning_rate", "Did you mean `learning_rate`?"),
        ("max_seq_length", "It is now: max_length"),
        ("warmup_ratio", "It is now: warmup_steps"),
        ("torch_dtype", "It is now: dtype"),
        ("zzz", "See `--help`"),
    ],
)
def test_unknown_keys_get_a_hint(tmp_path: Path, key: str, hint: str):
    path = recipe(tmp_path, "r", **{key: 1})
    with pytest.raises(ValueError, match=f"Unknown key `{key}` in recipe") as error:
        parse_recipe(Options, args=["--config", path])
    assert hint in str(error.value)
    with pytest.raises(ValueError, match=f"Unknown key `{key}` in the command line"):
        parse_recipe(Options, args=[f"--{key}", "1"])


def test_abbreviations_are_off():
    with pytest.raises(ValueError, match="Unknown key `learning`"):
        parse_recipe(Options, args=["--learning", "2"])


def test_a_missing_recipe_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="There is no recipe"):
        parse_recipe(Options, args=["--config", str(tmp_path / "none.yaml")])
    with pytest.raises(ValueError, match="needs the path"):
        parse_recipe(Options, args=["--config"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("budget_ratio", 0, r"must be a number in \(0, 1\], got 0"),
        ("budget_ratio", 1.5, r"must be a number in \(0, 1\], got 1.5"),
        ("budget_size", 0, "at least 1, got 0"),
        ("sampling", "hard", "must be one of soft, soft_inverse, top_k, bottom_k, got 'hard'"),
        ("head_set", "some", "must be one of detected, all, random"),
        ("probe_size", 2.5, "must be a whole number"),
        ("sink_tokens", -1, "at least 0"),
    ],
)
def test_values_of_recipes_are_checked(tmp_path: Path, key: str, value: object, message: str):
    path = recipe(tmp_path, "r", output_dir="x", **{key: value})
    with pytest.raises(ValueError, match=message):
        parse_recipe(SelectionConfig, args=["--config", path])


def test_every_data_and_selection_recipe_is_read():
    files = [
        path
        for kind in ("data", "selection", "ablations", "demo", "smollm2")
        for path in RECIPES.glob(f"{kind}/*.yaml")
    ]
    assert len(files) > 15
    for path in files:
        values = yaml.safe_load(path.read_text())
        if "dataset_name" in values:
            assert parse_recipe(PoolConfig, args=["--config", str(path)]).dataset_name == values["dataset_name"]
        elif "method" in values:
            config = parse_recipe(SelectionConfig, args=["--config", str(path), "--output_dir", "x"])
            assert config.method in {*METHODS, *WITHOUT_SELECTION}, path


def test_paper_defaults():
    config = parse_recipe(
        SelectionConfig, args=["--config", str(RECIPES / "selection" / "circuitseer.yaml"), "--output_dir", "x"]
    )
    assert config == SelectionConfig(output_dir="x", reference_model="Qwen/Qwen2.5-Math-1.5B-Instruct")
