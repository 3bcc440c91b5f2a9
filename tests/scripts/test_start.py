"""Every command answers at once: nothing heavy is loaded before its words are read."""

import ast
import subprocess
import sys

import pytest

from circuitseer_trl.scripts.main import COMMANDS
from tests.conftest import ROOT

HEAVY = ("torch", "transformers", "pyarrow", "datasets", "accelerate", "wandb")


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)


def after_command(*words: str) -> tuple[int, str, list[str]]:
    """Runs a command in a fresh process: its exit status, what it printed, and the heavy modules that are loaded then."""
    program = f"""
import sys
from circuitseer_trl.scripts.main import main
try:
    status = main({list(words)!r})
except SystemExit as end:
    status = end.code or 0
print([name for name in {HEAVY!r} if name in sys.modules], status, sep=";")
"""
    done = run_python(program)
    *printed, last = done.stdout.splitlines()
    loaded, status = last.split(";")
    return int(status), "\n".join(printed) + done.stderr, ast.literal_eval(loaded)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train-sft"])
def test_help_loads_nothing_heavy(command: str):
    status, printed, loaded = after_command(command, "--help")
    assert (status, loaded) == (0, [])
    assert f"usage: circuitseer {command}" in printed
    assert "METHODS" not in printed


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["recipes"], ["slect-data"]])
def test_what_needs_no_model_loads_none(words: list[str]):
    assert after_command(*words)[2] == []


def test_a_typo_in_a_flag_is_found_before_anything_is_loaded():
    status, printed, loaded = after_command("select-data", "--budgt_ratio", "0.1")
    assert (status, loaded) == (2, [])
    assert "Did you mean `budget_ratio`?" in printed


@pytest.mark.parametrize(
    ("command", "flag", "value", "message"),
    [
        ("score-pool", "method", "max_los", "Did you mean `max_loss`?"),
        ("explain", "method", "max_los", "Did you mean `max_loss`?"),
        ("score-pool", "reference_model", "./nowhere", "no model folder ./nowhere"),
        ("find-heads", "dataset_name", "nowhere.jsonl", "There is no dataset file nowhere.jsonl"),
        ("pool-benchmark", "dataset_name", "nowhere.jsonl", "There is no dataset file nowhere.jsonl"),
        ("select-data", "decontaminate_against", "nowhere.csv", "There is no dataset file nowhere.csv"),
        ("select-data", "scorer", "nowhere.mine:X", "there is no module 'nowhere'"),
        ("select-data", "sampler", "nowhere", "must be a `module:Class`"),
    ],
)
def test_a_wrong_name_is_found_before_anything_is_loaded(command: str, flag: str, value: str, message: str):
    output = ["--benchmarks_dir", "x"] if command == "pool-benchmark" else ["--output_dir", "x"]
    row = ["--row", "0"] if command == "explain" else []
    status, printed, loaded = after_command(command, "--dataset_name", "d", *output, *row, f"--{flag}", value)
    assert (status, loaded) == (2, [])
    assert message in printed


@pytest.mark.thorough
def test_training_shows_our_keys_before_those_of_trl():
    status, printed, _ = after_command("train-sft", "--help")
    assert status == 0
    places = [printed.index(f"\n  --{flag}") for flag in ("dataset_name", "selection_file", "learning_rate", "lora_r ")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("command", "shown", "not_shown"),
    [
        ("find-heads", ["--probe_size", "--head_ratio"], ["--budget_", "--sampling", "--report_to", "--statistic"]),
        ("score-pool", ["--probe_size", "--statistic"], ["--budget_", "--sampling", "--selection_seed", "--report_to"]),
        ("select-data", ["--probe_size", "--statistic", "--budget_ratio", "--sampling", "--report_to"], []),
    ],
)
def test_help_shows_the_keys_of_the_step(command: str, shown: list[str], not_shown: list[str]):
    _, printed, _ = after_command(command, "--help")
    assert [flag for flag in shown if flag not in printed] == []
    assert [flag for flag in not_shown if flag in printed] == []


@pytest.mark.thorough
def test_the_package_loads_nothing_until_it_is_asked():
    program = f"""
import sys
import circuitseer_trl
assert set(circuitseer_trl.__all__) <= set(dir(circuitseer_trl))
assert circuitseer_trl.__version__
assert not [name for name in {HEAVY!r} if name in sys.modules]
circuitseer_trl.CircuitSeerDataSelector
assert "torch" in sys.modules and "wandb" not in sys.modules
for name in circuitseer_trl.__all__:
    getattr(circuitseer_trl, name)
"""
    done = run_python(program)
    assert done.returncode == 0, done.stderr
