"""The floors of pyproject.toml are true: the quick tests pass with the lowest direct dependencies that resolve."""

import os
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Torch's floor is not tested: each of its builds is gigabytes. It is linked from this environment.
LINKED = ("torch", "functorch", "nvidia", "triton", "cuda")
EXTRAS = ("train", "eval", "wandb", "openai", "diversity", "dev")
# Other versions are on its card, and another pyarrow is in its files.
SAME_VERSIONS = "tests/test_old_run.py::test_a_selection_is_resumed_and_changes_no_byte"
WITHOUT_DEPENDENCIES = ("kronfluence", "einconv", "einops", "opt_einsum")  # as the Makefile does


def uv(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uv", "--quiet", "pip", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_quick_tests_pass_with_the_lowest_versions(tmp_path: Path):
    (tmp_path / "torch.txt").write_text(f"torch=={version('torch').partition('+')[0]}\n")
    lowest = tmp_path / "lowest.txt"
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    limits = ["--resolution", "lowest-direct", "--constraint", str(tmp_path / "torch.txt"), "--no-annotate"]
    uv("compile", "pyproject.toml", *extras, *limits, "--output-file", str(lowest))
    lines = lowest.read_text().splitlines()
    lowest.write_text("".join(f"{line}\n" for line in lines if not line.startswith(LINKED)))

    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    [site] = (tmp_path / "venv").glob("lib/*/site-packages")
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if entry.name.startswith(LINKED):
            (site / entry.name).symlink_to(entry)
    uv("install", "--python", str(python), "--no-deps", "--requirements", str(lowest), *WITHOUT_DEPENDENCIES)
    uv("install", "--python", str(python), "--no-deps", "--editable", ".")
    words = [str(python), "-m", "pytest", "-m", "not slow and not gpu and not engine and not thorough"]
    words += ["--deselect", SAME_VERSIONS]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
