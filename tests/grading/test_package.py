"""The grader as a package of its own: what importing it loads, and that it grades."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from circuitseer_trl.grading import Grader, Question

ROOT = Path(__file__).parents[2]
# Isolated and without site: only the standard library and the project are there to be imported.
CODE = f"""
import json, sys
before = set(sys.modules)
sys.path.insert(0, {str(ROOT)!r})
from circuitseer_trl.grading import Grader, Question, Verdict, extract_answer, grade_all
print(json.dumps([extract_answer("so \\\\boxed{{7}}"), sorted(set(sys.modules) - before)]))
"""


def test_importing_it_loads_nothing_but_itself():
    done = subprocess.run([sys.executable, "-I", "-S", "-c", CODE], capture_output=True, text=True, check=True)
    answer, loaded = json.loads(done.stdout)
    assert answer == "7"
    outside = [name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names]
    assert outside
    assert [name for name in outside if not f"{name}.".startswith("circuitseer_trl.grading.")] == ["circuitseer_trl"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    with pytest.raises(ImportError, match=r"pip install 'circuitseer-trl\[eval\]'"):
        Grader()


def test_a_parser_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metadata, "version", lambda name: "1.0.6")
    with pytest.raises(ImportError, match=r"needs latex2sympy2_extended==[\d.]+, but 1\.0\.6 is installed.*PYTHON"):
        Grader()


def test_comparisons_run_in_a_python_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\ntouch {tmp_path}/used\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    monkeypatch.setenv("CIRCUITSEER_GRADING_PYTHON", str(other))
    # Also where this one has no Math-Verify that works; and one without it is named there.
    monkeypatch.setattr(metadata, "version", lambda name: "1.0.6")
    with Grader(num_workers=1) as grader:
        assert grader.grade_answers([("0.5", Question("1/2"))])[0].correct
    assert (tmp_path / "used").exists()
    other.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    with Grader(num_workers=1) as grader, pytest.raises(ImportError, match="Math-Verify, which is not installed"):
        grader.grade_answers([("0.5", Question("1/2"))])
