"""Checkpoints that are cut, changed or without a file are named, and the last whole one is taken."""

import json
import shutil
from pathlib import Path

import pytest
from accelerate import PartialState

from circuitseer_trl.artifacts import format_record, write_json
from circuitseer_trl.training.checkpoints import weights_digests, wrong_checkpoint, wrong_weights
from circuitseer_trl.training.resume import find_resume, is_finished
from tests.helpers.checkpoints import write_checkpoint, write_weights
from tests.helpers.damage import DAMAGE

pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True)
def processes() -> PartialState:
    return PartialState(cpu=True)  # accelerate's logger needs it


SETTINGS = {"seed": 1}
ENGINES = {
    "one process": {},
    "two processes": {"world_size": 2},
    "ZeRO-2": {"world_size": 2, "zero_stage": 2},
    "ZeRO-3": {"world_size": 2, "zero_stage": 3},
}
IGNORED = {"checkpoint.json"}  # without it, fewer faults are seen


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    for step in (4, 8):
        write_checkpoint(run, step)
    write_json(run / "training_settings.json", {"settings": SETTINGS} | format_record())
    return run


@pytest.mark.parametrize("engine", ENGINES)
def test_any_damage_to_any_file_of_a_checkpoint_is_named(tmp_path: Path, engine: str):
    whole, other = (write_checkpoint(tmp_path / name, step, **ENGINES[engine]) for name, step in (("a", 8), ("b", 9)))
    assert wrong_checkpoint(whole) is None
    for path in sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file()):
        if path.name in IGNORED:
            continue
        for name, damage in DAMAGE.items():
            damaged = shutil.copytree(whole, tmp_path / "damaged" / "checkpoint-8")
            damage(damaged / path, other / str(path).replace("8", "9"))
            wrong = wrong_checkpoint(damaged)
            # A state file of another run is an archive of torch as well, and nothing says which run it is of.
            expected = name != "swapped" or path.suffix not in (".pt", ".pth")
            assert (wrong is not None) == expected, (path, name)
            shutil.rmtree(damaged)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_checkpoint_without_our_record(tmp_path: Path, engine: str):
    """As TRL alone writes it: what is missing or cut is still seen."""
    whole = write_checkpoint(tmp_path / "a", 8, **ENGINES[engine], record=False)
    assert wrong_checkpoint(whole) is None
    for path in sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file()):
        for name in ("cut", "emptied", "deleted"):
            if (name, path.name) == ("deleted", "zero_pp_rank_1_mp_rank_00_optim_states.pt"):
                continue  # seen where the model's states have a file a rank
            damaged = shutil.copytree(whole, tmp_path / "damaged" / "checkpoint-8")
            DAMAGE[name](damaged / path, damaged / path)
            assert wrong_checkpoint(damaged) is not None, (path, name)
            shutil.rmtree(damaged)


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors", "trainer_state.json"]
)
def test_the_last_whole_one_is_taken_with_one_warning(run: Path, name: str, caplog: pytest.LogCaptureFixture):
    assert find_resume(run, SETTINGS, None) == str(run / "checkpoint-8")
    assert not caplog.records
    (run / "checkpoint-8" / name).unlink()
    for asked in (None, True, "true"):
        caplog.clear()
        assert find_resume(run, SETTINGS, asked) == str(run / "checkpoint-4")
        assert len(caplog.records) == 1
        assert f"checkpoint-8/{name}" in caplog.text
        assert "The run goes on from checkpoint-4" in caplog.text
    with pytest.raises(ValueError, match=f"is not whole: .*{name}.* Name another one"):
        find_resume(run, SETTINGS, str(run / "checkpoint-8"))
    assert find_resume(run, SETTINGS, str(run / "checkpoint-4")) == str(run / "checkpoint-4")


def test_without_a_whole_one_the_run_starts_anew(run: Path, caplog: pytest.LogCaptureFixture):
    for step in (4, 8):
        (run / f"checkpoint-{step}" / "optimizer.pt").unlink()
    assert find_resume(run, SETTINGS, None) is None
    assert "The run starts anew" in caplog.text
    with pytest.raises(ValueError, match="has no whole checkpoint"):
        find_resume(run, SETTINGS, True)


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "null", '{"format": 2, "version": "0.2.0"}'])
def test_settings_that_are_broken(run: Path, content: str):
    (run / "training_settings.json").write_text(content)
    with pytest.raises(ValueError, match=r"training_settings\.json.*not known with which settings"):
        find_resume(run, SETTINGS, None)


def test_a_run_of_another_version_is_not_added_to(run: Path):
    (run / "training_settings.json").write_text(json.dumps(SETTINGS))
    with pytest.raises(ValueError, match=r"training_settings\.json was written by circuitseer_trl 0\.1\.0"):
        find_resume(run, SETTINGS, None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    write_weights(folder)
    write_json(folder / "training.json", {"settings": SETTINGS, "weights": weights_digests(folder)})
    return folder


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["model.safetensors", "training.json"])
def test_a_model_that_is_not_whole_is_not_finished(
    model: Path, tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
):
    assert is_finished(model, SETTINGS)
    write_weights(tmp_path / "other", value=2)
    write_json(tmp_path / "other" / "training.json", {"settings": {"seed": 2}, "weights": {}})
    DAMAGE[damage](model / name, tmp_path / "other" / name)
    assert not is_finished(model, SETTINGS)
    quiet = name == "training.json" and damage in (
        "deleted",
        "swapped",
        "flipped",
    )  # there is none, or one of other settings
    assert quiet or (len(caplog.records) == 1 and name in caplog.text)


@pytest.mark.parametrize("content", ["{}", "[]", '{"settings": 3}'])
def test_a_result_without_settings_is_made_again(model: Path, content: str, caplog: pytest.LogCaptureFixture):
    (model / "training.json").write_text(content)
    assert not is_finished(model, SETTINGS)
    assert "does not hold the settings of a training" in caplog.text


def test_a_missing_shard_of_the_weights_is_named(tmp_path: Path):
    write_weights(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    write_json(tmp_path / "model.safetensors.index.json", index)
    assert wrong_weights(tmp_path, None) == f"there is no {tmp_path / 'model-00002-of-00002.safetensors'}"
