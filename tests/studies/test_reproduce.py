"""The driver: its plan of steps, its flags, what it skips, and where it stops."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.finished import FinishedStep
from circuitseer_trl.scripts.main import main as circuitseer
from circuitseer_trl.scripts.reproduce import parser
from circuitseer_trl.studies.reproduce import plan, processes_of, read_overrides, read_seconds, run
from circuitseer_trl.studies.tasks import Task
from tests.conftest import ROOT
from tests.helpers.damage import flip
from tests.helpers.launch import launch
from tests.programs.recording_step import step as recorded


def recipes(folder: Path, pool_file: str, model: str, method: str = "circuitseer") -> list[str]:
    values = {
        "data": {"dataset_name": pool_file, "system_prompt": "Think."},
        "selection": {"method": method, "reference_model": model, "probe_size": 3, "budget_ratio": 0.5},
        "sft": {
            "model_name_or_path": model,
            "use_cpu": True,
            "bf16": False,
            "max_length": 128,
            "max_steps": 2,
            "per_device_train_batch_size": 2,
            "save_strategy": "no",
        },
        "eval": {"benchmarks": ["word_problems"], "max_new_tokens": 8, "num_samples": 2},
    }
    words = []
    for name, content in values.items():
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        words += [f"--{name}", str(path)]
    return [*words, "--output_dir", str(folder / "run")]


def steps_of(words: list[str], *overrides: str) -> list[Task]:
    options, rest = parser().parse_known_args([*words, *overrides])
    return plan(options, read_overrides(rest))


def test_the_plan_hands_each_step_its_files(tmp_path: Path, pool_file: str, tiny_model: str):
    steps = steps_of(recipes(tmp_path, pool_file, tiny_model), "--data.dataset_split", "test", "--train.seed=3")
    assert [step.name for step in steps] == ["select", "train", "evaluate", "report"]
    select, train, evaluate, _ = (" ".join(step.arguments) for step in steps)
    assert f"--output_dir {tmp_path}/run/selection --dataset_split test" in select
    assert f"--selection_file {tmp_path}/run/selection/selection.parquet --dataset_split test --seed 3" in train
    assert f"--model_name_or_path {tmp_path}/run/model" in evaluate
    assert "--system_prompt Think." in evaluate


def test_a_group_has_every_step_tracked(tmp_path: Path, pool_file: str, tiny_model: str):
    words = recipes(tmp_path, pool_file, tiny_model)
    assert not any("--report_to" in step.arguments for step in steps_of(words))
    tracked = ["--report_to" in step.arguments for step in steps_of([*words, "--wandb_group", "x"])]
    assert tracked == [True, True, True, False]


def test_full_and_zero_shot_leave_steps_out(tmp_path: Path, pool_file: str, tiny_model: str):
    full = steps_of(recipes(tmp_path, pool_file, tiny_model, "full"))
    assert [step.name for step in full] == ["train", "evaluate", "report"]
    assert "--selection_file" not in full[0].arguments
    zero_shot = steps_of(recipes(tmp_path, pool_file, tiny_model, "zero_shot"))
    assert [step.name for step in zero_shot] == ["evaluate", "report"]
    assert f"--model_name_or_path {tiny_model}" in " ".join(zero_shot[0].arguments)


def test_mistakes_are_found_before_anything_runs(tmp_path: Path, pool_file: str, tiny_model: str):
    words = recipes(tmp_path, pool_file, tiny_model)
    with pytest.raises(ValueError, match="There is no method 'magic'"):
        steps_of(words, "--select.method", "magic")
    with pytest.raises(ValueError, match="Unknown flag '--seed'"):
        steps_of(words, "--seed", "3")
    with pytest.raises(ValueError, match="needs a value"):
        steps_of(words, "--train.seed")
    with pytest.raises(FileNotFoundError, match="There is no model folder"):
        steps_of(words, "--train.model_name_or_path", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="There is no recipe"):
        steps_of([*words, "--sft", str(tmp_path / "none.yaml")])


@pytest.mark.parametrize(
    ("words", "launched"),
    [
        ([], True),
        (["--evaluate.backend", "vllm"], True),
        (["--evaluate.backend", "vllm", "--evaluate.tensor_parallel_size", "4"], False),
        (["--evaluate.backend", "openai", "--evaluate.base_url", "http://localhost:8000/v1"], False),
    ],
)
def test_evaluation_is_launched_where_a_process_has_a_gpu(
    tmp_path: Path, pool_file: str, tiny_model: str, words: list[str], launched: bool
):
    steps = {step.name: step for step in steps_of([*recipes(tmp_path, pool_file, tiny_model), *words])}
    assert steps["evaluate"].launch == launched


def test_launch_only_where_it_is_asked_for(tmp_path: Path):
    task = Task("x", "train-sft", "", str(tmp_path), ["--a"], [], [])
    module = "circuitseer_trl.scripts.train_sft"
    assert task.command(None, None) == [sys.executable, "-m", module, "--a"]
    assert task.command(Path("zero3.yaml"), 2)[1:] == [
        *("-m", "circuitseer_trl.distributed.launcher", "--config_file", "zero3.yaml", "--num_processes", "2"),
        *("-m", module, "--a"),
    ]


def test_a_shipped_recipe_is_the_same_wherever_the_package_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run goes on with the package in another virtual environment, and was begun with a path in the checkout."""
    words = ["--data", "gsm8k", "--selection", "random", "--sft", "qwen2.5-math-7b", "--eval", "paper"]
    words += ["--output_dir", "runs/x"]
    monkeypatch.chdir(ROOT)
    inside = [step.finished(1).made_from() for step in steps_of(words)[::2]]
    assert "recipes/data/gsm8k.yaml" in steps_of(words)[0].arguments
    monkeypatch.chdir(tmp_path)
    assert str(ROOT / "recipes/data/gsm8k.yaml") in steps_of(words)[0].arguments
    assert [step.finished(1).made_from() for step in steps_of(words)[::2]] == inside


PRODUCTS = {
    "select": ("selection/selection.parquet", "selection/selection.json", "selection/scores/part-000000000.parquet"),
    "train": ("model/config.json", "model/model.safetensors", "model/training.json"),
    "evaluate": ("results.json", "generations/word_problems.jsonl", "verdicts/word_problems.jsonl"),
    "report": ("report.html",),
}


def write_finished_run(tmp_path: Path, words: list[str]) -> None:
    """A run as its steps leave it, with short texts as products."""
    run, record = tmp_path / "run", {}
    for step in steps_of(words):
        for name in PRODUCTS[step.name]:
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).write_text(f"the content of {name}")
        finished = step.finished(1)
        folder = Path(finished.output_dir).relative_to(run)
        recorded = [str(Path(name).relative_to(folder)) for name in PRODUCTS[step.name]]
        finished.record(finished.made_from(), "Done.", recorded)
        record[step.name] = {"seconds": 1.0}
    (run / "steps.json").write_text(json.dumps(record))


def to_do(words: list[str]) -> list[str]:
    """The steps whose own settings, inputs or products changed; those that need them are looked at after them."""
    options, rest = parser().parse_known_args(words)
    return [step.name for step in plan(options, read_overrides(rest)) if not step.is_finished(processes_of(options))]


def own_benchmark(folder: Path) -> list[str]:
    (folder / "rows" / "word_problems").mkdir(parents=True)
    (folder / "rows" / "word_problems" / "test.jsonl").write_text(
        json.dumps({"problem": "1 + 1?", "answer": "2"}) + "\n"
    )
    return ["--evaluate.benchmarks_dir", str(folder / "rows")]


@pytest.fixture
def finished_run(tmp_path: Path, pool_file: str, tiny_model: str) -> list[str]:
    """The words of a finished run, with a pool, a model and a benchmark of its own."""
    shutil.copy(pool_file, tmp_path / "pool.jsonl")
    shutil.copytree(tiny_model, tmp_path / "base")
    words = recipes(tmp_path, str(tmp_path / "pool.jsonl"), str(tmp_path / "base"))
    words = [*own_benchmark(tmp_path), *words]
    write_finished_run(tmp_path, words)
    assert to_do(words) == []
    return words


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "flipped": flip,
    "emptied": lambda path: path.write_bytes(b""),
    "empty object": lambda path: path.write_text("{}"),
    "deleted": lambda path: path.unlink(),
}


def test_a_step_whose_product_is_not_what_it_wrote_runs_again(tmp_path: Path, finished_run: list[str]):
    for step in steps_of(finished_run):
        for name in PRODUCTS[step.name]:
            product = tmp_path / "run" / name
            before = product.read_bytes()
            for kind, damage in DAMAGE.items():
                damage(product)
                assert not step.is_finished(1), (name, kind)
                product.write_bytes(before)
        assert step.is_finished(1)


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("pool.jsonl", ["select", "train"]),
        ("base/model.safetensors", ["select", "train"]),
        ("rows/word_problems/test.jsonl", ["evaluate"]),
        ("run/selection/selection.parquet", ["select", "train"]),
        ("run/model/model.safetensors", ["train", "evaluate"]),
        ("run/results.json", ["evaluate", "report"]),
    ],
)
def test_a_changed_input_runs_the_steps_that_read_it(
    tmp_path: Path, finished_run: list[str], changed: str, again: list[str]
):
    file = tmp_path / changed
    stat = file.stat()
    flip(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert to_do(finished_run) == again


def test_changed_keys_run_the_steps_that_have_them(tmp_path: Path, finished_run: list[str]):
    assert to_do(["--train.seed", "3", *finished_run]) == ["train"]
    assert to_do(["--select.budget_ratio", "0.25", *finished_run]) == ["select"]
    assert to_do(["--data.system_prompt", "Hm.", *finished_run]) == ["select", "train", "evaluate"]
    assert to_do(["--num_processes", "2", *finished_run]) == ["train"]  # a step then sees twice as many rows
    for content in ("", "[]", '{"select": 3}'):
        (tmp_path / "run" / "steps.json").write_text(content)
        assert read_seconds(tmp_path / "run" / "steps.json") == {}


def test_a_run_that_was_moved_is_still_finished(tmp_path: Path, finished_run: list[str]):
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "base").rename(tmp_path / "model")
    (tmp_path / "pool.jsonl").rename(tmp_path / "rows.jsonl")
    words = [*finished_run[:-1], str(tmp_path / "moved")]
    keys = ["--data.dataset_name", str(tmp_path / "rows.jsonl")]
    keys += ["--select.reference_model", str(tmp_path / "model"), "--train.model_name_or_path", str(tmp_path / "model")]
    assert to_do([*keys, *words]) == []


def test_a_finished_run_loads_nothing(tmp_path: Path, finished_run: list[str]):
    program = f"""
import sys
from circuitseer_trl.scripts.main import main
assert main({["reproduce", *finished_run]!r}) == 0
print([name for name in ("torch", "transformers", "pyarrow", "datasets", "accelerate") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("finished before, in 1.0 s") == 4, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


class Recorded(Task):
    """A step that copies a file."""

    @property
    def module(self) -> str:
        return "tests.programs.recording_step"

    def finished(self, num_processes: int) -> FinishedStep:
        return recorded(*self.arguments[:3])


def test_finished_steps_are_skipped_and_a_failure_stops(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    source = tmp_path / "source"
    source.write_text("a: 1")

    def step(name: str, product: str, *needs: str) -> Task:
        words = [name, str(tmp_path), str(source), product]
        return Recorded(name, "find-heads", "", str(tmp_path), words, list(needs), [])

    steps = [step("first", "one"), step("second", "no/two", "first"), step("third", "three", "second")]
    assert run(steps, tmp_path, None, None) == 1
    assert "[second] failed with status 1 after" in capfd.readouterr().out
    assert not (tmp_path / "three").exists()

    (tmp_path / "no").mkdir()
    assert run(steps, tmp_path, None, None) == 0
    assert "[first] finished before" in capfd.readouterr().out
    assert (tmp_path / "three").exists()

    source.write_text("a: 2")
    assert run(steps, tmp_path, None, None) == 0
    assert "finished before" not in capfd.readouterr().out


def test_keys_of_training_are_checked_before_the_first_step(
    tmp_path: Path, pool_file: str, tiny_model: str, capfd: pytest.CaptureFixture[str]
):
    words = recipes(tmp_path, pool_file, tiny_model)
    steps = steps_of(words, "--train.learning_rat", "3", *own_benchmark(tmp_path))
    assert run(steps, tmp_path / "run", None, None) == 2
    said = capfd.readouterr()
    assert "Did you mean `learning_rate`?" in said.err
    assert "[select]" not in said.out
    for key in ("select", "evaluate"):
        with pytest.raises(ValueError, match="Unknown key `limi`"):
            steps_of(words, f"--{key}.limi", "3")


def test_benchmarks_are_read_before_the_first_step(
    tmp_path: Path, pool_file: str, tiny_model: str, capfd: pytest.CaptureFixture[str]
):
    words = ["--evaluate.benchmarks", "aime24", *recipes(tmp_path, pool_file, tiny_model)]  # tests have no Hub
    for more, message in (([], "Could not load aime24"), (own_benchmark(tmp_path), "Line 2 of ")):
        if more:
            with open(tmp_path / "rows" / "word_problems" / "test.jsonl", "a") as file:
                file.write('{"problem": "2 + 2?", "answer": [4]}\n')
            words = [*recipes(tmp_path, pool_file, tiny_model), *more]
        assert run(steps_of(words), tmp_path / "run", None, None) == 2
        said = capfd.readouterr()
        assert message in said.err
        assert "[select]" not in said.out


@pytest.mark.engine
def test_the_whole_chain_from_recipes(tmp_path: Path, pool_file: str, tiny_model: str):
    benchmarks = tmp_path / "benchmarks" / "word_problems"
    benchmarks.mkdir(parents=True)
    problems = [{"problem": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(3)]
    (benchmarks / "test.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    words = ["reproduce", *recipes(tmp_path, pool_file, tiny_model), "--evaluate.benchmarks_dir", benchmarks.parent]
    first = launch("circuitseer_trl.scripts.main", *words)
    assert first.returncode == 0, first.stderr[-3000:] + first.stdout[-2000:]
    results = read_json(tmp_path / "run" / "results.json")
    assert "word_problems" in json.dumps(results)
    assert "Highest scores:" in first.stdout
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Rows with the highest scores" in page
    assert "heads selected" in page
    for product in ("selection/heads.json", "selection/selection.json", "model/model.safetensors", "report.html"):
        assert (tmp_path / "run" / product).is_file()
    record = read_json(tmp_path / "run" / "steps.json")
    assert list(record) == ["select", "train", "evaluate", "report"]
    assert all(step["seconds"] > 0 for step in record.values())

    again = launch("circuitseer_trl.scripts.main", *words)
    assert again.returncode == 0
    assert again.stdout.count("finished before") == 4


def test_the_command_lists_its_steps(capsys: pytest.CaptureFixture[str]):
    assert circuitseer(["--help"]) == 0
    assert "find-heads" in capsys.readouterr().out
    assert circuitseer(["fly"]) == 2
    assert "There is no command 'fly'" in capsys.readouterr().err
