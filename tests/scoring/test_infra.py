"""Infra: influence on right answers by example, reasoning step and token."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pages.explanation import render_influence
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.pool.rows import Example
from circuitseer_trl.scoring.explain_influence import InfluenceExplanation, explain_influence
from circuitseer_trl.scoring.infra import InfraScorer, step_starts
from circuitseer_trl.scripts.main import dispatch as main
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from tests.helpers.evaluation_folders import two_evaluations, write_evaluation
from tests.helpers.method_inputs import compute_scores, pool_of, select_rows
from tests.scoring.test_influence import plain_gradient, plain_loss

SYSTEM = "Think."
STEPS = Example(0, "steps", "Add 2, 3 and 4.", "First 2 + 3 = 5.\n\nThen 5 + 4 = 9.\n \n\nSo \\boxed{9}")


def config(folder: Path, model: str, **values: object) -> SelectionConfig:
    defaults = {"reference_model": model, "budget_size": 6, "method": "infra"}
    return SelectionConfig(output_dir=str(folder), **(defaults | values))  # type: ignore[arg-type]


def test_steps_begin_after_blank_lines():
    assert step_starts("a\n\nb\nc\n \t\n\nd") == [0, 3, 11]
    assert step_starts("one") == [0]
    assert step_starts("\n\none\n\n") == [0, 2]


@pytest.mark.thorough
def test_example_span_and_token_agree_with_plain_autograd(tmp_path: Path, tiny_model: str, pool_file: str):
    folder = two_evaluations(tmp_path)["after"]
    reference = Reference(tiny_model, dtype="float64", system_prompt=SYSTEM)
    pool = [*load_pool(pool_file), STEPS]
    unbound = InfraScorer(evaluation=folder, level="token", max_gradient_tokens=300)
    scorer = unbound.bind(pool_of(*pool), reference, None, tmp_path)
    assert [answer.problem[-1] for answer in scorer.right] == ["0", "1", "2", "5"]
    model = reference.model()
    names = [name for name, _ in model.named_modules() if name.split(".")[-1] in ("gate_proj", "up_proj", "down_proj")]
    answers = scorer.encoded_answers
    objective = torch.stack([plain_gradient(model, item, names, "sum") for item in answers]).mean(dim=0)
    rows = scorer.score_batch(pool)
    for row, encoded in zip(rows, reference.encode(pool), strict=True):
        expected = (plain_gradient(model, encoded, names) @ objective).item()
        assert row["score"] == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert sum(row["token_influence"]) == pytest.approx(row["score"])
        assert sum(row["span_influence"]) == pytest.approx(row["score"])
        assert len(row["token_influence"]) == len(encoded.input_ids)
    # Three steps and the prompt; a token counts for the step in which it starts.
    [encoded] = reference.encode([STEPS])
    text, at, sums = STEPS.completion, 0, [0.0, 0.0, 0.0]
    tokens = rows[-1]["token_influence"]
    for token, part in zip(
        encoded.input_ids[encoded.num_prompt_tokens :], tokens[encoded.num_prompt_tokens :], strict=True
    ):
        sums[0 if at < text.index("Then") else 1 if at < text.index("So") else 2] += part
        at += len(reference.tokenizer.decode([token]))
    assert rows[-1]["span_influence"] == pytest.approx([sum(tokens[: encoded.num_prompt_tokens]), *sums])


@pytest.mark.thorough
def test_a_step_on_an_example_raises_the_answers_log_probability(tmp_path: Path, tiny_model: str, pool_file: str):
    """f itself, before and after a small step on each row alone."""
    reference = Reference(tiny_model, dtype="float64")
    whole, unbound = load_pool(pool_file), InfraScorer(evaluation=two_evaluations(tmp_path)["after"])
    scorer, pool = unbound.bind(whole, reference, None, tmp_path), whole.take(range(5))
    found = [row["score"] for row in scorer.score_batch(pool)]
    model, answers = reference.model(), scorer.encoded_answers
    weights = [value for name, value in model.named_parameters() if ".mlp." in name]
    for example, influence in zip(reference.encode(pool), found, strict=True):
        values = []
        for step in (1e-4, -1e-4):
            for weight in weights:
                weight.requires_grad_(True)
            gradients = torch.autograd.grad(plain_loss(model, example), weights)
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.requires_grad_(False)
                    weight -= step * gradient
                values.append(-sum(plain_loss(model, item, "sum").item() for item in answers) / len(answers))
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight += step * gradient
        assert (values[0] - values[1]) / 2e-4 == pytest.approx(influence, rel=1e-2)


@pytest.mark.thorough
def test_levels_decide_what_is_kept(tmp_path: Path, tiny_model: str, pool_file: str):
    folder, pool = two_evaluations(tmp_path)["after"], load_pool(pool_file)
    for level, kept in (("example", [False, False]), ("span", [True, False]), ("token", [True, True])):
        arguments = {"evaluation": folder, "level": level, "difficulty": "score"}
        compute_scores(config(tmp_path / level, tiny_model, method_args=arguments), SYSTEM, pool)
        table = read_table(tmp_path / level / "scores")
        assert [table[name].null_count == 0 for name in ("span_influence", "token_influence")] == kept
        assert read_json(tmp_path / level / "scores.json")["parameters"]["num_right"] == 4


@pytest.mark.thorough
def test_truncated_rows_and_empty_answers(tmp_path: Path, tiny_model: str):
    scorer = InfraScorer(evaluation=two_evaluations(tmp_path)["after"], level="token")
    problem = STEPS.problem + " Say each step." * 5  # longer than the questions of the evaluation, which must fit
    steps = Example(0, "steps", problem, STEPS.completion)
    long = Example(1, "long", problem, STEPS.completion * 9)
    pool = pool_of(steps, long)
    width = len(Reference(tiny_model).encode([steps])[0].input_ids)

    bound = scorer.bind(pool, Reference(tiny_model, max_length=width), None, tmp_path)
    first, second = bound.score_batch(list(pool))
    assert (first["status"], second["status"]) == ("ok", "truncated")
    assert len(second["token_influence"]) == width
    assert sum(second["span_influence"]) == pytest.approx(second["score"])
    bound.reference.max_length = width - first["num_tokens"] + 3  # the answers are encoded already
    [hardly] = bound.score_batch([long])
    assert (hardly["score"], hardly["status"], hardly["span_influence"]) == (None, "truncated", None)
    with pytest.raises(ValueError, match="No token is left of the answer to word_problems-0"):
        scorer.bind(pool, Reference(tiny_model, max_length=10), None, tmp_path)


def test_bad_input_is_refused_before_any_work(tmp_path: Path, tiny_model: str):
    none_right = write_evaluation(tmp_path / "none", [False] * 3)
    for arguments, message in [
        ({}, "needs an evaluation"),
        ({"evaluation": none_right}, "None of the 3 answers .* is right"),
        ({"evaluation": none_right, "level": "word"}, "must be one of example, span, token, got 'word'"),
    ]:
        with pytest.raises(ValueError, match=message):
            CircuitSeerDataSelector(tiny_model, method="infra", method_args=arguments)
    with pytest.raises(FileNotFoundError, match="no verdicts in"):
        CircuitSeerDataSelector(tiny_model, method="infra", method_args={"evaluation": str(tmp_path)})


@pytest.mark.thorough
def test_selecting_needs_difficulty(tmp_path: Path, tiny_model: str, pool_file: str):
    arguments = {"evaluation": two_evaluations(tmp_path)["after"]}
    with pytest.raises(ValueError, match="Set `difficulty_column`, or `method_args"):
        select_rows(config(tmp_path / "run", tiny_model, method_args=arguments), SYSTEM, load_pool(pool_file))


def test_the_view_adds_up(tiny_model: str, tmp_path: Path):
    scorer = InfraScorer(evaluation=two_evaluations(tmp_path)["after"])
    scorer = scorer.bind(pool_of(STEPS), Reference(tiny_model), None, tmp_path)
    explanation = explain_influence(STEPS, scorer)
    assert explanation.score == pytest.approx(scorer.score_batch([STEPS])[0]["score"], rel=1e-4)
    assert "".join(explanation.tokens).endswith(STEPS.completion)
    assert max(explanation.steps) == 3


def test_the_text_of_the_view():
    shown = render_influence(
        InfluenceExplanation(STEPS, ["a", "b", "\n\n", "c"], np.array([1.0, -3.0, 0.0, 4.0]), [0, 1, 1, 2]),
        max_tokens=2,
    )
    assert "influence +2 from 4 tokens; parts above 0 add up to 5, those below to -3" in shown
    lines = shown.splitlines()
    assert lines[3].split() == ["prompt", "a", "12.5%"]
    assert lines[4].split() == ["step", "1", "b", "-37.5%"]
    assert lines[5].split() == ["step", "2", "c", "50.0%"]
    assert lines[8].split()[:3] == ["1", "b", "-"]
    assert lines[9].split()[:3] == ["3", "c", "+"]
    assert "2 tokens nearer to 0 left out" in lines[10]


def test_the_command(tmp_path: Path, tiny_model: str, pool_file: str, capsys: pytest.CaptureFixture[str]):
    arguments = json.dumps({"evaluation": two_evaluations(tmp_path)["after"]})
    words = [
        "explain",
        "--row",
        "0",
        "--dataset_name",
        pool_file,
        "--reference_model",
        tiny_model,
        "--view",
        "influence",
    ]
    words += ["--output_dir", str(tmp_path / "run")]
    main([*words, "--method", "infra", "--method_args", arguments])
    shown = capsys.readouterr().out
    assert "Row 0, uid" in shown
    assert "step 1" in shown
    with pytest.raises(ValueError, match="is for `method: infra`, got `method: random`"):
        main([*words, "--method", "random"])
