"""The grader in environments of its own: alone, and with real frameworks. Each test installs what it needs."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.grading.test_adapters import example

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
MATH_VERIFY = "math-verify[antlr4_13_2]>=0.9,<1"
# No other build of torch is fetched; where one is needed, it is this environment's.
OVERRIDES = "torch; python_version < '3'\n"


def environment(folder: Path, *packages: str, torch: bool = False) -> Path:
    """A Python with some packages; the test is skipped where no package index can be reached."""
    uv, python = [sys.executable, "-m", "uv"], folder / "venv" / "bin" / "python"
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], check=True)
    (folder / "overrides.txt").write_text(OVERRIDES)
    install = [*uv, "pip", "install", "--quiet", "--python", str(python), "--overrides", str(folder / "overrides.txt")]
    if subprocess.run([*install, "idna"], capture_output=True).returncode:
        pytest.skip("no package index can be reached")
    done = subprocess.run([*install, *packages], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    alone = subprocess.run([*install, "--no-deps", str(ROOT)], capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr[-3000:]
    if torch:
        ours = sysconfig.get_path("purelib")
        (folder / "venv" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages" / "zz_torch.pth").write_text(ours)
    return python


def run(python: Path, folder: Path, code: str, **more: str) -> str:
    (folder / "script.py").write_text(code)
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "HOME": str(folder), **more}
    done = subprocess.run([str(python), "script.py"], cwd=folder, env=offline, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.splitlines()[-1]


def test_alone(tmp_path: Path):
    python = environment(tmp_path, MATH_VERIFY)
    names = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "list", "--python", str(python)], capture_output=True, text=True, check=True
    ).stdout
    assert "torch" not in names.replace("circuitseer-trl", "")
    code = """
import circuitseer_trl.grading.service
from circuitseer_trl.grading import equivalent, grade
from circuitseer_trl.grading.adapters import inspect_scorer, lighteval_metric, lm_eval_task, trl_reward, verl_score
print([grade("so \\\\boxed{0.5}", "1/2").correct, equivalent("\\\\sum_{k=1}^{4} k", "10"), equivalent("1", "2"),
    trl_reward.math_reward(["\\\\boxed{4}"], ["4"])])
"""
    assert run(python, tmp_path, code) == "[True, True, False, [1.0]]"


def test_inspect_ai(tmp_path: Path):
    python = environment(tmp_path, MATH_VERIFY, "inspect-ai")
    code = example("inspect_ai").replace("openai/gpt-5-mini", "mockllm/model").replace("generate()", "written()")
    more = ', Sample(input="What is 2 + 2?", target=["5", "4"]), Sample(input="And 3 + 3?", target="6")]'
    code = code.replace('target="0.5")]', 'target="0.5")' + more)
    # Its own stand-in for a model counts tokens with a file from the internet; a solver that writes the answers does not.
    start = """
from inspect_ai.model import ModelOutput
from inspect_ai.solver import solver
TEXTS = {"What is a half": "so \\\\boxed{\\\\frac12}", "What is 2": "\\\\boxed{4}", "And 3": "\\\\boxed{5}"}
@solver
def written():
    async def solve(state, generate):
        text = next(text for key, text in TEXTS.items() if state.input_text.startswith(key))
        state.output = ModelOutput.from_content("written", text)
        return state
    return solve
"""
    end = """
import json
scores = [sample.scores["math_scorer"] for sample in log.samples]
print(json.dumps([log.status, log.results.scores[0].metrics["accuracy"].value,
    [[score.value, score.answer, score.explanation, score.metadata] for score in scores]]))
"""
    status, accuracy, scores = json.loads(run(python, tmp_path, start + code + end))
    assert (status, accuracy) == ("success", pytest.approx(2 / 3))
    decided = {"undecided": False}
    expected = [["C", r"\frac12", "value", decided], ["C", "4", "same_text", decided], ["I", "5", "value", decided]]
    assert scores == expected


def test_lighteval(tmp_path: Path):
    (tmp_path / "grading").mkdir()
    python, other = environment(tmp_path, "lighteval", torch=True), environment(tmp_path / "grading", MATH_VERIFY)
    end = """
import json
from lighteval.metrics import apply_metric
from lighteval.models.model_output import ModelResponse
docs = [prompt({"problem": "Halve one.", "answer": "0.5"}), prompt({"problem": "2 + 2?", "answer": "4"})]
texts = [["so \\\\boxed{\\\\frac12}", "no box"], ["\\\\boxed{4}", "\\\\boxed{4.0}"]]
metric = math_500_graded.metrics[0]
rows = apply_metric([ModelResponse(text=each) for each in texts], docs, [metric])
mean = metric.get_corpus_aggregations()["circuitseer_math"]([row["circuitseer_math"] for row in rows])
print(json.dumps([rows, float(mean)]))
"""
    rows, mean = json.loads(run(python, tmp_path, example("lighteval") + end, CIRCUITSEER_GRADING_PYTHON=str(other)))
    assert (rows, mean) == ([{"circuitseer_math": 0.5}, {"circuitseer_math": 1.0}], 0.75)


def test_lm_evaluation_harness(tmp_path: Path):
    python = environment(tmp_path, MATH_VERIFY, "lm-eval")
    rows = [("Halve one.", "0.5"), ("2 + 2?", "4"), ("3 + 3?", "6"), ("?", r"\frac{")]
    lines = [json.dumps({"problem": problem, "answer": answer}) + "\n" for problem, answer in rows]
    (tmp_path / "test.jsonl").write_text("".join(lines))
    (tmp_path / "tasks").mkdir()
    local = f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {tmp_path / 'test.jsonl'}}}}}"
    task = example("lm-evaluation-harness", "yaml").replace("dataset_path: HuggingFaceH4/MATH-500", local)
    (tmp_path / "tasks" / "graded.yaml").write_text(task)
    (tmp_path / "tasks" / "utils.py").write_text(example("lm-evaluation-harness"))
    code = """
import json
from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
TEXTS = {"Halve": "so \\\\boxed{\\\\frac12}", "2 +": "\\\\boxed{5}", "3 +": "\\\\boxed{\\\\foo{6}}", "?": "\\\\boxed{1}"}
class Written(LM):
    def generate_until(self, requests, **_):
        return [next(text for key, text in TEXTS.items() if each.args[0].startswith(key)) for each in requests]
    loglikelihood = loglikelihood_rolling = None
manager = TaskManager(include_path="tasks", include_defaults=False)
results = simple_evaluate(Written(), tasks=["math_500_graded"], task_manager=manager, bootstrap_iters=0)
print(json.dumps({key: value for key, value in results["results"]["math_500_graded"].items() if isinstance(value, float)}))
"""
    results = json.loads(run(python, tmp_path, code))
    assert results["exact_match,none"] == 0.25
    assert results["undecided,none"] == 0.5
