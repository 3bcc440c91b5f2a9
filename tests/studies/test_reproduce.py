"""The driver: its plan of steps, its flags, what it skips, and where it stops."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from circuitseer_trl.artifacts import fingerprint, read_json
from circuitseer_trl.scripts.main import main as circuitseer
from circuitseer_trl.scripts.reproduce import parser
from circuitseer_trl.studies.reproduce import Step, command, plan, read_overrides, run
from tests.conftest import ROOT
from tests.helpers.launch import launch


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


def steps_of(words: list[str], *overrides: str) -> list[Step]:
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
    step = Step("x", "some.module", ["--a"], tmp_path / "p", [])
    assert command(step, None, None) == [sys.executable, "-m", "some.module", "--a"]
    words = command(step, Path("zero3.yaml"), 2)
    assert words[1:] == [
        *("-m", "circuitseer_trl.distributed.launcher", "--config_file", "zero3.yaml", "--num_processes", "2"),
        *("-m", "some.module", "--a"),
    ]


def test_a_run_of_before_stays_finished(tmp_path: Path, pool_file: str, tiny_model: str):
    """Version 0.1.0 ran `eval.run` and `eval.report`; their names are in the fingerprints of its steps."""
    *_, evaluate, report = steps_of(recipes(tmp_path, pool_file, tiny_model))
    recipe = (tmp_path / "eval.yaml").read_text()
    assert evaluate.fingerprint() == fingerprint(["eval.run", evaluate.arguments, [recipe]])
    assert report.fingerprint() == fingerprint(["eval.report", report.arguments, []])


def test_a_shipped_recipe_has_one_name_wherever_the_package_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run goes on with the package in another virtual environment, and was begun with a path in the checkout."""
    words = ["--data", "gsm8k", "--selection", "random", "--sft", "qwen2.5-math-7b", "--eval", "paper"]
    words += ["--output_dir", "runs/x"]
    monkeypatch.chdir(ROOT)
    inside = [step.fingerprint() for step in steps_of(words)]
    assert "recipes/data/gsm8k.yaml" in steps_of(words)[0].arguments
    monkeypatch.chdir(tmp_path)
    assert str(ROOT / "recipes/data/gsm8k.yaml") in steps_of(words)[0].arguments
    assert [step.fingerprint() for step in steps_of(words)] == inside


def test_a_finished_run_loads_nothing(tmp_path: Path, pool_file: str, tiny_model: str):
    words = recipes(tmp_path, pool_file, tiny_model)
    record = {}
    for step in steps_of(words):
        step.product.parent.mkdir(parents=True, exist_ok=True)
        step.product.write_text("{}")
        record[step.name] = {"fingerprint": step.fingerprint(), "seconds": 1.0}
    (tmp_path / "run" / "steps.json").write_text(json.dumps(record))
    program = f"""
import sys
from circuitseer_trl.scripts.main import main
assert main({["reproduce", *words]!r}) == 0
print([name for name in ("torch", "transformers", "pyarrow", "datasets", "accelerate") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("finished before, in 1.0 s") == 4, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_finished_steps_are_skipped_and_a_failure_stops(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("a: 1")

    def step(name: str, target: Path) -> Step:
        return Step(name, "zipfile", ["-c", str(target), str(recipe)], target, [recipe])

    steps = [
        step("first", tmp_path / "one"),
        step("second", tmp_path / "no" / "two"),
        step("third", tmp_path / "three"),
    ]
    assert run(steps, tmp_path, None, None) == 1
    assert "[second] failed with status 1 after" in capfd.readouterr().err
    assert not (tmp_path / "three").exists()

    (tmp_path / "no").mkdir()
    assert run(steps, tmp_path, None, None) == 0
    assert "[first] finished before" in capfd.readouterr().out
    assert (tmp_path / "three").exists()

    recipe.write_text("a: 2")
    assert run(steps, tmp_path, None, None) == 0
    assert "finished before" not in capfd.readouterr().out


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
