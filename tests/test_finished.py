"""A step that is finished says so at once; anything that its products depend on makes it run again."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.finished import FinishedStep, content_digest, selection_step


@dataclass
class Settings:
    seed: int = 1


@pytest.fixture
def step(tmp_path: Path) -> FinishedStep:
    (tmp_path / "run").mkdir()
    (tmp_path / "pool.jsonl").write_text("a")
    (tmp_path / "run" / "product.txt").write_text("made")
    made = FinishedStep("make", str(tmp_path / "run"), [Settings()], [str(tmp_path / "pool.jsonl")])
    made.record("It is made.", ["product.txt"])
    return made


def again(step: FinishedStep, **changes: object) -> FinishedStep:
    return FinishedStep(**(vars(step) | changes))  # type: ignore[arg-type]


def test_a_finished_step_repeats_what_it_printed(step: FinishedStep):
    text = again(step).text()
    assert text is not None
    assert text.startswith("It is made.\nFinished before")


def test_other_settings_inputs_or_products_run_again(step: FinishedStep, tmp_path: Path):
    assert again(step, settings=[Settings(2)]).text() is None
    assert again(step, name="other").text() is None
    (tmp_path / "pool.jsonl").write_text("b")
    assert step.text() is None
    (tmp_path / "pool.jsonl").write_text("a")
    assert step.text() is not None
    (tmp_path / "run" / "product.txt").write_text("mad")
    assert step.text() is None
    (tmp_path / "run" / "product.txt").unlink()
    assert step.text() is None


def test_what_is_not_known_runs_again(step: FinishedStep, monkeypatch: pytest.MonkeyPatch):
    assert again(step, local=["gsm8k"]).made_from() is None  # on the Hub, where it may change
    assert again(step, inputs={"queries": "owner/name"}).made_from() is None
    assert again(step, own_code=True).made_from() is None
    assert again(step, inputs=["x" * 5000, None, 3]).made_from() is not None  # no path
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert step.text() is None


def test_inputs_inside_method_args_count(tmp_path: Path):
    (tmp_path / "pool.jsonl").write_text("a")
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "one.jsonl").write_text("a")
    arguments = {"queries": str(tmp_path / "queries")}
    config = SelectionConfig(output_dir=str(tmp_path / "run"), method="rds", method_args=arguments)
    made = selection_step("select-data", PoolConfig(str(tmp_path / "pool.jsonl")), config)
    before = made.made_from()
    assert before is not None
    (tmp_path / "queries" / "two.jsonl").write_text("b")
    assert made.made_from() not in (None, before)


def test_a_folder_is_its_files(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = content_digest(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert content_digest(tmp_path / "a") != first


@pytest.mark.thorough
def test_a_finished_selection_loads_no_torch(tmp_path: Path, tiny_model: str, pool_file: str):
    words = ["--dataset_name", pool_file, "--reference_model", tiny_model, "--probe_size", "3", "--budget_size", "3"]
    code = (
        "import sys; from circuitseer_trl.scripts.select_data import main; main(sys.argv[1:]); "
        "print('LOADED', sorted({'torch', 'transformers', 'pyarrow', 'datasets'} & set(sys.modules)))"
    )

    def run() -> str:
        command = [sys.executable, "-c", code, *words, "--output_dir", str(tmp_path / "run")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    first, second = run(), run()
    assert "Finished before" not in first
    assert second.startswith(first.partition("LOADED")[0].rstrip())
    assert second.endswith("LOADED []\n")
