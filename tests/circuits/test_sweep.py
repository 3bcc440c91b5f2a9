import numpy as np
import pytest
import torch
from transformers import AttentionInterface

from circuitseer_trl.circuits.sweep import head_loss_increases
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.losses import response_losses
from tests.helpers.slow_reference import reference_increases, reference_loss
from tests.helpers.tiny_models import NUM_HEADS, NUM_LAYERS, tiny_model, tiny_text
from tests.modeling.test_losses import CASES

EXAMPLE = EncodedExample("row", tiny_text(24), 7, False)


@pytest.mark.parametrize(("arch", "dtype", "kernel", "tolerance"), CASES)
def test_increases_against_the_reference(arch, dtype, kernel, tolerance):
    model = tiny_model(arch, dtype, attn_implementation=kernel)
    sweep, expected = head_loss_increases(model, EXAMPLE), reference_increases(model, EXAMPLE)
    assert sweep.increase.dtype == np.float64
    np.testing.assert_allclose(sweep.increase, expected, rtol=0, atol=tolerance)
    assert sweep.base_loss == pytest.approx(reference_loss(model, EXAMPLE), abs=tolerance)
    assert np.abs(expected).max() > 1e-2, "ablation does nothing here, so the test shows nothing"


@pytest.mark.parametrize("rows", [1, 2, 3, 6, 13, 100])
def test_groups_of_rows_change_rounding_only(rows):
    for arch in ("qwen2", "mistral"):
        model = tiny_model(arch, torch.float64)
        whole = head_loss_increases(model, EXAMPLE)
        grouped = head_loss_increases(model, EXAMPLE, max_tokens=rows * len(EXAMPLE.input_ids))
        np.testing.assert_allclose(grouped.increase, whole.increase, rtol=0, atol=1e-13)


def test_some_heads_only():
    model, heads = tiny_model("llama", torch.float64), [(2, 3), (0, 1), (2, 0)]
    whole, some = head_loss_increases(model, EXAMPLE), head_loss_increases(model, EXAMPLE, heads)
    chosen = np.zeros((NUM_LAYERS, NUM_HEADS), dtype=bool)
    chosen[tuple(np.array(heads).T)] = True
    np.testing.assert_array_equal(np.isnan(some.increase), ~chosen)
    np.testing.assert_allclose(some.increase[chosen], whole.increase[chosen], rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_head_silenced_is_exactly_the_response_loss(dtype):
    for arch in ("llama", "gemma3", "cohere2"):
        model = tiny_model(arch, dtype)
        [loss] = response_losses(model, [EXAMPLE])
        nothing = head_loss_increases(model, EXAMPLE, heads=[])
        assert nothing.base_loss == loss  # to the bit: the same forward of one row
        assert np.isnan(nothing.increase).all()
        # Beside other rows a matrix product may round differently.
        assert head_loss_increases(model, EXAMPLE).base_loss == pytest.approx(loss, abs=1e-6)


def test_a_head_that_attends_uniformly_already_is_worth_nothing():
    model = tiny_model("llama", torch.float64)
    size = model.config.hidden_size // NUM_HEADS
    model.get_decoder().layers[1].self_attn.q_proj.weight[3 * size :] = 0
    increase = head_loss_increases(model, EXAMPLE).increase
    assert increase[1, 3] == pytest.approx(0, abs=1e-14)
    assert np.abs(increase).min(where=np.arange(12).reshape(3, 4) != 7, initial=1) > 1e-6


def test_nothing_is_left_behind():
    model = tiny_model("llama")
    registry = dict(AttentionInterface._global_mapping)
    before = response_losses(model, [EXAMPLE])
    head_loss_increases(model, EXAMPLE)
    with pytest.raises(IndexError):
        head_loss_increases(model, EncodedExample("row", (3, 4, 1000), 1, False))
    assert response_losses(model, [EXAMPLE]) == before
    assert AttentionInterface._global_mapping == registry
    assert not any(layer._forward_pre_hooks for layer in model.get_decoder().layers)


def test_bad_arguments_are_refused():
    model = tiny_model("llama")
    with pytest.raises(ValueError, match="There is no head 4"):
        head_loss_increases(model, EXAMPLE, heads=[(0, 4)])
    with pytest.raises(ValueError, match="no response token"):
        head_loss_increases(model, EncodedExample("row", (3, 4), 2, False))
    with pytest.raises(ValueError, match=r"model\.eval"):
        head_loss_increases(model.train(), EXAMPLE)
