"""Scorers and samplers of one's own: the page that shows one, the plugin, a recipe, and what is refused."""

import importlib
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.sampling.soft import SoftSampler
from circuitseer_trl.sampling.top_k import TopKSampler
from circuitseer_trl.scoring.base import Scorer
from circuitseer_trl.scoring.base import score_pool as score_pool_of
from circuitseer_trl.scoring.length import LengthScorer
from circuitseer_trl.scripts import score_pool, select_data
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from circuitseer_trl.testing import check_scorer
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "own_scorer.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def my_scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The page's example as a module, in a working directory of its own."""
    (tmp_path / "my_scorer.py").write_text(BLOCKS[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_scorer", raising=False)
    return importlib.import_module("my_scorer")


def test_the_page_shows_a_whole_example_that_runs(my_scorer: Any, tmp_path: Path, pool_file: str):
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 25
    my_scorer.test_questions()
    pool = load_pool(pool_file)
    chosen = my_scorer.select(pool)
    marks = sorted((problem.count("?") for problem in pool.examples["problem"]), reverse=True)
    assert sorted((problem.count("?") for problem in chosen["problem"]), reverse=True) == marks[:6]
    card = read_json(tmp_path / "runs" / "questions" / "selection.json")
    assert card["method"] == card["scores"]["scorer"] == "my_scorer:QuestionScorer"
    assert card["sampling"] == "circuitseer_trl.sampling.top_k:TopKSampler"
    assert card["scores"]["parameters"] == {"weight": 2.0}
    assert card["scores"]["model"] is None


def test_a_recipe_names_it(my_scorer: Any, tmp_path: Path, pool_file: str, capsys: pytest.CaptureFixture[str]):
    [recipe] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "recipe.yaml").write_text(recipe)
    words = ["--config", "recipe.yaml", "--dataset_name", pool_file, "--budget_size", "6"]
    select_data.main([*words, "--output_dir", "by_recipe"])
    by_recipe = read_json(tmp_path / "by_recipe" / "selection.json")
    my_scorer.select(load_pool(pool_file))
    by_plugin = read_json(tmp_path / "runs" / "questions" / "selection.json")
    assert by_recipe["uids"] == by_plugin["uids"]
    assert by_recipe["method"] == by_plugin["method"] == "my_scorer:QuestionScorer"
    assert by_recipe["scores"]["parameters"] == by_plugin["scores"]["parameters"]
    assert by_recipe["sampling"] == "top_k"
    words = ["--scorer", "my_scorer:QuestionScorer", "--dataset_name", pool_file]
    score_pool.main([*words, "--output_dir", "scores", "--method_args", '{"weight": 3}'])
    assert read_json(tmp_path / "scores" / "scores.json")["parameters"] == {"weight": 3}
    own_sampler = ["--sampler", "circuitseer_trl.sampling.top_k:TopKSampler", "--method_args", '{"lowest": true}']
    select_data.main([*words, *own_sampler, "--budget_size", "6", "--output_dir", "lowest"])
    lowest = read_json(tmp_path / "lowest" / "selection.json")
    assert lowest["sampling"] == "circuitseer_trl.sampling.top_k:TopKSampler"
    assert lowest["sampler"] == {"lowest": True}
    select_data.main([*words, "--budget_size", "6", "--output_dir", "soft"])
    assert read_json(tmp_path / "soft" / "selection.json")["sampling"] == "soft"


def test_the_pages_scorer_with_a_model_keeps_the_contract(tmp_path: Path, tiny_model: str, pool_file: str):
    names: dict[str, Any] = {"__name__": "shown"}
    (tmp_path / "shown.py").write_text(BLOCKS[1])
    sys.path.insert(0, str(tmp_path))
    try:
        names = vars(importlib.import_module("shown"))
        pool, reference = load_pool(pool_file), Reference(tiny_model)
        rows = check_scorer(names["LossScorer"](), pool, reference)
        expected = check_scorer(load("max_loss:MaxLossScorer"), pool, reference)
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("shown", None)
    assert [row["score"] for row in rows] == pytest.approx([row["score"] for row in expected])
    with pytest.raises(ValueError, match=r"MaxLossScorer has no reference model"):
        check_scorer(load("max_loss:MaxLossScorer"), pool)


def load(path: str) -> Scorer:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(f"circuitseer_trl.scoring.{module}"), name)()


def refused(message: str, error: type[Exception] = ValueError, **options: Any) -> None:
    with pytest.raises(error, match=message):
        CircuitSeerDataSelector(**options)


def test_what_cannot_be_a_scorer_is_refused_before_any_work(my_scorer: Any, tmp_path: Path, tiny_model: str):
    (tmp_path / "needy.py").write_text("import a_library_that_is_not_there\n")
    refused(r"`scorer: nowhere\.mine:X`: there is no module 'nowhere'", scorer="nowhere.mine:X")
    refused("there is no module 'my_scorer.deep'", scorer="my_scorer.deep:X")
    refused("has no class 'QuestScorer'. Did you mean `my_scorer:QuestionScorer`", scorer="my_scorer:QuestScorer")
    refused("`scorer: my_scorer:Dataset` is not a Scorer", scorer="my_scorer:Dataset")
    refused("`sampler: my_scorer:QuestionScorer` is not a Sampler", method="random", sampler="my_scorer:QuestionScorer")
    refused("must be a `module:Class`", scorer="my_scorer.QuestionScorer")
    refused("must be an object, got the class QuestionScorer", TypeError, scorer=my_scorer.QuestionScorer)
    refused("`sampler` must be a Sampler", TypeError, method="random", sampler=my_scorer.QuestionScorer())
    refused("no key 'wait' for this method. Did you mean `weight`", scorer="my_scorer:QuestionScorer",
            method_args={"wait": 1})  # fmt: skip
    refused("no key 'weight'", scorer=my_scorer.QuestionScorer(), method_args={"weight": 1})
    refused("both set how rows are scored", method="random", scorer=my_scorer.QuestionScorer())
    refused("both set how rows are scored", method="random", scorer="my_scorer:QuestionScorer")
    refused("both set how rows are chosen", method="random", sampling="soft", sampler=SoftSampler())
    refused("needs a reference model: set `reference_model`", scorer=LengthScorer())
    refused("a_library_that_is_not_there", ModuleNotFoundError, scorer="needy:X")
    source = (
        "from circuitseer_trl import Scorer\nclass Plain(Scorer):\n    weight: float = 1.0\n    score_batch = None\n"
    )
    (tmp_path / "plain.py").write_text(source)
    refused("Plain has the field 'weight', but it is no dataclass", scorer="plain:Plain")
    refused("Plain has the field 'weight'", scorer=importlib.import_module("plain").Plain())
    for values in ({"method": "random", "scorer": "a:B"}, {"sampling": "soft", "sampler": "a:B"}):
        with pytest.raises(ValueError, match="both set how rows are"):
            SelectionConfig("x", **values)
    assert SelectionConfig("x").method == "circuitseer"


@dataclass
class FaultyScorer(Scorer):
    """Breaks the contract in the way that its parameter says."""

    columns = {"length": pa.int64()}  # noqa: RUF012

    fault: str = "none"

    def score_batch(self, batch: Any) -> list[dict[str, Any]]:
        score = float(len(batch)) if self.fault == "batch" else 1.0
        rows: list[dict[str, Any]] = [
            {"score": score, "status": "ok", "length": len(example.problem)} for example in batch
        ]
        if self.fault == "order":
            rows[0]["length"] = 0
        if self.fault == "column":
            rows[0]["lenght"] = 1
        if self.fault == "status":
            del rows[-1]["status"]
        if self.fault == "missing":
            rows.pop()
        if self.fault == "nan":
            rows[0]["score"] = np.nan
        if self.fault == "restart":
            self.calls = getattr(self, "calls", 0) + 1
            for row in rows:
                row["score"] = 1.0 + 1e-9 * self.calls
        return rows


def test_a_broken_contract_is_found(pool_file: str):
    pool = load_pool(pool_file)
    check_scorer(FaultyScorer(), pool)
    for fault, message in [
        ("batch", "differently in two batches"),
        ("order", "differently in another order"),
        ("column", r"does not declare: \['lenght'\]"),
        ("status", "without a status"),
        ("missing", "gives 11 rows for 12 examples"),
        ("nan", "not a finite number"),
        ("restart", "differently after a pickle|differently when it is bound again"),
    ]:
        with pytest.raises(AssertionError, match=message):
            check_scorer(FaultyScorer(fault), pool)


def test_a_column_that_is_not_declared_stops_a_run(pool_file: str, tmp_path: Path):
    with pytest.raises(ValueError, match="does not declare in `columns`: lenght"):
        score_pool_of(load_pool(pool_file), FaultyScorer("column"), "faulty", None, None, tmp_path)


def test_names_of_methods_import_no_scorer():
    """In a bare process: names, the nearest match and the checks of a recipe's values need no torch."""
    program = (
        "import sys\n"
        "from circuitseer_trl.configs import SelectionConfig\n"
        "from circuitseer_trl.selection.methods import METHODS, SAMPLERS, get_method\n"
        "SelectionConfig('x', scorer='my_package.my_module:MyScorer')\n"
        "try:\n    get_method('max_los')\n"
        "except ValueError as error:\n    assert 'Did you mean `max_loss`' in str(error)\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "circuitseer_trl.selection.methods" in loaded
    assert not {"torch", "transformers", "pyarrow", "numpy", "circuitseer_trl.scoring.base"} & loaded


def test_every_name_in_the_registry_is_there():
    from circuitseer_trl.sampling.base import Sampler
    from circuitseer_trl.scoring.combination import Combination
    from circuitseer_trl.selection.methods import METHODS, SAMPLERS
    from circuitseer_trl.selection.parts import load_class

    for method in METHODS.values():
        assert set(method.parameters) <= set(load_class("scorer", method.scorer, Scorer).__dataclass_fields__)
        assert method.combination is None or load_class("combination", method.combination, Combination)
    for sampler in SAMPLERS.values():
        assert set(sampler.parameters) <= set(load_class("sampler", sampler.sampler, Sampler).__dataclass_fields__)
    assert TopKSampler is load_class("sampler", SAMPLERS["bottom_k"].sampler, Sampler)
