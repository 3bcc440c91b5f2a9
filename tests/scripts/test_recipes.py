"""Which file a name stands for, and the command that lists, shows and copies."""

from pathlib import Path

import pytest

from circuitseer_trl import named_files
from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.named_files import SELECTION_KINDS, find_file
from circuitseer_trl.recipe import parse_recipe, read_recipe
from circuitseer_trl.scripts.main import main
from tests.conftest import ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str = "budget_ratio: 0.5\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_name_is_a_shipped_recipe(folder: Path):
    assert find_file("circuitseer", SELECTION_KINDS) == ROOT / "recipes/selection/circuitseer.yaml"
    assert find_file("top_k", SELECTION_KINDS) == ROOT / "recipes/ablations/top_k.yaml"
    assert find_file("demo/sft", ("sft",)) == ROOT / "recipes/demo/sft.yaml"
    assert find_file("zero3", ("accelerate_configs",)) == ROOT / "accelerate_configs/zero3.yaml"


def test_in_the_checkout_a_name_is_the_path_that_was_always_written(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert str(find_file("circuitseer", SELECTION_KINDS)) == "recipes/selection/circuitseer.yaml"
    assert read_recipe("recipes/demo/circuitseer.yaml")["reference_model"] == "recipes/demo/base_model"


def test_the_users_own_recipe_wins(folder: Path):
    write(folder / "recipes/selection/circuitseer.yaml")
    write(folder / "recipes/selection/mine.yml")
    assert find_file("circuitseer", SELECTION_KINDS) == Path("recipes/selection/circuitseer.yaml")
    assert find_file("mine", SELECTION_KINDS) == Path("recipes/selection/mine.yml")


def test_a_path_is_a_path(folder: Path):
    mine = write(folder / "circuitseer.yaml")
    assert find_file("circuitseer.yaml", SELECTION_KINDS) == Path(mine.name)
    assert find_file(mine, SELECTION_KINDS) == mine
    with pytest.raises(FileNotFoundError, match=r"There is no recipe recipes/selection/none\.yaml"):
        find_file("recipes/selection/none.yaml", SELECTION_KINDS)


def test_a_name_of_two_kinds_is_refused_with_both(folder: Path):
    write(folder / "recipes/data/circuitseer.yaml")
    with pytest.raises(ValueError, match="can be data/circuitseer or selection/circuitseer"):
        find_file("circuitseer", SELECTION_KINDS)
    assert find_file("data/circuitseer", SELECTION_KINDS) == Path("recipes/data/circuitseer.yaml")


def test_names_are_read_by_a_step(folder: Path):
    write(folder / "recipes/data/mine.yaml", "dataset_name: pool.jsonl\n")
    words = ["--config", "mine", "--config", "circuitseer", "--output_dir", "x"]
    pool, selection = parse_recipe(PoolConfig, SelectionConfig, args=words, kinds=SELECTION_KINDS)
    assert (pool.dataset_name, selection.probe_size) == ("pool.jsonl", 300)


def test_paths_inside_recipes_work_from_anywhere(folder: Path):
    shipped = read_recipe(ROOT / "recipes/demo/circuitseer.yaml")["reference_model"]
    assert shipped == str(ROOT / "recipes/demo/base_model")
    nested = write(folder / "nested.yaml", "method_args: {folders: [recipes/demo/base_model, recipes/none]}\n")
    assert read_recipe(nested)["method_args"] == {"folders": [shipped, "recipes/none"]}


def test_an_installed_package_has_its_files_inside(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(named_files, "SHIPPED", folder / "shipped")
    installed = write(folder / "shipped/recipes/selection/circuitseer.yaml")
    assert find_file("circuitseer", SELECTION_KINDS) == installed


def test_list_show_copy(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    for path in (ROOT / "recipes").rglob("*.yaml"):
        assert f"\n    {path.stem} " in listed
    assert main(["recipes", "show", "circuitseer"]) == 0
    assert capsys.readouterr().out == (ROOT / "recipes/selection/circuitseer.yaml").read_text()

    assert main(["recipes", "copy", "circuitseer"]) == 0
    copied = Path("recipes/selection/circuitseer.yaml")
    assert copied.read_text() == (ROOT / copied).read_text()
    assert main(["recipes", "copy", "circuitseer"]) == 2  # never over a file of the user's
    assert "already exists" in capsys.readouterr().err
    assert main(["recipes", "copy", "demo/sft", "."]) == 0
    assert Path("sft.yaml").is_file()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("zero3", "accelerate_configs/zero3.yaml"),
        ("math500", "eval/benchmarks/math500.yaml"),
        ("gsm8k", "recipes/data/gsm8k.yaml"),
        ("benchmarks/gsm8k", "eval/benchmarks/gsm8k.yaml"),
        ("demo/circuitseer", "recipes/demo/circuitseer.yaml"),
    ],
)
def test_every_name_that_is_listed_is_shown(name: str, file: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["recipes", "show", name]) == 0
    assert capsys.readouterr().out == (ROOT / file).read_text()
    assert main(["recipes", "copy", name]) == 0
    assert Path(file).is_file()


def test_every_key_has_a_group_in_the_help():
    for kind in (PoolConfig, SelectionConfig):
        grouped = [name for names in kind.groups.values() for name in names]
        assert len(grouped) == len(set(grouped))
        assert set(kind.__dataclass_fields__) - set(grouped) == {"groups"} & set(kind.__dataclass_fields__)
