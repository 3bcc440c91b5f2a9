"""A user's mistake is one line and status 2; a bug keeps its traceback; an interrupt says how to go on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from circuitseer_trl.children import run_child
from circuitseer_trl.command_line import DEBUG_VARIABLE, run_command
from circuitseer_trl.extras import require_extra
from circuitseer_trl.scripts.main import main


@pytest.fixture(autouse=True)
def _no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG_VARIABLE, "1")  # undone at the end of the test, whoever sets it meanwhile
    monkeypatch.delenv(DEBUG_VARIABLE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("slect-data", "There is no command 'slect-data'. Did you mean `select-data`?"),
        ("zzz", "Commands are find-heads, score-pool"),
        ("select-data --output_dir x", "the following arguments are required: --dataset_name"),
        (
            "select-data --dataset_name d --output_dir x --head_ratio a",
            "argument --head_ratio: invalid float value: 'a'",
        ),
        (
            "select-data --config circuitsear --output_dir x",
            "no recipe 'circuitsear' among data, selection, ablations.",
        ),
        ("select-data --config circuitsear --output_dir x", "Did you mean `circuitseer`?"),
        ("select-data --config none.yaml --output_dir x", "There is no recipe none.yaml."),
        ("select-data --dataset_name d --output_dir x stray", "words that belong to no flag: stray"),
        ("compare --outptu x a", "Did you mean `output`?"),
        ("report nowhere", "has no results.json. `circuitseer evaluate"),
        ("reproduce --data gsm8 --selection random --sft tiny_cpu --eval paper --output_dir x", "mean `gsm8k`?"),
        ("recipes show", "needs the name of a recipe"),
        ("recipes show sft/tiny", "Did you mean `sft/tiny_cpu`?"),
    ],
)
def test_a_mistake_is_one_line(words: str, message: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [2\nc: 3", "line 3: "),
        ("a: 1\n\nb: 2\na: 3", "line 4: the key `a` is already in line 1. Remove one of the two."),
        ("m:\n  x: 1\n  x: 2", "line 3: the key `x` is already in line 2. Remove one of the two."),
        ("- a", "must be a mapping of keys to values, got a list"),
        ("config: other.yaml", "has the key `config`"),
    ],
)
def test_a_broken_recipe_is_named_with_its_line(text: str, message: str, tmp_path: Path, capsys):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    assert main(["find-heads", "--config", str(path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert message in line


def test_a_value_of_the_wrong_type_is_a_mistake(tmp_path: Path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"temperature": [1], "model_name_or_path": "m", "output_dir": "x"}))
    assert main(["evaluate", "--config", str(path)]) == 2
    assert f"`temperature` in recipe {path} must be a number, got [1]" in capsys.readouterr().err


def test_debug_keeps_the_traceback():
    with pytest.raises(ValueError, match="There is no command"):
        main(["slect-data", "--debug"])
    with pytest.raises(ValueError, match="There is no command"):
        main(["--debug", "slect-data"])


def test_training_keeps_its_own_key_of_that_name():
    seen: list[list[str]] = []
    run_command(lambda words: seen.append(words), ["--debug", "underflow_overflow", "--debug"])
    assert seen == [["--debug", "underflow_overflow"]]


@pytest.mark.parametrize(
    ("bug", "kind"),
    [
        (lambda words: {}["x"], KeyError),
        (lambda words: np.stack([np.zeros(2), np.zeros(3)]), ValueError),
        (lambda words: __import__("no_such_module"), ImportError),
        (lambda words: len(3), TypeError),
    ],
)
def test_a_bug_keeps_its_traceback(bug, kind: type[Exception]):
    with pytest.raises(kind):
        run_command(bug, [])


def test_a_missing_extra_is_one_line_with_the_command(capsys):
    assert run_command(lambda words: require_extra("eval", "Grading", "no_such_module"), []) == 2
    assert capsys.readouterr().err == (
        "error: Grading needs no_such_module, which is not installed: pip install 'circuitseer-trl[eval]'\n"
    )
    require_extra("eval", "Grading", "json")


def test_a_command_that_ends_well_leaves_its_launch():
    """Without it, gloo aborts some of the exits, and the launcher kills the other ranks."""
    from torch import distributed

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        assert run_command(lambda words: 3, []) == 3
        assert not distributed.is_initialized()
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


STEP = """
import sys, time
from circuitseer_trl.command_line import run_command
print("begun", flush=True)
sys.exit(run_command(lambda words: time.sleep(60)))
"""
DRIVER = """
import sys
from circuitseer_trl.command_line import run_command
from circuitseer_trl.children import run_child
sys.exit(run_command(lambda words: run_child([sys.executable, "-c", sys.argv[1]])))
"""


def test_an_interrupt_says_how_to_go_on_once(tmp_path: Path):
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, STEP],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "begun\n"
    time.sleep(0.1)
    subprocess.run(["kill", "-INT", "--", f"-{driver.pid}"], check=True)  # as a terminal does: to the whole group
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 128 + signal.SIGINT
    assert errors.split("\n", 1)[1] == "Stopped. Run the same command again to continue.\n"


def test_a_step_gives_its_status():
    assert run_child([sys.executable, "-c", "raise SystemExit(7)"]) == 7
