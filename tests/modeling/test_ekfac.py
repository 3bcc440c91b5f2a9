"""EK-FAC: our use of kronfluence's factors against kronfluence's own scores, and both against retraining."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr

from circuitseer_trl.artifacts import read_table
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling import ekfac
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
from circuitseer_trl.pool.rows import Pool
from circuitseer_trl.scoring.influence import InfluenceScorer
from circuitseer_trl.scoring.infra import InfraScorer
from tests.helpers.evaluation_folders import two_evaluations
from tests.helpers.launch import launch
from tests.helpers.method_inputs import select_rows
from tests.helpers.tiny_models import build_model

pytest.importorskip("kronfluence")
pytestmark = pytest.mark.thorough


def fitted(folder: Path, model: str, pool: Pool, **values: object) -> InfluenceScorer:
    scorer = InfluenceScorer(**two_evaluations(folder), backend="ekfac", **values)  # type: ignore[arg-type]
    return scorer.bind(pool, Reference(model), None, folder)


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory, tiny_model: str, pool_file: str) -> Path:
    """The folder of one fit on the tiny pool, which other scorers find finished."""
    folder = tmp_path_factory.mktemp("fit")
    fitted(folder, tiny_model, load_pool(pool_file))
    return folder


def matrix(rows: list[dict]) -> np.ndarray:
    return np.array([row["influences_correct"] + row["influences_incorrect"] for row in rows])


def kronfluence_scores(scorer: InfluenceScorer, pool: Pool, folder: Path, **values) -> np.ndarray:
    """The library's own pairwise scores of the same rows and answers, with the factors in the folder."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import ScoreArguments
    from kronfluence.utils.dataset import DataLoaderKwargs

    names, reference = list(scorer.linear_layers), scorer.reference
    task = ekfac.make_task(names)
    model = prepare_model(deepcopy(reference.model()), task)
    analyzer = Analyzer(ekfac.ANALYSIS, model, task, cpu=True, output_dir=str(folder), disable_tqdm=True)
    analyzer.compute_pairwise_scores(
        "test",
        ekfac.FACTORS,
        query_dataset=scorer.encoded_answers,
        train_dataset=reference.encode(list(pool)),
        per_device_query_batch_size=2,
        per_device_train_batch_size=12,
        score_args=ScoreArguments(damping_factor=scorer.damping, **values),
        dataloader_kwargs=DataLoaderKwargs(collate_fn=ekfac._collate),
        overwrite_output_dir=True,
    )
    return analyzer.load_pairwise_scores("test")["all_modules"].double().numpy()


@pytest.mark.parametrize("damping", [None, 1e-3])
def test_scores_are_kronfluences_own(fit: Path, tiny_model: str, pool_file: str, damping: float | None):
    pool = load_pool(pool_file)
    scorer = fitted(fit, tiny_model, pool, damping=damping)
    found = matrix(scorer.score_batch(list(pool)))
    expected = kronfluence_scores(scorer, pool, fit).T
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3 * np.abs(expected).mean())


def test_positions_are_kronfluences_own(fit: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    scorer = fitted(fit, tiny_model, pool)
    expected = kronfluence_scores(scorer, pool, fit, compute_per_token_scores=True)  # (Q, N, T)
    model, layers = scorer.model, scorer.linear_layers
    queries = scorer.encoded_answers
    gradient = scorer.precondition(mean_gradient(model, layers, queries, "mean", 500))
    rows = scorer.reference.encode(list(pool))
    for row, parts in enumerate(token_influences(model, layers, gradient, rows, 500)):
        theirs = expected[:, row].mean(axis=0)[: len(parts)]
        assert parts == pytest.approx(theirs, rel=1e-3, abs=1e-3 * np.abs(expected).max())


def test_large_damping_is_the_plain_inner_product(fit: Path, tiny_model: str, pool_file: str):
    pool, damping = load_pool(pool_file), 1e6
    scorer = fitted(fit, tiny_model, pool, damping=damping)
    plain = matrix(
        InfluenceScorer(**two_evaluations(fit)).bind(pool, scorer.reference, None, fit).score_batch(list(pool))
    )
    seen = matrix(scorer.score_batch(list(pool))) * damping
    assert seen == pytest.approx(plain, rel=1e-3, abs=1e-3 * np.abs(plain).mean())
    assert spearmanr(seen.ravel(), plain.ravel()).statistic > 0.999


def test_the_curvature_is_fitted_once(fit: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch):
    pool = load_pool(pool_file)
    first = fitted(fit, tiny_model, pool)
    whole = first.score_batch(list(pool))
    monkeypatch.setattr(ekfac, "_fit", None)  # to call it would fail
    again = fitted(fit, tiny_model, pool)
    assert again.score_batch(list(pool)) == whole
    with pytest.raises(ValueError, match=r"holds results of other inputs.*num_factor_rows: 1000 then, 5 now"):
        fitted(fit, tiny_model, pool, num_factor_rows=5)


def test_a_stopped_fit_goes_on_with_kronfluences_files(
    tmp_path: Path, fit: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch
):
    from kronfluence.analyzer import Analyzer

    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    pool = load_pool(pool_file)
    with monkeypatch.context() as patched:
        patched.setattr(Analyzer, "fit_lambda_matrices", killed)
        with pytest.raises(KeyboardInterrupt):
            fitted(tmp_path / "stopped", tiny_model, pool)
    covariance = tmp_path / "stopped" / "kronfluence" / "factors_pool" / "activation_covariance.safetensors"
    stamp = covariance.stat().st_mtime_ns
    fitted(tmp_path / "stopped", tiny_model, pool)
    assert covariance.stat().st_mtime_ns == stamp
    files = list((fit / "kronfluence" / "factors_pool").glob("*.safetensors"))
    assert len(files) == 4 + 4 + 2
    for path in files:
        others = load_file(tmp_path / "stopped" / "kronfluence" / "factors_pool" / path.name)
        for name, tensor in load_file(path).items():
            assert torch.equal(tensor, others[name])


def test_both_methods_select_by_it(tmp_path: Path, tiny_model: str, pool_file: str):
    folders, pool = two_evaluations(tmp_path), load_pool(pool_file)
    arguments = {"influence": folders, "infra": {"evaluation": folders["after"], "difficulty": "score"}}
    for method, own in arguments.items():
        settings = SelectionConfig(
            output_dir=str(tmp_path / method),
            method=method,
            reference_model=tiny_model,
            budget_size=6,
            method_args=own | {"backend": "ekfac"},
        )
        assert select_rows(settings, "Think.", pool).weights.sum() == 6
        assert read_table(tmp_path / method / "scores")["score"].null_count == 0
    with pytest.raises(ValueError, match="InfraScorer has no reference model"):
        InfraScorer(evaluation=folders["after"], backend="ekfac").score_batch([pool[0]])


NUM_ROWS, VOCABULARY, LENGTH = 24, 24, 8
DECAY, LAYER = 1e-2, r"layers\.1\.mlp\.down_proj"


def noisy_chain(seed: int, length: int = LENGTH) -> EncodedExample:
    """A walk that mostly follows one fixed table, and now and then jumps: something to learn, and something to remember."""
    table = torch.randint(0, VOCABULARY, (VOCABULARY,), generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(seed)
    walk = [seed % VOCABULARY]
    while len(walk) < length:
        jump = int(torch.randint(0, VOCABULARY, (1,), generator=generator))
        follows = torch.rand(1, generator=generator).item() < 0.7
        walk.append(int(table[walk[-1]]) if follows else jump)
    return EncodedExample(str(seed), tuple(walk), 1, False)


def exact_curvature(model: torch.nn.Module, layer: torch.nn.Linear, rows: list[EncodedExample]) -> torch.Tensor:
    """The Gauss-Newton matrix of the mean over rows of the mean response loss by one layer's weights, number by number."""
    [name] = [name for name, module in model.named_modules() if module is layer]
    total = torch.zeros(layer.weight.numel(), layer.weight.numel(), dtype=torch.float64)
    for row in rows:
        ids, answer = torch.tensor([row.input_ids]), slice(row.num_prompt_tokens - 1, len(row.input_ids) - 1)

        def logits(weight: torch.Tensor, ids: torch.Tensor = ids, answer: slice = answer) -> torch.Tensor:
            weights = {f"{name}.weight": weight.view(layer.weight.shape)}
            return torch.func.functional_call(model, weights, (ids,)).logits[0, answer]

        flat = layer.weight.detach().flatten()
        jacobian = torch.func.jacrev(logits)(flat).double()  # (tokens, vocabulary, weights)
        chance = logits(flat).double().softmax(-1)
        spread = torch.diag_embed(chance) - chance[:, :, None] * chance[:, None, :]
        total += torch.einsum("tvp,tvw,twq->pq", jacobian, spread, jacobian) / len(chance) / len(rows)
    return total


def test_the_curvature_is_that_of_the_rows_mean_loss(tmp_path: Path):
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2}
    model = build_model(vocab_size=VOCABULARY, initializer_range=0.4, **sizes).eval().requires_grad_(False)
    model.save_pretrained(tmp_path / "model")
    # Half of the rows have 2 tokens of a response, half have 30.
    rows = [replace(noisy_chain(n, 31), num_prompt_tokens=29 if n % 2 else 1) for n in range(16)]
    layers = linear_layers(model, LAYER)
    [layer] = layers.values()
    often = [replace(row, uid=f"{row.uid}-{again}") for again in range(30) for row in rows]  # answers are drawn
    folder = ekfac.fit_factors(often, Reference(str(tmp_path / "model")), list(layers), 16, tmp_path, {})
    curvature = exact_curvature(model, layer, rows)
    stored = load_file(folder / "lambda_matrix.safetensors")
    counts = load_file(folder / "num_lambda_processed.safetensors")
    [traces] = [float(value.double().sum() / counts[name]) for name, value in stored.items()]
    assert traces == pytest.approx(float(curvature.trace()), rel=0.1)
    queries = query_gradients(model, layers, rows[:6], "mean", 1000)
    [(name, plain)] = queries.items()
    for share in (1.0, 0.1):
        damping = share * float(curvature.diagonal().mean())
        damped = curvature + damping * torch.eye(len(curvature), dtype=torch.float64)
        solved = torch.linalg.solve(damped, plain.flatten(1).double().T).T.float().view(plain.shape)
        exact = influences(model, layers, {name: solved}, rows, 1000).ravel()
        ours = ekfac.precondition({name: plain.clone()}, folder, damping)
        found = influences(model, layers, ours, rows, 1000).ravel()
        rank, slope = spearmanr(found, exact).statistic, (found @ exact) / (exact @ exact)
        print(
            f"EK-FAC against the exact damped inverse, damping {share} x mean: Spearman {rank:.2f}, slope {slope:.2f}"
        )
        assert rank > 0.7
        assert slope == pytest.approx(1, abs=0.5)


def chain_losses(model: torch.nn.Module, examples: list[EncodedExample]) -> torch.Tensor:
    ids = torch.tensor([example.input_ids for example in examples])
    logits = model(ids).logits[:, :-1].flatten(0, 1)
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none").view(len(ids), -1).mean(1)


def train(model: torch.nn.Module, rows: list[EncodedExample], weights: torch.Tensor, steps: int, kind: type, **values):
    """Full-batch steps on the one layer, with weight decay, so that there is one best place to come to rest in."""
    [layer] = linear_layers(model, LAYER).values()
    optimizer = kind([layer.weight.requires_grad_(True)], **values)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (chain_losses(model, rows) * weights).sum() / len(rows) + DECAY / 2 * layer.weight.square().sum()
        loss.backward()
        optimizer.step()
    layer.weight.requires_grad_(False)


@pytest.mark.slow
def test_ranks_are_those_of_training_again_without_a_row(tmp_path: Path):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    model = build_model(vocab_size=VOCABULARY, initializer_range=0.2, **sizes).eval()
    model.requires_grad_(False)
    rows, answers = [[noisy_chain(first + n) for n in range(count)] for first, count in ((0, NUM_ROWS), (1000, 6))]
    train(model, rows, torch.ones(NUM_ROWS), 1000, torch.optim.Adam, lr=3e-3)
    train(model, rows, torch.ones(NUM_ROWS), 500, torch.optim.SGD, lr=0.1, momentum=0.9)
    model.save_pretrained(tmp_path / "model")

    def losses_after(left_out: int | None) -> np.ndarray:
        weights = torch.ones(NUM_ROWS)
        if left_out is not None:
            weights[left_out] = 0
        again = deepcopy(model)
        train(again, rows, weights, 50, torch.optim.SGD, lr=0.1, momentum=0.9)
        return chain_losses(again, answers).numpy()

    with_all = losses_after(None)
    rises = np.array(
        [losses_after(row) - with_all for row in range(NUM_ROWS)]
    )  # leaving a helpful row out raises the loss
    layers = linear_layers(model, LAYER)
    folder = ekfac.fit_factors(rows, Reference(str(tmp_path / "model")), list(layers), 8, tmp_path, {})
    for backend in ("graddot", "ekfac"):
        queries = query_gradients(model, layers, answers, "mean", 1000)
        if backend == "ekfac":
            queries = ekfac.precondition(queries, folder, DECAY)
        found = influences(model, layers, queries, rows, 1000)
        ranks = [spearmanr(found[:, n], rises[:, n]).statistic for n in range(len(answers))]
        print(f"leave-one-out, {backend}: Spearman {np.round(ranks, 2)}, mean {np.mean(ranks):.3f}")
        assert np.mean(ranks) > 0.75
        assert min(ranks) > 0.5


@pytest.mark.slow
def test_two_processes_fit_and_score_the_same(tmp_path: Path, tiny_model: str, pool_file: str):
    arguments = json.dumps(two_evaluations(tmp_path) | {"backend": "ekfac"})
    words: list[object] = ["--dataset_name", pool_file, "--reference_model", tiny_model, "--method", "influence"]
    words += ["--budget_size", 4, "--method_args", arguments, "--output_dir"]
    for folder, num_processes in ((tmp_path / "one", 1), (tmp_path / "two", 2)):
        done = launch("tests.programs.small_shards", *words, folder, num_processes=num_processes)
        assert done.returncode == 0, done.stderr[-3000:]
    written = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}
        for folder in (tmp_path / "one", tmp_path / "two")
    ]
    assert written[0] == written[1]
    assert len(written[0]) > 3
