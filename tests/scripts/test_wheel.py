"""The wheel alone, outside the checkout: what it holds, what works with its base dependencies, and the whole demo."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import PROBLEMS, ROOT

pytestmark = pytest.mark.engine

REPRODUCE = [
    "reproduce",
    "--data",
    "gsm8k",
    "--selection",
    "random",
    "--sft",
    "qwen2.5-math-7b",
    "--eval",
    "paper",
    "--output_dir",
    "x",
]
EXTRAS = (
    "wandb",
    "PIL",
    "deepspeed",
    "math_verify",
    "latex2sympy2_extended",
    "openai",
    "sentence_transformers",
    "kronfluence",
    "rensa",
    "ray",
)


@dataclass(frozen=True)
class Installation:
    """A Python that sees the wheel and its dependencies, and an empty folder to work in."""

    python: Path
    site: Path
    folder: Path

    def run(self, *words: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CIRCUITSEER")}
        environment |= {"PYTHONPATH": str(self.site), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(
            [str(self.python), *map(str, words)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def circuitseer(self, *words: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "circuitseer_trl.scripts.main", *words, timeout=timeout)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def install(built: Path, folder: Path, without: tuple[str, ...] = ()) -> Installation:
    """Installs the wheel alone; of the environment's packages, which go beside it as links, some are left out."""
    site = folder / "site"
    [wheel] = built.glob("*.whl")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        name = entry.name.partition("-")[0].removesuffix(".py")
        # A .pth file is what makes a checkout importable.
        if (
            name not in without
            and entry.suffix != ".pth"
            and "circuitseer" not in name
            and not (site / entry.name).exists()
        ):
            (site / entry.name).symlink_to(entry)
    venv.create(folder / "venv", symlinks=True)
    (folder / "empty").mkdir()
    return Installation(folder / "venv" / "bin" / "python", site, folder / "empty")


@pytest.fixture(scope="module")
def bare(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Without the packages of the extras."""
    return install(built, tmp_path_factory.mktemp("bare"), EXTRAS)


@pytest.fixture(scope="module")
def whole(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install(built, tmp_path_factory.mktemp("whole"))


def test_nothing_of_a_checkout_can_be_imported(bare: Installation):
    program = f"""
from importlib.util import find_spec
import circuitseer_trl
assert circuitseer_trl.__file__.startswith({str(bare.site)!r}), circuitseer_trl.__file__
print([name for name in ("eval", "recipes", "bench", "tests.conftest", *{EXTRAS!r}) if "." not in name and find_spec(name)])
"""
    done = bare.run("-c", program)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_every_recipe_config_and_benchmark_is_there(bare: Installation):
    for folder, pattern in (("recipes", "**/*"), ("accelerate_configs", "*.yaml"), ("eval/benchmarks", "*.yaml")):
        for path in (ROOT / folder).glob(pattern):
            copy = bare.site / "circuitseer_trl" / "shipped" / path.relative_to(ROOT)
            assert path.is_dir() or copy.read_bytes() == path.read_bytes()
    assert (bare.site / "circuitseer_trl" / "py.typed").is_file()


def test_the_sdist_holds_what_the_wheel_is_built_from(built: Path):
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "recipes/selection/circuitseer.yaml", "eval/benchmarks/math500.yaml"} <= names
    assert not any(name.startswith(("runs/", ".venv/")) for name in names)


def test_light_commands(bare: Installation):
    assert bare.circuitseer("--version").stdout == "circuitseer_trl 0.2.0\n"
    assert "circuitseer" in bare.circuitseer("recipes").stdout
    assert bare.circuitseer("recipes", "show", "circuitseer").stdout.startswith("# CircuitSeer as in the paper")
    copied = bare.circuitseer("recipes", "copy", "demo/sft", "mine.yaml")
    assert (bare.folder / "mine.yaml").is_file(), copied.stderr
    typo = bare.circuitseer("select-data", "--config", "circuitsear")
    assert (typo.returncode, typo.stderr.count("\n")) == (2, 1)
    assert "Did you mean `circuitseer`?" in typo.stderr


def test_selection_needs_no_extra(bare: Installation):
    rows = [{"problem": problem, "solution": solution} for problem, solution in PROBLEMS]
    (bare.folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--config", "demo/circuitseer", "--dataset_name", "pool.jsonl", "--probe_size", "2", "--budget_size", "3"]
    done = bare.circuitseer("select-data", *words, "--output_dir", "out")
    assert done.returncode == 0, done.stderr
    assert json.loads((bare.folder / "out" / "selection.json").read_text())["num_selected"] == 3
    plugin = bare.run("-c", "from circuitseer_trl import CircuitSeerDataSelector")
    assert plugin.returncode == 0, plugin.stderr


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["demo"], "eval"),
        (["evaluate", "--model_name_or_path", "m", "--output_dir", "x"], "eval"),
        (REPRODUCE, "eval"),
        ([*REPRODUCE, "--accelerate_config", "zero3"], "train"),
        (["select-data", "--dataset_name", "d", "--output_dir", "x", "--report_to", "wandb"], "wandb"),
        (["score-pool", "--dataset_name", "d", "--output_dir", "x", "--method", "random", "--executor", "ray"], "ray"),
    ],
)
def test_a_missing_extra_is_one_line(bare: Installation, words: list[str], extra: str):
    done = bare.circuitseer(*words)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.endswith(f"pip install 'circuitseer-trl[{extra}]'")


def test_grading_and_benchmarks(whole: Installation):
    answers = [{"response": "so \\boxed{1/2}", "gold": "0.5"}, {"response": "\\boxed{3}", "gold": "2"}]
    (whole.folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    graded = whole.circuitseer("grade", "--input", "answers.jsonl", "--output", "verdicts.jsonl")
    assert graded.stdout.startswith("1 of 2 right"), graded.stderr
    unknown = whole.circuitseer("evaluate", "--model_name_or_path", "m", "--output_dir", "x", "--benchmarks", "math501")
    assert "Did you mean 'math500'?" in unknown.stderr


@pytest.mark.slow
def test_the_whole_demo(whole: Installation):
    done = whole.circuitseer("demo", timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "The demo took" in done.stdout
    study = whole.folder / "runs" / "demo" / "study"
    assert (study / "report.html").is_file()
    points = json.loads((study / "points.json").read_text())["points"]
    assert [len(points), sum(point["finished"] for point in points)] == [31, 31]
    again = whole.circuitseer("demo", timeout=600)
    assert (
        "98 of 98 steps were finished before." in again.stdout
    )  # 1 heads, 6 scores, 30 selections, 30 trainings, 31 evaluations
