"""Projected gradients: exact without a projection, and with one as near as is said."""

from pathlib import Path

import numpy as np
import pytest
import torch

from circuitseer_trl.circuits.circuit_weights import circuit_parts
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.gradients import linear_layers
from circuitseer_trl.modeling.projected_gradients import Projection, projected_gradients
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool

LAYERS = r"layers\.\d+\."


def autograd(model: torch.nn.Module, names: list[str], item: EncodedExample) -> np.ndarray:
    """The gradient of one example's mean response loss by the whole weights, by plain autograd."""
    modules = dict(model.named_modules())
    weights = [modules[name].weight for name in names]
    for weight in weights:
        weight.requires_grad_(True)
    logits = model(torch.tensor([item.input_ids])).logits[0, item.num_prompt_tokens - 1 : -1]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(item.input_ids[item.num_prompt_tokens :]))
    found = torch.autograd.grad(loss, weights)
    for weight in weights:
        weight.requires_grad_(False)
    return np.concatenate([each.flatten().double().numpy() for each in found])


@pytest.fixture(scope="module")
def world(tiny_model: str, pool_file: str) -> tuple[torch.nn.Module, list[EncodedExample], np.ndarray]:
    reference = Reference(tiny_model, dtype="float64")
    encoded = reference.encode(list(load_pool(pool_file)))
    model = reference.model(for_scores=True)
    names = list(linear_layers(model, LAYERS))
    return model, encoded, np.stack([autograd(model, names, item) for item in encoded])


def test_whole_gradients_are_autograds(world):
    model, encoded, exact = world
    layers = linear_layers(model, LAYERS)
    found = projected_gradients(model, layers, encoded, Projection(None), 200)
    assert found == pytest.approx(exact, abs=1e-9)


def test_inner_products_are_kept(world):
    model, encoded, exact = world
    layers = linear_layers(model, LAYERS)
    exact_cosines = (exact @ exact.T) / np.outer(*[np.linalg.norm(exact, axis=1)] * 2)
    errors = {}
    for size in (4, 16, 64):
        found = projected_gradients(model, layers, encoded, Projection(size), 200)
        assert found.shape == (12, len(layers) * size**2)
        lengths = np.linalg.norm(found, axis=1)
        errors[size] = float(np.abs(found @ found.T / np.outer(lengths, lengths) - exact_cosines).mean())
    print(f"mean error of a cosine similarity by the size of the projection: {errors}")
    assert errors[16] < 0.06
    assert errors[64] < errors[16] < errors[4]


def test_batches_change_nothing(world):
    model, encoded, _ = world
    layers, projection = linear_layers(model, LAYERS), Projection(8)
    one = np.concatenate([projected_gradients(model, layers, [item], projection, 1) for item in encoded])
    assert projected_gradients(model, layers, encoded, Projection(8), 10_000) == pytest.approx(one, abs=1e-12)


@pytest.mark.parametrize("heads", [[(0, 1)], [(1, 0), (1, 3), (0, 2)]])
def test_the_circuits_weights_are_those_that_its_heads_compute_with(world, heads: list[tuple[int, int]]):
    """Changing any other weight of the attention leaves the heads' own outputs as they are; each of these is masked."""
    model, encoded, _ = world
    parts = circuit_parts(model, heads)
    modules = dict(model.named_modules())
    names = list(parts)
    found = projected_gradients(
        model, {name: modules[name] for name in names}, encoded[:2], Projection(None, parts), 200
    )
    config, slow = model.config, []
    width = modules[names[0]].out_features // config.num_attention_heads
    per_key = config.num_attention_heads // config.num_key_value_heads
    for item in encoded[:2]:
        gradients = autograd(model, names, item)
        start = 0
        for name in names:
            layer, kind = int(name.split("layers.")[1].split(".")[0]), name.rpartition(".")[2]
            weight = modules[name].weight
            gradient = gradients[start : start + weight.numel()].reshape(weight.shape).copy()
            start += weight.numel()
            own = {head for each, head in heads if each == layer}
            if kind in ("k_proj", "v_proj"):
                own = {head // per_key for head in own}
            lines = gradient.T if kind == "o_proj" else gradient
            for line in range(len(lines)):
                if line // width not in own:
                    lines[line] = 0
            slow.append(gradient.ravel())
    assert found.ravel() == pytest.approx(np.concatenate(slow), abs=1e-9)
    assert names == [name for name in names if "self_attn" in name]


def test_a_model_without_separate_projections_is_refused(tmp_path: Path):
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    with pytest.raises(ValueError, match=r"has no linear layer q_proj.*Use `method: gradient_similarity`"):
        circuit_parts(GPTNeoXForCausalLM(config), [(0, 1)])
