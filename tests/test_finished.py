"""A step that is finished says so at once; anything that its products depend on makes it run again."""

import subprocess
import sys
from pathlib import Path

import pytest

from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.digests import content_digest
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.finished_evaluation import evaluation_step
from circuitseer_trl.finished import FinishedStep, selection_step
from circuitseer_trl.training.finished_training import training_products, training_step


@pytest.fixture
def step(tmp_path: Path) -> FinishedStep:
    (tmp_path / "run").mkdir()
    (tmp_path / "pool.jsonl").write_text("a")
    (tmp_path / "run" / "product.txt").write_text("made")
    made = FinishedStep("make", str(tmp_path / "run"), {"seed": 1}, [str(tmp_path / "pool.jsonl")])
    made.record(made.made_from(), "It is made.", ["product.txt"])
    return made


def again(step: FinishedStep, **changes: object) -> FinishedStep:
    return FinishedStep(**(vars(step) | changes))  # type: ignore[arg-type]


def text_of(step: FinishedStep) -> str | None:
    return step.text(step.made_from())


def test_a_finished_step_repeats_what_it_printed(step: FinishedStep):
    text = text_of(step)
    assert text is not None
    assert text.startswith("It is made.\nFinished before")


def test_other_settings_inputs_or_products_run_again(step: FinishedStep, tmp_path: Path):
    assert text_of(again(step, settings={"seed": 2})) is None
    assert text_of(again(step, name="other")) is None
    (tmp_path / "pool.jsonl").write_text("b")
    assert text_of(step) is None
    (tmp_path / "pool.jsonl").write_text("a")
    assert text_of(step) is not None
    (tmp_path / "run" / "product.txt").write_text("mad")
    assert text_of(step) is None
    (tmp_path / "run" / "product.txt").unlink()
    assert text_of(step) is None


@pytest.mark.parametrize("content", ['{"make": {"made_', "[]", ""])
def test_a_broken_record_is_written_anew(step: FinishedStep, tmp_path: Path, content: str):
    (tmp_path / "run" / "finished.json").write_text(content)
    assert text_of(step) is None
    step.record(step.made_from(), "It is made.", ["product.txt"])
    assert text_of(step) is not None


def test_what_is_not_known_runs_again(step: FinishedStep, monkeypatch: pytest.MonkeyPatch):
    for changes in (
        {"local": ["gsm8k"]},  # on the Hub, where it may change
        *({"inputs": {"queries": text}} for text in ("owner/name", "gsm8k", "x" * 5000)),
    ):
        hub = again(step, **changes)
        hub.record(hub.made_from(), "It is made.", ["product.txt"])
        assert text_of(hub) is None
        assert hub.text(hub.made_from(), trust_hub=True) is not None
    own = again(step, own_code=True)
    own.record(own.made_from(), "It is made.", ["product.txt"])
    assert text_of(own) is None
    known = again(step, inputs=[None, {"number": 3}])
    known.record(known.made_from(), "It is made.", ["product.txt"])
    assert text_of(known) is not None
    monkeypatch.setenv("RANK", "1")
    assert text_of(known) is None  # rank 0 decides


@pytest.mark.parametrize("record", ['{"make": 3}', '{"make": {}}', '{"make": {"made_from": "X", "products": {}}}'])
def test_a_record_without_products_is_no_record(step: FinishedStep, tmp_path: Path, record: str):
    (tmp_path / "run" / "finished.json").write_text(record.replace("X", str(step.made_from())))
    assert text_of(step) is None


def test_a_folder_that_was_moved_is_finished(step: FinishedStep, tmp_path: Path):
    settings = {"output_dir": str(tmp_path / "run"), "pool": [str(tmp_path / "pool.jsonl")]}
    first = again(step, settings=settings)
    first.record(first.made_from(), "It is made.", ["product.txt"])
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "pool.jsonl").rename(tmp_path / "rows.jsonl")
    changes = {"output_dir": str(tmp_path / "moved"), "local": [str(tmp_path / "rows.jsonl")]}
    moved = again(first, **changes, settings={"output_dir": "x", "pool": [str(tmp_path / "rows.jsonl")]})
    assert text_of(moved) is not None


def test_a_training_is_finished_with_the_same_words(tmp_path: Path):
    for name in ("pool.jsonl", "base", "x/selection.parquet", "x/selection.json", "out/model.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a")
    words = [
        "--dataset_name",
        f"{tmp_path}/pool.jsonl",
        "--model_name_or_path",
        f"{tmp_path}/base",
        "--learning_rate=1",
    ]
    words += ["--selection_file", f"{tmp_path}/x", "--output_dir", f"{tmp_path}/out"]

    def text(*more: str) -> str | None:
        step = training_step([*words, *more])
        return step.text(step.made_from())

    made = training_step(words)
    made.record(made.made_from(), "Done.", training_products(tmp_path / "out"))
    assert text() is not None
    assert text("--learning_rate", "2") is None
    assert text("--packing") is None
    assert text("--output_dir", f"{tmp_path}/other") is None
    (tmp_path / "x" / "selection.json").write_text("b")
    assert text() is None
    assert training_step(["--help"]).made_from() is None
    assert training_step([*words, "--selection_recipe", "random"]).made_from() is None  # it reads a model of its own


def test_the_number_of_processes_counts_where_it_sets_the_batch(tmp_path: Path):
    (tmp_path / "file").write_text("a")
    words = ["--dataset_name", f"{tmp_path}/file", "--model_name_or_path", f"{tmp_path}/file", "--output_dir", "x"]
    assert (
        training_step(words, 1).made_from() == training_step(words).made_from() != training_step(words, 2).made_from()
    )
    words += ["--total_batch_size", "32"]
    assert training_step(words, 1).made_from() == training_step(words, 2).made_from()


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


def test_an_input_that_changes_while_the_step_runs_makes_it_run_again(step: FinishedStep, tmp_path: Path):
    at_start = step.made_from()
    (tmp_path / "pool.jsonl").write_text("b")
    step.record(at_start, "It is made of a.", ["product.txt"])
    assert text_of(step) is None


def test_the_file_of_a_benchmark_counts(tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch):
    """`eval/benchmarks/mine.yaml` says which column is the answer; the other benchmarks of the folder have no part."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "other"):
        (tmp_path / "rows" / name).mkdir(parents=True)
        (tmp_path / "rows" / name / "test.jsonl").write_text("{}")
    config = EvaluationConfig(tiny_model, str(tmp_path / "run"), benchmarks=["mine"], benchmarks_dir="rows")
    plain = evaluation_step(config).made_from()
    assert plain is not None
    (tmp_path / "rows" / "other" / "test.jsonl").write_text("{ }")
    assert evaluation_step(config).made_from() == plain
    (tmp_path / "eval" / "benchmarks").mkdir(parents=True)
    (tmp_path / "eval" / "benchmarks" / "mine.yaml").write_text("answer: a")
    described = evaluation_step(config).made_from()
    (tmp_path / "eval" / "benchmarks" / "mine.yaml").write_text("answer: b")
    assert len({plain, described, evaluation_step(config).made_from(), None}) == 4
    config.benchmarks_dir = None
    step = evaluation_step(config)
    step.record(step.made_from(), "It is made.", ["."])
    assert step.text(step.made_from()) is None  # on the Hub


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
