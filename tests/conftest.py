"""What the tests share: a tiny model with a real tokenizer, and a pool of twelve rows.

Nothing here imports torch or transformers before a test asks for a model: tests of the ground floor start at once.
"""

import json
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # as in the processes that tests start; two threads gain nothing on tiny models

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).parent.parent
PROBLEMS = [
    ("Ann has 3 apples and buys 4 more. How many has she?", "She has 3 + 4 = 7.\n\\boxed{7}"),
    ("What is 2 + 2?", "2 + 2 = 4, so \\boxed{4}"),
    (
        "A train runs 60 km in one hour and 80 km in the next. How far does it run in both hours together?",
        "\\boxed{140}",
    ),
    ("Find the product of 6 and 7.", "6 times 7 is \\boxed{42}"),
    ("Bob had 10 pears. He ate 2 and gave away half of the rest. How many are left?", "8 left, half is \\boxed{4}"),
    ("Is 7 prime? Answer 1 for yes.", "Yes: \\boxed{1}"),
    ("Sum the numbers from 1 to 10.", "10 * 11 / 2 = \\boxed{55}"),
    ("What is the area of a square of side 5, and what is its perimeter? Give the area.", "5 * 5 = \\boxed{25}"),
    ("Halve 18.", "\\boxed{9}"),
    ("There are 4 boxes of 12 pens each, and 3 pens are lost. How many pens are there?", "48 - 3 = \\boxed{45}"),
    ("What comes next: 1, 4, 9, 16?", "Squares, so \\boxed{25}"),
    ("How many minutes are in 3 hours?", "3 * 60 = \\boxed{180}"),
]
TOPICS = ["story", "sum", "story", "sum", "story", "prime", "sum", "story", "sum", "story", "story", "story"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the shared test material; tests that need it are skipped where there is none."""
    folder = Path(os.environ.get("CIRCUITSEER_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared test material at {folder}; set CIRCUITSEER_SHARED")
    return folder


@pytest.fixture(scope="session")
def tokenizer() -> "PreTrainedTokenizerFast":
    """A small byte-level BPE with a ChatML template."""
    from tests.helpers.tiny_models import build_tokenizer

    return build_tokenizer()


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory, tokenizer: "PreTrainedTokenizerFast") -> list[str]:
    """Folders of two models of one shape; attention is far from uniform, so that heads differ."""
    from tests.helpers.tiny_models import save_model

    folder = tmp_path_factory.mktemp("models")
    wide: dict[str, Any] = {"max_position_embeddings": 768, "initializer_range": 0.3}  # retrieval probes fit
    return [str(save_model(folder / f"seed{seed}", tokenizer, seed=seed, **wide)) for seed in (0, 1)]


@pytest.fixture(scope="session")
def tiny_model(tiny_models: list[str]) -> str:
    """Folder of a two-layer random Llama with eight query heads and four key heads in all."""
    return tiny_models[0]


@pytest.fixture(scope="session")
def other_model(tiny_models: list[str]) -> str:
    """A model of the same shape with other weights."""
    return tiny_models[1]


@pytest.fixture(scope="session")
def pool_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A JSONL pool of twelve problems, with topics of seven, four and one of them."""
    path = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    rows = [
        {"problem": problem, "solution": solution, "topic": topic}
        for (problem, solution), topic in zip(PROBLEMS, TOPICS, strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the outcomes of the trial, which the processes of pytest-xdist report."""
    from tests.trial.table import print_outcomes

    print_outcomes(terminalreporter)
