"""Every file of a selection, damaged: it is made again as it was, or a reader names it in one line. Nothing is silent."""

import shutil
from pathlib import Path

import pytest

from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.scoring.stored import read_scores
from circuitseer_trl.scripts import select_data
from circuitseer_trl.selection.differences import read_folder
from circuitseer_trl.selection.step_cards import read_step_cards
from circuitseer_trl.selection.trained_on import mark_trained
from circuitseer_trl.training.selected_rows import read_chosen_rows
from tests.helpers.damage import DAMAGE

pytestmark = pytest.mark.thorough

# The files of a selection, and what reads them without computing anything.
FILES = {
    "heads.json": ("compare", "heads", "report"),
    "importance.parquet": ("compare", "heads", "report"),
    "probe.parquet": ("compare", "heads", "report"),
    "importance.manifest.json": (),
    "importance/part-000000001.parquet": (),
    "losses.manifest.json": (),
    "losses/part-000000000.parquet": (),
    "scores.manifest.json": ("compare", "combine"),
    "scores/part-000000000.parquet": ("compare", "combine"),
    "scores.json": ("compare", "combine", "report"),
    "selection.parquet": ("compare", "train"),
    "selection.json": ("compare", "train", "report"),
    "examples.json": ("compare", "report"),
    "dropped.parquet": (),
    "finished.json": (),
}
MAY_BE_MISSING = {  # a part of a run may be copied
    ("heads.json", "compare"),
    ("heads.json", "report"),
    ("scores.json", "report"),
    ("selection.json", "report"),
    *(("examples.json", reader) for reader in FILES["examples.json"]),
    *((name, reader) for name in ("importance.parquet", "probe.parquet") for reader in FILES[name]),
}
READERS = {
    "compare": lambda folder, pool: read_folder(folder),
    "combine": lambda folder, pool: read_scores(str(folder)),
    "heads": lambda folder, pool: HeadSet.read(folder / "heads.json"),
    "report": lambda folder, pool: read_step_cards(folder),
    "train": lambda folder, pool: read_chosen_rows(folder, pool),
}


def select(folder: Path, model: str, pool_file: str, *more: str) -> None:
    words = ["--dataset_name", pool_file, "--reference_model", model, "--probe_size", "3", "--budget_size", "4"]
    select_data.main([*words, "--head_ratio", "0.25", "--output_dir", str(folder), *more])


def contents(folder: Path) -> dict[str, bytes]:
    """All files but for what depends on the clock: `finished.json` has the time that the step took."""
    files = {path for path in folder.rglob("*") if path.is_file() and path.name != "finished.json"}
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_model: str, other_model: str, pool_file: str) -> Path:
    """Two runs on one pool, by two models."""
    folder = tmp_path_factory.mktemp("runs")
    select(folder / "ours", tiny_model, pool_file)
    select(folder / "theirs", other_model, pool_file)
    return folder


@pytest.fixture(scope="module")
def pool(pool_file: str) -> Pool:
    return load_pool(pool_file)


def test_the_table_has_every_file(runs: Path):
    found = {str(path.relative_to(runs / "ours")) for path in (runs / "ours").rglob("*") if path.is_file()}
    shown_alone = {"token_views.json"}  # for a page, which leaves it out where it is missing
    assert found - shown_alone - {f"importance/part-00000000{number}.parquet" for number in (0, 2)} == FILES.keys()


@pytest.mark.parametrize("reader", READERS)
def test_whole_runs_are_read(runs: Path, pool: Pool, reader: str):
    READERS[reader](runs / "ours", pool)
    READERS[reader](runs / "theirs", pool)


@pytest.mark.parametrize(("name", "reader"), [(name, reader) for name, readers in FILES.items() for reader in readers])
def test_a_reader_names_a_damaged_file(runs: Path, tmp_path: Path, pool: Pool, name: str, reader: str):
    for kind, damage in DAMAGE.items():
        folder = shutil.copytree(runs / "ours", tmp_path / kind)
        damage(folder / name, runs / "theirs" / name)
        if kind == "deleted" and (name, reader) in MAY_BE_MISSING:
            READERS[reader](folder, pool)
            continue
        if kind == "swapped" and (reader, name) == ("heads", "heads.json"):
            continue  # whole heads of another model; `check_model` refuses them
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            READERS[reader](folder, pool)
        assert Path(name).name.partition(".")[0] in str(error.value), (kind, error.value)
        assert "circuitseer" in str(error.value), (kind, error.value)  # the step that writes it again


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_step_makes_every_damaged_file_again(
    runs: Path, tmp_path: Path, tiny_model: str, pool_file: str, kind: str, caplog: pytest.LogCaptureFixture
):
    """All files at once, since a run takes a second: those of the run itself, and those that only it can read."""
    before = contents(runs / "ours")
    folder = shutil.copytree(runs / "ours", tmp_path / "run")
    for name in FILES:
        # The inputs of another run refuse a run, as they must; see test_shards.
        if not (kind == "swapped" and "manifest" in name):
            DAMAGE[kind](folder / name, runs / "theirs" / name)
    select(folder, tiny_model, pool_file)
    after = contents(folder)
    for card in ("heads.json", "scores.json"):  # their seconds are of this run
        assert after.pop(card)
    assert {name: before[name] for name in after} == after
    read_folder(folder)
    if kind != "deleted":
        for name in (
            "importance/part-000000001.parquet",
            "losses/part-000000000.parquet",
            "scores/part-000000000.parquet",
        ):
            assert name.rpartition("/")[2] in caplog.text
            assert name.partition("/")[0] in caplog.text


def test_a_selection_that_a_model_was_trained_on_stays(runs: Path, tmp_path: Path, tiny_model: str, pool_file: str):
    folder = shutil.copytree(runs / "ours", tmp_path / "run" / "selection")
    before = contents(folder)
    model = tmp_path / "run" / "model"
    model.mkdir()
    (model / "training.json").write_text("{}")
    mark_trained(folder, model, read_folder(folder).card["rows"])
    select(folder, tiny_model, pool_file, "--report_to", "none", "--selection_seed", "42")  # the same rows
    with pytest.raises(ValueError, match=r"run/model was trained on the selection in .*Choose another `output_dir`"):
        select(folder, tiny_model, pool_file, "--selection_seed", "7")
    after = contents(folder)
    assert {name: after[name] for name in before} == before

    moved = (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="moved/model was trained on the selection"):
        select(moved / "selection", tiny_model, pool_file, "--selection_seed", "7")
    shutil.rmtree(moved / "model")
    select(moved / "selection", tiny_model, pool_file, "--selection_seed", "7")
    assert (moved / "selection" / "selection.parquet").read_bytes() != before["selection.parquet"]
