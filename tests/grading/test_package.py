"""The grader as a package of its own: what importing it loads, and that it grades."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from circuitseer_trl.grading import Grader

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
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'circuitseer-trl\[eval\]'"):
        Grader()
