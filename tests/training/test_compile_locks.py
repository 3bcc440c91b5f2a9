"""A lock that a killed compilation left is found before DeepSpeed waits for it."""

import os
import sys
import time
from pathlib import Path

import pytest

from circuitseer_trl.scripts.train_sft import main
from circuitseer_trl.training.compile_locks import ABANDONED_SECONDS, CPU_EXTENSION, check_compile_locks
from tests.helpers.training_runs import flags, make_model_folder, run_training


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an extension that is built, with a lock."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    folder = tmp_path / CPU_EXTENSION
    folder.mkdir()
    for name in (f"{CPU_EXTENSION}.so", "lock"):
        (folder / name).touch()
    return folder


def make_old(folder: Path) -> None:
    before = time.time() - ABANDONED_SECONDS - 5
    for path in (*folder.iterdir(), folder):
        os.utime(path, (before, before))


def test_a_young_lock_that_nobody_holds_is_named(build: Path):
    with pytest.raises(ValueError, match=rf"wait without end for {build}/lock: .* delete this file: rm {build}/lock"):
        check_compile_locks()
    assert (build / "lock").exists()


def test_an_old_lock_is_deleted(build: Path, caplog: pytest.LogCaptureFixture):
    make_old(build)
    check_compile_locks()
    assert not (build / "lock").exists()
    assert f"{build}/lock was left by a compilation that was killed. It is deleted." in caplog.text
    caplog.clear()
    check_compile_locks()
    assert caplog.text == ""


def test_a_file_that_has_just_been_compiled_keeps_an_old_lock(build: Path):
    make_old(build)
    (build / "comm.o").touch()
    with pytest.raises(ValueError, match="DeepSpeed would wait without end"):
        check_compile_locks()


def test_a_compilation_that_goes_on_is_waited_for(build: Path, caplog: pytest.LogCaptureFixture):
    make_old(build)
    with open(build / "lock"):
        check_compile_locks()
    assert (build / "lock").exists()
    assert f"Process {os.getpid()} compiles {CPU_EXTENSION}. This run waits for its end." in caplog.text


def test_other_processes_of_a_launch_wait_for_the_first(build: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("time.sleep", lambda seconds: (build / "lock").unlink())
    check_compile_locks()
    assert caplog.text == ""


def test_the_first_compilation_is_announced(build: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("TORCH_EXTENSIONS_DIR")
    monkeypatch.setattr("torch.utils.cpp_extension.get_default_build_root", lambda: str(build.parent))
    (build / "lock").unlink()
    check_compile_locks()
    assert "DeepSpeed compiles an extension for the CPU, which takes minutes." in caplog.text
    caplog.clear()
    inside = build.parent / f"py{sys.version_info.major}{sys.version_info.minor}_cpu"
    inside.mkdir()
    build.rename(inside / build.name)
    check_compile_locks()
    assert caplog.text == ""


@pytest.mark.parametrize("words", [["--deepspeed", "zero.json"], ["--deepspeed={}"]])
def test_the_key_of_training_starts_deepspeed_too(build: Path, tmp_path: Path, words: list[str]):
    with pytest.raises(ValueError, match=f"wait without end for {build}/lock"):
        main(flags(tmp_path, tmp_path / "model", *words))


@pytest.mark.engine
def test_a_launch_names_the_lock_once(build: Path, tmp_path: Path):
    words = flags(tmp_path, make_model_folder(tmp_path / "model"))
    output = run_training(*words, num_processes=2, environment={"TORCH_EXTENSIONS_DIR": str(build.parent)}, check=False)
    assert output.count(f"error: DeepSpeed would wait without end for {build}/lock") == 1
