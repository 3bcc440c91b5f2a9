"""A run that version 0.1.0 left (`tests/data/run_0_1_0`) is reported, compared, trained from and graded again elsewhere.

Nothing is added to it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from circuitseer_trl.answers import read_verdict_lines
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import evaluate
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scoring.judged_answers import read_answers
from circuitseer_trl.scoring.pass_rate import read_pass_rates
from circuitseer_trl.scripts import report, select_data
from circuitseer_trl.selection.differences import compare, read_folder
from circuitseer_trl.training.selected_rows import read_chosen_rows
from tests.conftest import ROOT

RUN = Path("tests/data/run_0_1_0")  # as it was given then: cards name it so


@pytest.fixture
def old_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in, where no model can be loaded."""
    shutil.copytree(ROOT / RUN, tmp_path / RUN)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "transformers.AutoModelForCausalLM.from_pretrained",
        lambda *args, **kwargs: pytest.fail("a model was loaded: something was computed again"),
    )
    return RUN


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def config(folder: Path, **changes: object) -> EvaluationConfig:
    values = {"benchmarks": ["word_problems"], "benchmarks_dir": str(folder / "benchmarks"), "system_prompt": ""}
    values |= {"num_samples": 2, "max_new_tokens": 48, "output_dir": str(folder / "evaluation")} | changes
    return EvaluationConfig("recipes/demo/base_model", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["circuitseer", "random"])
def test_nothing_is_added_to_a_selection(old_run: Path, method: str):
    before = contents(old_run / method)
    command = ["--dataset_name", f"{old_run}/pool.jsonl", "--system_prompt", "", "--method", method]
    command += ["--reference_model", "recipes/demo/base_model", "--probe_size", "3", "--probe_candidates", "6"]
    with pytest.raises(ValueError, match=r"manifest.json was written by circuitseer_trl 0\.1\.0"):
        select_data.main([*command, "--budget_size", "5", "--output_dir", f"{old_run}/{method}"])
    assert contents(old_run / method) == before


def test_its_selections_are_compared_and_trained_from(old_run: Path):
    selections = [read_folder(old_run / method) for method in ("circuitseer", "random")]
    assert compare(selections).overlap.tolist()[0][0] == 1
    pool = load_pool(f"{old_run}/pool.jsonl")
    chosen = read_chosen_rows(old_run / "circuitseer", pool)
    assert {pool.uids[index] for index in chosen.indices.tolist()} == selections[0].chosen


def test_nothing_is_added_to_an_evaluation(old_run: Path):
    before = contents(old_run / "evaluation")
    with pytest.raises(ValueError, match=r"settings.json was written by circuitseer_trl 0\.1\.0.* Choose another"):
        evaluate(config(old_run))
    assert contents(old_run / "evaluation") == before


def test_its_answers_are_replayed(old_run: Path):
    results = json.loads((old_run / "evaluation" / "results.json").read_text())
    again = evaluate(
        config(old_run, backend="replay", replay_from=str(old_run / "evaluation"), output_dir=str(old_run / "again"))
    )
    assert again is not None
    for key in ("pass_at_1", "majority_at_n", "mean_tokens", "truncated_ratio"):
        assert again["benchmarks"]["word_problems"][key] == results["benchmarks"]["word_problems"][key]
    name = Path("verdicts") / "word_problems.jsonl"
    old, new = (read_verdict_lines(old_run / folder / name) for folder in ("evaluation", "again"))
    assert [replace(line, undecided=None, vote_class=None, reference=None) for line in new] == old


def test_its_verdicts_score_rows_and_its_page_is_drawn(old_run: Path, capsys: pytest.CaptureFixture[str]):
    verdicts = [json.loads(line) for line in (old_run / "evaluation/verdicts/word_problems.jsonl").open()]
    rates = read_pass_rates(str(old_run / "evaluation"))
    assert {name: rate.num_answers for name, rate in rates.items()} == dict.fromkeys(
        [f"word_problems-{number}" for number in range(3)], 2
    )
    greedy = {line["id"]: line for line in verdicts if line["greedy"]}
    for name, answer in read_answers(old_run / "evaluation").items():
        assert (answer.right, answer.question) == (greedy[name]["verdict"], greedy[name]["question"])
    report.main([str(old_run / "evaluation"), "--selection_dir", f"{old_run}/circuitseer", "--output", "page.html"])
    assert "66.7 [20.8, 93.9]" in capsys.readouterr().out
    page = Path("page.html").read_text()
    assert "2 of 32 heads selected" in page
    assert "Rows with the highest scores" in page
