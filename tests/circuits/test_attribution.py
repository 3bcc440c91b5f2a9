"""First-order estimates of what heads are worth, against finite differences."""

import weakref

import numpy as np
import pytest
import torch
from transformers import AttentionInterface

from circuitseer_trl.circuits.attention import intercept
from circuitseer_trl.circuits.attribution import head_attributions
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.losses import response_losses
from circuitseer_trl.modeling.memory import attribution_bytes
from tests.helpers.tiny_models import ARCHITECTURES, NUM_HEADS, NUM_LAYERS, VOCABULARY, tiny_model, tiny_text
from tests.modeling.test_losses import kernels

EXAMPLE = EncodedExample("row", tiny_text(24), 7, False)


def blended_loss(model, layer, head, share):
    """The loss with a share of the head's output replaced by its undifferentiated one."""

    def attend(_, call, kernel):
        output, weights = kernel(call.query)
        silenced, _ = kernel(torch.zeros_like(call.query))
        output = output.clone()
        output[:, :, head] += share * (silenced[:, :, head] - output[:, :, head])
        return output, weights

    with intercept(model, [layer], attend):
        return response_losses(model, [EXAMPLE])[0]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_attributions_are_the_slope_towards_ablation(arch):
    for kernel in kernels(arch):
        model = tiny_model(arch, torch.float64, attn_implementation=kernel)
        registry = dict(AttentionInterface._global_mapping)
        estimates = head_attributions(model, EXAMPLE)
        assert AttentionInterface._global_mapping == registry
        assert estimates.estimate.shape == (NUM_LAYERS, NUM_HEADS)
        assert estimates.base_loss == pytest.approx(response_losses(model, [EXAMPLE])[0], abs=1e-9)
        for layer, head in ((0, 1), (NUM_LAYERS - 1, 3)):
            # Not smaller: norms round to float32, also in float64 models.
            step = 2e-3
            slope = (blended_loss(model, layer, head, step) - blended_loss(model, layer, head, -step)) / (2 * step)
            assert estimates.estimate[layer, head] == pytest.approx(slope, rel=1e-2, abs=1e-4)
        assert (estimates.reach >= np.abs(estimates.estimate)).all()
        assert np.abs(estimates.estimate).max() > 1e-3, "ablation does nothing here, so the test shows nothing"


def test_the_reach_is_the_steepest_slope_of_changes_of_the_same_length():
    model, layer, head, step = tiny_model("llama", torch.float64), 1, 2, 2e-3  # not smaller, as above
    lengths: list[torch.Tensor] = []

    def loss(change: torch.Tensor) -> float:
        """The loss with `change`, of shape `(T, D)`, added to the head's output."""

        def attend(_, call, kernel):
            output, weights = kernel(call.query)
            silenced, _ = kernel(torch.zeros_like(call.query))
            lengths[:] = (silenced - output)[0, :, head].norm(dim=1).unbind()
            output = output.clone()
            output[0, :, head] += change
            return output, weights

        with intercept(model, [layer], attend):
            return response_losses(model, [EXAMPLE])[0]

    num_tokens, size = len(EXAMPLE.input_ids), 8
    gradient = torch.zeros(num_tokens, size, dtype=torch.float64)
    for token in range(num_tokens):
        for place in range(size):
            change = torch.zeros_like(gradient)
            change[token, place] = step
            gradient[token, place] = (loss(change) - loss(-change)) / (2 * step)
    expected = sum(float(length * row.norm()) for length, row in zip(lengths, gradient, strict=True))
    assert expected > 0.1
    assert head_attributions(model, EXAMPLE).reach[layer, head] == pytest.approx(expected, rel=1e-2)


class Kept:
    def __init__(self, tensor):
        self.tensor = tensor


class LiveBytes:
    """Inside the block, counts the bytes of tensors that are kept for a backward, and the most at any time.

    Tensors of the model itself are not counted. A tensor that several operations keep counts once for each.
    """

    def __init__(self, model):
        self.own = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
        self.now = self.peak = 0

    def keep(self, tensor):
        kept = Kept(tensor)
        if tensor.untyped_storage().data_ptr() not in self.own:
            size = tensor.numel() * tensor.element_size()
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(kept, self.drop, size)
        return kept

    def drop(self, size):
        self.now -= size

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.keep, lambda kept: kept.tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)


def test_memory_in_bfloat16_does_not_grow_with_the_chunks_of_the_head(monkeypatch):
    model = tiny_model("llama", torch.bfloat16)
    peaks, values = [], []
    for rows_of_a_chunk in (17, 4, 1):  # 1, 5 and 17 chunks
        monkeypatch.setattr("circuitseer_trl.modeling.losses.MAX_LOGITS", rows_of_a_chunk * VOCABULARY)
        with LiveBytes(model) as live:
            values.append(head_attributions(model, EXAMPLE))
        assert live.now == 0
        peaks.append(live.peak)
    assert peaks[0] >= peaks[1] >= peaks[2] > 0
    # What a dry run forecasts, for a model that is unlike those that it was measured on.
    assert peaks[2] == pytest.approx(attribution_bytes(model.config, torch.bfloat16, 24), rel=0.3)
    for found in values[1:]:
        assert found.base_loss == pytest.approx(values[0].base_loss, abs=1e-6)
        # Gradients are rounded to bfloat16, by at most 2^-8 of their size.
        assert found.estimate == pytest.approx(values[0].estimate, abs=2e-2 * np.abs(values[0].estimate).max())
