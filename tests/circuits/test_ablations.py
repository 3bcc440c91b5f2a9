"""Zero and mean ablation of heads, against hooks on the input of each output projection; and what they cannot go with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.circuits.heads import find_heads
from circuitseer_trl.circuits.mean_outputs import output_sums
from circuitseer_trl.circuits.probe import Probe
from circuitseer_trl.circuits.sweep import head_loss_increases
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scripts.compare_heads import main as compare_heads_command
from circuitseer_trl.scripts.find_heads import main as find_heads_command
from tests.helpers.slow_reference import reference_loss
from tests.helpers.tiny_models import NUM_HEADS, NUM_LAYERS, tiny_model, tiny_text

EXAMPLE = EncodedExample("row", tiny_text(24), 7, False)


@contextmanager
def hooked(model: PreTrainedModel, layer: int, hook: object) -> Iterator[None]:
    handle = model.get_decoder().layers[layer].self_attn.o_proj.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def oracle_sums(model: PreTrainedModel, ids: tuple[int, ...]) -> np.ndarray:
    """The sums over tokens of what the output projections get, of shape (layers, heads, size)."""
    sums = []
    for layer in range(model.config.num_hidden_layers):

        def keep(module: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
            sums.append(args[0][0].double().sum(dim=0).view(model.config.num_attention_heads, -1))

        with hooked(model, layer, keep), torch.no_grad():
            model(torch.tensor([ids]))
    return torch.stack(sums).numpy()


def oracle_increases(model: PreTrainedModel, example: EncodedExample, means: np.ndarray) -> np.ndarray:
    increases = np.empty(means.shape[:2])
    for layer, head in np.ndindex(increases.shape):
        value = torch.from_numpy(means[layer, head])

        def put(module: torch.nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            states = args[0].clone()
            size = states.shape[-1] // means.shape[1]
            states[..., head * size : (head + 1) * size] = value.to(states)  # noqa: B023
            return (states,)

        with hooked(model, layer, put):
            increases[layer, head] = reference_loss(model, example)
    return increases - reference_loss(model, example)


@pytest.mark.parametrize(
    ("arch", "kernel"), [("llama", "sdpa"), ("llama", "eager"), ("qwen2", "sdpa"), ("gemma3", "sdpa")]
)
def test_against_hooks_on_the_output_projection(arch: str, kernel: str):
    model = tiny_model(arch, torch.float64, attn_implementation=kernel)
    sums = oracle_sums(model, EXAMPLE.input_ids)
    assert model.config.num_key_value_heads < NUM_HEADS
    np.testing.assert_allclose(output_sums(model, EXAMPLE.input_ids), sums, rtol=0, atol=1e-12)
    # The eager kernel takes its softmax in float32.
    zeros, means = np.zeros((NUM_LAYERS, NUM_HEADS, 1)), sums / len(EXAMPLE.input_ids)
    found = []
    for outputs in (zeros, means):
        expected = oracle_increases(model, EXAMPLE, outputs)
        swept = head_loss_increases(model, EXAMPLE, max_tokens=100, outputs=torch.from_numpy(outputs)).increase
        np.testing.assert_allclose(swept, expected, rtol=0, atol=1e-6 if kernel == "eager" else 1e-12)
        found.append(swept)
    uniform = head_loss_increases(model, EXAMPLE).increase
    assert np.abs(found[0] - found[1]).max() > 1e-4
    assert np.abs(found[0] - uniform).max() > 1e-4


def test_runs_take_the_mean_over_the_whole_probe(tmp_path: Path, tiny_model: str, pool_file: str):
    reference, pool, probe = Reference(tiny_model, dtype="float64"), load_pool(pool_file), Probe("random", 3)
    model = reference.model()
    for name in ("zero", "mean"):
        found = find_heads(pool, reference, tmp_path / name, probe, ablation=name)
        rng = np.random.default_rng(0)
        encoded = reference.encode(pool.take(np.sort(rng.choice(len(pool), 3, replace=False))))
        sums = sum(oracle_sums(model, item.input_ids) for item in encoded)
        outputs = np.zeros_like(sums) if name == "zero" else sums / sum(len(item.input_ids) for item in encoded)
        expected = np.mean([oracle_increases(model, item, outputs) for item in encoded], axis=0)
        np.testing.assert_allclose(found.importance, expected, rtol=0, atol=1e-9)
        assert found.card["ablation"] == name


def test_commands_say_the_ablation(tmp_path: Path, tiny_model: str, pool_file: str, capsys: pytest.CaptureFixture):
    words = ["--dataset_name", pool_file, "--reference_model", tiny_model, "--probe_size", "3"]
    folders = [str(tmp_path / name) for name in ("uniform", "mean")]
    for folder in folders:
        find_heads_command([*words, "--ablation", Path(folder).name, "--output_dir", folder])
    assert capsys.readouterr().out.count("by ablation to mean:") == 1
    assert [read_json(Path(folder) / "heads.json")["ablation"] for folder in folders] == ["uniform", "mean"]
    compare_heads_command([*folders, "--output", str(tmp_path / "page.html")])
    assert "They differ in: ablation: uniform and mean." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ablation": "zero", "head_detection": "race"}, "what uniform attention changes, not `ablation: zero`"),
        ({"ablation": "mean", "criterion": "retrieval"}, "silences no head, so `ablation: mean` has no use"),
        ({"ablation": "none"}, "`ablation` must be one of"),
    ],
)
def test_settings_that_do_not_fit(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SelectionConfig(output_dir="out", **values)
