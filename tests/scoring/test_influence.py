"""Influence: gradients against plain autograd, signs against real steps, and the pruning it is for."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.gradients import (
    influences,
    linear_layers,
    mean_gradient,
    query_gradients,
    token_influences,
)
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scoring.influence import MLP_LAYERS, InfluenceScorer
from circuitseer_trl.scoring.judged_answers import first_by_name, read_answers, turned_answers
from circuitseer_trl.selection.cost import estimate
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from circuitseer_trl.selection.steps import SelectionSteps
from tests.helpers.evaluation_folders import two_evaluations, write_evaluation
from tests.helpers.method_inputs import compute_scores, select_rows
from tests.helpers.tiny_models import tiny_model as build_tiny
from tests.helpers.tiny_models import tiny_text

SYSTEM = "Think."
ROWS = [EncodedExample(str(n), tiny_text(length, n), 3, False) for n, length in enumerate((12, 5, 20, 9, 20))]
QUERIES = [EncodedExample(f"q{n}", tiny_text(length, 90 + n), 4, False) for n, length in enumerate((11, 7, 15))]


def plain_loss(model: torch.nn.Module, example: EncodedExample, reduction: str = "mean") -> torch.Tensor:
    """The response loss from the model's own logits."""
    ids = torch.tensor([example.input_ids])
    logits = model(ids).logits[0, example.num_prompt_tokens - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, ids[0, example.num_prompt_tokens :], reduction=reduction)


def plain_gradient(model: torch.nn.Module, example: EncodedExample, names: list[str], reduction: str = "mean"):
    """The gradient of one example by plain autograd, as one vector."""
    layers = [model.get_submodule(name) for name in names]
    parameters = [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]
    for parameter in parameters:
        parameter.requires_grad_(True)
    gradients = torch.autograd.grad(plain_loss(model, example, reduction), parameters)
    for parameter in parameters:
        parameter.requires_grad_(False)
    return torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("arch", ["llama", "gpt_neox", "qwen2", "cohere2"])
@pytest.mark.parametrize("max_tokens", [1, 45, 1000])
def test_inner_products_are_those_of_plain_autograd(arch: str, max_tokens: int):
    model = build_tiny(arch, torch.float64)
    layers = linear_layers(model, MLP_LAYERS)
    queries = query_gradients(model, layers, QUERIES, "mean", max_tokens)
    found = influences(model, layers, queries, ROWS, max_tokens)
    rows, answers = (
        torch.stack([plain_gradient(model, item, list(layers)) for item in items]) for items in (ROWS, QUERIES)
    )
    assert found == pytest.approx((rows @ answers.T).numpy(), rel=1e-10)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(layer._forward_hooks for layer in layers.values())


def test_float32_agrees_to_a_millionth():
    model = build_tiny("llama", torch.float32)
    layers = linear_layers(model, MLP_LAYERS)
    found = influences(model, layers, query_gradients(model, layers, QUERIES, "mean", 30), ROWS, 30)
    wide = build_tiny("llama", torch.float64).to(torch.float64)
    wide.load_state_dict({name: value.double() for name, value in model.state_dict().items()})
    rows, answers = (
        torch.stack([plain_gradient(wide, item, list(layers)) for item in items]) for items in (ROWS, QUERIES)
    )
    scale = rows.norm(dim=1)[:, None] * answers.norm(dim=1)  # inner products near 0 lose digits to cancellation
    assert np.abs(found - (rows @ answers.T).numpy()).max() < 1e-6 * scale.min()


def test_bfloat16_keeps_the_order():
    wide, narrow = build_tiny("llama", torch.float32), build_tiny("llama", torch.float32).to(torch.bfloat16)
    found = []
    for model in (wide, narrow):
        layers = linear_layers(model, MLP_LAYERS)
        found.append(influences(model, layers, query_gradients(model, layers, QUERIES, "mean", 30), ROWS, 30).ravel())
    assert spearmanr(*found).statistic > 0.9


def test_positions_add_up_to_the_influence_of_the_mean_gradient():
    model = build_tiny("gpt_neox", torch.float64)
    layers = linear_layers(model, MLP_LAYERS)
    mean = mean_gradient(model, layers, QUERIES, "sum", 20)
    answers = torch.stack([plain_gradient(model, item, list(layers), "sum") for item in QUERIES]).mean(dim=0)
    parts = token_influences(model, layers, mean, ROWS, 30)
    for example, positions in zip(ROWS, parts, strict=True):
        assert len(positions) == len(example.input_ids)
        assert positions[-1] == 0  # it predicts nothing
        assert positions.sum() == pytest.approx((plain_gradient(model, example, list(layers)) @ answers).item())
    assert influences(model, layers, mean, ROWS, 30)[:, 0] == pytest.approx([part.sum() for part in parts])


def test_only_layers_that_are_asked_for_are_looked_at():
    model = build_tiny("llama", torch.float64)
    last = linear_layers(model, r"layers\.2\.mlp\.down_proj")
    assert list(last) == ["model.layers.2.mlp.down_proj"]
    found = influences(model, last, query_gradients(model, last, QUERIES, "mean", 50), ROWS, 50)
    rows, answers = (
        torch.stack([plain_gradient(model, item, list(last)) for item in items]) for items in (ROWS, QUERIES)
    )
    assert found == pytest.approx((rows @ answers.T).numpy(), rel=1e-10)
    with pytest.raises(ValueError, match=r"No linear layer of .* matches 'experts'.*model\.layers\.N\.mlp\.down_proj"):
        linear_layers(model, "experts")
    with pytest.raises(ValueError, match=r"Its linear layers are .*lm_head"):
        linear_layers(build_tiny("gpt2"), MLP_LAYERS)  # its layers are of another kind


def test_a_positive_influence_lowers_the_answers_loss():
    """One small step of gradient descent on each row alone, and what it does to the loss of each answer."""
    model = build_tiny("llama", torch.float64)
    layers = linear_layers(model, MLP_LAYERS)
    found = influences(model, layers, query_gradients(model, layers, QUERIES, "mean", 50), ROWS, 50)
    rate, drops = 1e-3, []
    for example in ROWS:
        losses = []
        for direction in (1, -1):  # the difference of both leaves the curvature out
            stepped = deepcopy(model)
            weights = [stepped.get_submodule(name).weight.requires_grad_(True) for name in layers]
            plain_loss(stepped, example).backward()
            with torch.no_grad():
                for weight in weights:
                    weight -= direction * rate * weight.grad
                losses.append(torch.stack([plain_loss(stepped, query) for query in QUERIES]))
        drops.append((losses[1] - losses[0]) / (2 * rate))
    found, drops = found.ravel(), torch.stack(drops).numpy().ravel()
    assert drops == pytest.approx(found, rel=1e-3, abs=1e-3)
    clear = np.abs(found) > 1e-3
    assert (np.sign(found) == np.sign(drops))[clear].all()
    assert set(np.sign(found[clear])) == {-1, 1}
    assert spearmanr(found, drops).statistic > 0.99


def config(folder: Path, model: str, **values: object) -> SelectionConfig:
    defaults = {"reference_model": model, "budget_size": 4, "method": "influence"}
    return SelectionConfig(output_dir=str(folder), **(defaults | values))  # type: ignore[arg-type]


@pytest.mark.thorough
def test_scores_of_a_pool(tmp_path: Path, tiny_model: str, pool_file: str):
    folders, pool = two_evaluations(tmp_path), load_pool(pool_file)
    table = compute_scores(config(tmp_path / "run", tiny_model, method_args=folders), SYSTEM, pool).table.to_pylist()
    reference = Reference(tiny_model, system_prompt=SYSTEM)
    scorer = InfluenceScorer(**folders).bind(pool, reference, None, tmp_path)
    # By the verdicts: problems 0 and 2 were turned right, 3 and 4 wrong; the greedy answer counts.
    assert [answer.problem for answer in scorer.turned.right] == ["word_problems-0", "word_problems-2"]
    assert [answer.text for answer in scorer.turned.wrong] == ["Yes, it is: \\boxed{1}", "4 * 6 = \\boxed{26}"]
    model = reference.model()
    names = [name for name, _ in model.named_modules() if name.split(".")[-1] in ("gate_proj", "up_proj", "down_proj")]
    queries = [plain_gradient(model, item, names) for item in scorer.encoded_answers]
    for row, encoded in zip(table, reference.encode(list(pool)), strict=True):
        expected = [(plain_gradient(model, encoded, names) @ query).item() for query in queries]
        near = pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert row["influences_correct"] + row["influences_incorrect"] == near
        assert row["infl_correct"] == pytest.approx(np.mean(row["influences_correct"]))
        assert row["infl_incorrect"] == pytest.approx(np.mean(row["influences_incorrect"]))
        assert row["score"] == pytest.approx(row["infl_correct"] - row["infl_incorrect"])
    card = read_json(tmp_path / "run" / "scores.json")
    assert (card["parameters"]["num_turned_right"], card["parameters"]["num_turned_wrong"]) == (2, 2)
    assert "strategy" not in card["parameters"]
    # Another strategy is another selection of the same scores.
    stamp = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "scores").iterdir()}
    for strategy in ("correct", "incorrect", "combined"):
        select_rows(config(tmp_path / "run", tiny_model, method_args=folders | {"strategy": strategy}), SYSTEM, pool)
        card = read_json(tmp_path / "run" / "selection.json")
        assert card["sampler"] == {"strategy": strategy}
        assert len(read_table(tmp_path / "run" / "selection.parquet")) == 4
    assert stamp == {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "scores").iterdir()}


@pytest.mark.thorough
def test_memory_for_one_answer_at_a_time_gives_the_same(tmp_path: Path, tiny_model: str, pool_file: str):
    folders, pool, reference = two_evaluations(tmp_path), load_pool(pool_file), Reference(tiny_model)
    narrow = InfluenceScorer(**folders, max_query_gigabytes=1e-9, max_gradient_tokens=100)
    whole, parts = (
        scorer.bind(pool, reference, None, tmp_path).score_batch(list(pool))
        for scorer in (InfluenceScorer(**folders), narrow)
    )
    for first, second in zip(whole, parts, strict=True):
        for name in ("influences_correct", "influences_incorrect"):
            assert first[name] == pytest.approx(second[name], rel=1e-4, abs=1e-5)


def test_turned_answers_and_their_number(tmp_path: Path):
    folders = two_evaluations(tmp_path)
    turned = turned_answers(**folders)
    assert [answer.problem[-1] for answer in turned.right + turned.wrong] == ["0", "2", "3", "4"]
    everything = list(read_answers(folders["after"]).values())
    drawn = [first_by_name(everything, size) for size in (1, 3, None)]
    assert [len(answers) for answers in drawn] == [1, 3, 6]
    assert set(drawn[0]) < set(drawn[1]) < set(drawn[2])
    assert first_by_name(everything[::-1], 3) == drawn[1]


def test_bad_evaluations_are_refused_before_any_work(tmp_path: Path, tiny_model: str):
    good, none = two_evaluations(tmp_path), str(tmp_path / "none")
    same = write_evaluation(tmp_path / "same", [True, True, True, False, False, True])
    fewer = write_evaluation(tmp_path / "fewer", [True, True])
    other = write_evaluation(tmp_path / "other", [True] * 6, benchmark="gsm8k")
    better = write_evaluation(tmp_path / "better", [True] * 6)
    torn = Path(write_evaluation(tmp_path / "torn", [True] * 6))
    (torn / "generations" / "word_problems.jsonl").write_text("")
    old = Path(write_evaluation(tmp_path / "old", [True] * 6)) / "verdicts" / "word_problems.jsonl"
    old.write_text(old.read_text().replace('"question"', '"asked"'))
    for arguments, message in [
        ({}, "needs two evaluations"),
        ({"before": good["before"], "after": fewer}, "not of the same problems: 4 are in only one"),
        ({"before": good["before"], "after": other}, "not of the same problems: 12 are in only one"),
        ({"before": good["after"], "after": same}, "All 6 problems .* have the same verdict"),
        ({"before": good["before"], "after": better}, "turned no problem wrong.*strategy: correct"),
        ({"before": better, "after": good["after"], "strategy": "correct"}, "no problem right.*strategy: incorrect"),
        ({"before": str(torn), "after": better}, "judges an answer to word_problems-0"),
        ({"before": str(old.parent.parent), "after": better}, "has no questions.*generates nothing"),
        (good | {"strategy": "both"}, "must be one of correct, incorrect, combined, got 'both'"),
        (good | {"backend": "less"}, "must be one of graddot, ekfac, got 'less'"),
        (good | {"layers": "("}, "must be a regular expression"),
        (good | {"damping": 0}, "`damping` must be a number above 0, got 0"),
        (good | {"max_queries": 0}, "must be a whole number of at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            CircuitSeerDataSelector(method="influence", method_args=arguments)
    with pytest.raises(FileNotFoundError, match=r"no verdicts in .*none"):
        CircuitSeerDataSelector(method="influence", method_args=good | {"after": none})
    CircuitSeerDataSelector(
        tiny_model, method="influence", method_args={"before": good["before"], "after": better, "strategy": "correct"}
    )
    broken = Path(better) / "verdicts" / "word_problems.jsonl"
    broken.write_text(broken.read_text() + "{}\n")
    with pytest.raises(ValueError, match=r"Line 13 of .*verdicts.* is not a verdict"):
        read_answers(better)


def test_the_extra_is_named_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("circuitseer_trl.extras.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'circuitseer-trl\[influence\]'"):
        CircuitSeerDataSelector(method="influence", method_args=two_evaluations(tmp_path) | {"backend": "ekfac"})


def test_a_dry_run_says_nothing_of_memory(tmp_path: Path, tiny_model: str, pool_file: str):
    settings = config(tmp_path / "run", tiny_model, method_args=two_evaluations(tmp_path))
    [cost] = estimate(SelectionSteps.from_config(settings, ChatSettings(SYSTEM)), load_pool(pool_file))
    assert (cost.step, cost.memory_bytes) == ("scores", None)
    assert cost.operations > 0
