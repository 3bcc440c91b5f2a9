"""Recipes and flags: what wins over what, and what is refused with a hint."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trl import ModelConfig, SFTConfig

from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.methods import METHODS, WITHOUT_SELECTION
from circuitseer_trl.studies.study_file import read_study
from circuitseer_trl.training.training_config import TrainingConfig
from circuitseer_trl.training.training_values import check_training_values
from tests.conftest import ROOT
from tests.pool.test_file_rows import JSON_VALUES

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
        ("sampling", "hard", r"must be one of soft, soft_inverse, top_k, bottom_k, .*got 'hard'"),
        ("head_set", "some", "must be one of detected, all, random"),
        ("probe_size", 2.5, "must be a whole number"),
        ("sink_tokens", -1, "at least 0"),
    ],
)
def test_values_of_recipes_are_checked(tmp_path: Path, key: str, value: object, message: str):
    path = recipe(tmp_path, "r", output_dir="x", **{key: value})
    with pytest.raises(ValueError, match=message):
        parse_recipe(SelectionConfig, args=["--config", path])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("dataset_name: {a: b}", "`dataset_name` in recipe .*r.yaml must be text, got {'a': 'b'}"),
        ("dataset_name: [a]", r"`dataset_name` in recipe .*r.yaml must be text, got \['a'\]"),
        (
            "dataset_config: 2024",
            "`dataset_config` in recipe .*r.yaml must be text, or null, got 2024. Write it in quotes.",
        ),
        ("dataset_split: no", "`dataset_split` in recipe .*r.yaml must be text, got False. Write it in quotes."),
        ("ngram_size: x", "`ngram_size` in recipe .*r.yaml must be a whole number, got 'x'"),
        ("ngram_size: null", "`ngram_size` in recipe .*r.yaml must be a whole number, got None"),
        ("ngram_size: yes", "`ngram_size` in recipe .*r.yaml must be a whole number, got True"),
        ("dedup_similarity: {a: 1}", "`dedup_similarity` in recipe .*r.yaml must be a number, or null"),
        ("dedup_similarity: .nan", "`dedup_similarity` must be a number in"),
        ("decontaminate_against: 5", "`decontaminate_against` in recipe .*r.yaml must be a list, or null, got 5"),
        (
            "decontaminate_against: [{dataset_name: 5}]",
            "`dataset_name` of an item of `decontaminate_against` must be text",
        ),
        ("dataset_name: ''", "`dataset_name` is empty"),
    ],
)
def test_a_value_of_the_wrong_type_names_the_key_and_the_file(tmp_path: Path, keys: str, message: str):
    (tmp_path / "r.yaml").write_text(keys)
    name = [] if keys.startswith("dataset_name") else ["--dataset_name", "d"]
    with pytest.raises(ValueError, match=message):
        parse_recipe(PoolConfig, args=["--config", str(tmp_path / "r.yaml"), *name])


SELECTION_KEYS = sorted(item.name for kind in (PoolConfig, SelectionConfig) for item in fields(kind))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SELECTION_KEYS), JSON_VALUES)
def test_any_value_is_taken_or_refused_by_its_key(tmp_path: Path, key: str, value: object):
    path, refused = tmp_path / "r.yaml", ""
    path.write_text(yaml.safe_dump({"dataset_name": "d", "output_dir": "x"} | {key: value}), encoding="utf-8")
    try:
        parse_recipe(PoolConfig, SelectionConfig, args=["--config", str(path)])
    except ValueError as error:
        refused = str(error)
    assert not refused or key in refused or str(path) in refused


def test_a_date_without_quotes_is_one(tmp_path: Path):
    (tmp_path / "r.yaml").write_text("dataset_name: d\nchat_date: 2024-12-06\n")  # to YAML it is no text
    assert parse_recipe(PoolConfig, args=["--config", str(tmp_path / "r.yaml")]).chat_date == "2024-12-06"


def test_a_recipe_can_ask_for_the_last_checkpoint(tmp_path: Path):
    (tmp_path / "r.yaml").write_text(
        f"output_dir: {tmp_path}\nuse_cpu: true\nbf16: false\nresume_from_checkpoint: true\n"
    )
    assert parse_recipe(SFTConfig, args=["--config", str(tmp_path / "r.yaml")]).resume_from_checkpoint is True


def test_text_that_is_a_number_is_one(tmp_path: Path):
    (tmp_path / "r.yaml").write_text("dedup_similarity: 1e-1\nngram_size: '5'\n")  # to YAML both are text
    config = parse_recipe(PoolConfig, args=["--config", str(tmp_path / "r.yaml"), "--dataset_name", "d"])
    assert (config.dedup_similarity, config.ngram_size) == (0.1, 5)


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, True, "7"])
def test_a_seed_is_checked_before_work(value: object):
    message = "must be a whole number from 0 to 18446744073709551615, got "
    for key in ("selection_seed", "head_seed"):
        with pytest.raises(ValueError, match=f"`{key}` {message}"):
            SelectionConfig(output_dir="x", **{key: value})
    with pytest.raises(ValueError, match=f"`seed` {message}"):
        EvaluationConfig(model_name_or_path="m", output_dir="x", seed=value)
    assert SelectionConfig(output_dir="x", selection_seed=2**64 - 1).selection_seed == 2**64 - 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number_is_nan_or_infinite(value: float):
    with pytest.raises(ValueError, match="`budget_ratio` must be a number"):
        SelectionConfig(output_dir="x", budget_ratio=value)
    with pytest.raises(ValueError, match="`temperature` must be a number above 0"):
        EvaluationConfig(model_name_or_path="m", output_dir="x", temperature=value)
    with pytest.raises(ValueError, match="`rope_theta` must be a number above 0"):
        TrainingConfig(rope_theta=value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", 2**32, "from 0 to 4294967295"),
        ("data_seed", -1, "from 0 to 4294967295"),
        ("num_train_epochs", 0, "number above 0"),
        ("num_train_epochs", float("inf"), "number above 0"),
        ("max_steps", 0, "at least 1"),
        ("max_steps", -2, "at least 1"),
        ("per_device_train_batch_size", 0, "at least 1"),
        ("gradient_accumulation_steps", -1, "at least 1"),
        ("learning_rate", float("nan"), "a number of at least 0, got nan"),
        ("learning_rate", -1e-5, "at least 0"),
        ("weight_decay", float("inf"), "a number of at least 0, got inf"),
        ("adam_beta1", 1.5, r"in \[0, 1\]"),
        ("save_steps", 0, "number above 0"),
        ("max_length", 0, "at least 1"),
    ],
)
def test_values_of_training_are_checked_before_work(tmp_path: Path, key: str, value: object, message: str):
    args = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    check_training_values(args)
    setattr(args, key, value)
    with pytest.raises(ValueError, match=f"`{key}` must be .*{message}"):
        check_training_values(args)


def test_a_checkpoint_that_is_not_there_is_found_before_work(tmp_path: Path):
    args = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    for asked in ("true", "none", str(tmp_path)):
        args.resume_from_checkpoint = asked
        check_training_values(args)
    args.resume_from_checkpoint = str(tmp_path / "checkpoint-3")
    with pytest.raises(FileNotFoundError, match="checkpoint-3, which is no checkpoint folder"):
        check_training_values(args)


def types_of(values: dict[str, object]) -> tuple[type, ...]:
    """The dataclasses that a recipe is for, by the one key that each kind has."""
    if "dataset_name" in values:
        return (PoolConfig,)
    if "method" in values:
        return (SelectionConfig,)
    if "benchmarks" in values:
        return (EvaluationConfig,)
    assert "learning_rate" in values
    return (PoolConfig, SFTConfig, ModelConfig, TrainingConfig)


STEP_RECIPES = sorted(
    path for path in RECIPES.rglob("*.yaml") if "study" not in path.stem and path.parent.name != "studies"
)


@pytest.mark.parametrize("path", STEP_RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_is_read(path: Path):
    values = yaml.safe_load(path.read_text())
    types = types_of(values)
    required = {"output_dir": "x", "model_name_or_path": "m", "dataset_name": "d"}
    known = {item.name for kind in types for item in fields(kind)}
    flags = [
        word for key, value in required.items() if key in known and key not in values for word in (f"--{key}", value)
    ]
    if SFTConfig in types:
        # A machine without a GPU refuses bfloat16 before anything else is looked at.
        flags += ["--use_cpu", "true", "--bf16", "false"]
    parsed = parse_recipe(*types, args=["--config", str(path), *flags])
    parts = parsed if isinstance(parsed, tuple) else (parsed,)
    for key in values:
        assert any(hasattr(part, key) for part in parts), key
    if "method" in values:
        assert values["method"] in {*METHODS, *WITHOUT_SELECTION}


@pytest.mark.parametrize("path", sorted((RECIPES / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_is_read(path: Path):
    assert read_study(path).methods


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("all_heads", {"head_set": "all"}),  # table 2
        ("random_heads", {"head_set": "random"}),  # table 2
        ("low_scores", {"sampling": "soft_inverse"}),  # table 3
        ("lowest", {"sampling": "bottom_k"}),  # table 3, the other reading
        ("top_k", {"sampling": "top_k"}),  # table 4
        ("solution", {"score_on": "solution"}),  # table 5
        ("without_sink", {"sink_tokens": 1}),  # controls that are ours
        ("length_bin", {"length_control": "bin"}),
    ],
)
def test_an_ablation_is_the_papers_selection_but_for_one_key(name: str, changes: dict[str, object]):
    paper, ablation = (
        parse_recipe(SelectionConfig, args=["--config", str(RECIPES / path), "--output_dir", "x"])
        for path in ("selection/circuitseer.yaml", f"ablations/{name}.yaml")
    )
    assert ablation == replace(paper, **changes)


def test_there_are_recipes_of_every_kind():
    for kind in ("data", "selection", "ablations", "sft", "eval", "demo", "smollm2"):
        assert list((RECIPES / kind).glob("*.yaml")), kind


def test_paper_defaults():
    config = parse_recipe(
        SelectionConfig, args=["--config", str(RECIPES / "selection" / "circuitseer.yaml"), "--output_dir", "x"]
    )
    assert config == SelectionConfig(output_dir="x", reference_model="Qwen/Qwen2.5-Math-1.5B-Instruct")
