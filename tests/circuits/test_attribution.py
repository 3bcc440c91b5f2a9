"""First-order estimates of what heads are worth, against finite differences."""

import numpy as np
import pytest
import torch
from transformers import AttentionInterface

from circuitseer_trl.circuits.attention import intercept
from circuitseer_trl.circuits.attribution import head_attributions
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.losses import response_losses
from tests.helpers.tiny_models import ARCHITECTURES, NUM_HEADS, NUM_LAYERS, tiny_model, tiny_text
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
        assert estimates.increase.shape == (NUM_LAYERS, NUM_HEADS)
        assert estimates.base_loss == pytest.approx(response_losses(model, [EXAMPLE])[0], abs=1e-9)
        for layer, head in ((0, 1), (NUM_LAYERS - 1, 3)):
            # Not smaller: norms round to float32, also in float64 models.
            step = 2e-3
            slope = (blended_loss(model, layer, head, step) - blended_loss(model, layer, head, -step)) / (2 * step)
            assert estimates.increase[layer, head] == pytest.approx(slope, rel=1e-2, abs=1e-4)
        assert np.abs(estimates.increase).max() > 1e-3, "ablation does nothing here, so the test shows nothing"
