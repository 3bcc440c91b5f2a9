import numpy as np
import pytest
import torch
from transformers import AttentionInterface

from circuitseer_trl.circuits.received import (
    attention_entropy,
    attention_received,
    attention_variance,
    sink_share,
    variance_without_first,
)
from tests.helpers.slow_reference import output_attentions_received, reference_received
from tests.helpers.tiny_models import ARCHITECTURES, sink_model, tiny_model, tiny_text
from tests.modeling.test_losses import CASES

HEADS = [(1, 3), (0, 1), (1, 0), (2, 2)]
TEXTS = [tiny_text(length, seed) for seed, length in enumerate([24, 1, 17, 2, 24, 9])]


def flattened(arch: str = "llama") -> torch.nn.Module:
    """A model in which every head attends uniformly."""
    model = tiny_model(arch, torch.float64)
    for layer in model.get_decoder().layers:
        layer.self_attn.q_proj.weight.zero_()
    return model


@pytest.mark.parametrize(("arch", "dtype", "kernel", "tolerance"), CASES)
def test_received_against_the_reference(arch, dtype, kernel, tolerance):
    model = tiny_model(arch, dtype, attn_implementation=kernel)
    for text, alpha in zip(TEXTS, attention_received(model, TEXTS, HEADS), strict=True):
        assert alpha.dtype == np.float64
        np.testing.assert_allclose(alpha, reference_received(model, text, HEADS), rtol=0, atol=tolerance)
    assert attention_variance(attention_received(model, TEXTS[:1], HEADS)[0]) > 0.1


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_received_against_output_attentions_of_transformers(arch):
    model = tiny_model(arch, attn_implementation="eager")
    [alpha] = attention_received(model, TEXTS[:1], HEADS)
    np.testing.assert_allclose(alpha, output_attentions_received(model, TEXTS[0], HEADS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("arch", ["qwen2", "mistral", "gemma3"])
def test_batch_mates_and_order_change_rounding_only(arch):
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        model = tiny_model(arch, dtype)
        alone = [attention_received(model, [text], HEADS)[0] for text in TEXTS]
        for batch in (range(6), [5, 4, 3, 2, 1, 0], [1, 0], [2, 2, 2]):
            for index, alpha in zip(batch, attention_received(model, [TEXTS[i] for i in batch], HEADS), strict=True):
                np.testing.assert_allclose(alpha, alone[index], rtol=tolerance, atol=0)


@pytest.mark.parametrize("arch", ["llama", "mistral", "gemma2"])
@pytest.mark.parametrize("max_weights", [1, 700, 5000])
def test_query_blocks_change_nothing(arch, max_weights, monkeypatch):
    model = tiny_model(arch)
    whole = attention_received(model, TEXTS, HEADS)
    monkeypatch.setattr("circuitseer_trl.circuits.received.MAX_WEIGHTS", {"cpu": max_weights})
    for blocks, alpha in zip(attention_received(model, TEXTS, HEADS), whole, strict=True):
        np.testing.assert_allclose(blocks, alpha, rtol=0, atol=1e-6)


def test_three_tokens_under_uniform_attention():
    # Rows (1), (1/2, 1/2), (1/3, 1/3, 1/3). Received: 11/6, 5/6, 1/3. Variance (25/36 + 1/36 + 16/36) / 3 = 7/18.
    [alpha] = attention_received(flattened(), [[5, 6, 7]], HEADS)
    assert alpha.tolist() == pytest.approx([11 / 6, 5 / 6, 1 / 3])
    assert attention_variance(alpha) == pytest.approx(7 / 18)
    assert sink_share(alpha) == pytest.approx(11 / 18)
    assert variance_without_first(alpha) == pytest.approx(1 / 16)  # 5/6 and 1/3 about 7/12
    p = np.array([11, 5, 2]) / 18
    assert attention_entropy(alpha) == pytest.approx(1 + (p * np.log(p)).sum() / np.log(3))
    q = np.array([5, 2]) / 7
    assert attention_entropy(alpha, sink_tokens=1) == pytest.approx(1 + (q * np.log(q)).sum() / np.log(2))


@pytest.mark.parametrize("length", [2, 10, 100])
def test_uniform_attention_has_variance_one_minus_harmonic_mean(length):
    [alpha] = attention_received(flattened(), [tiny_text(length)], HEADS)
    assert attention_variance(alpha) == pytest.approx(1 - sum(1 / k for k in range(1, length + 1)) / length)


def test_uniform_attention_in_a_window_is_uniform_over_the_window():
    [alpha] = attention_received(flattened("mistral"), [tiny_text(10)], [(0, 0)])
    rows = [[1 / min(8, j + 1) if j - 8 < k <= j else 0 for k in range(10)] for j in range(10)]
    assert alpha.tolist() == pytest.approx(np.sum(rows, axis=0).tolist())


def test_a_pure_sink_has_variance_n_minus_1_and_full_share():
    alpha = np.array([7.0, 0, 0, 0, 0, 0, 0])
    assert attention_variance(alpha) == pytest.approx(6)
    assert sink_share(alpha) == 1
    assert attention_entropy(alpha) == pytest.approx(1)
    assert variance_without_first(alpha) == attention_entropy(alpha, sink_tokens=1) == 0


def test_even_attention_has_no_variance_and_one_token_scores_zero():
    for alpha in (np.ones(5), *attention_received(tiny_model("llama"), [[7]], HEADS)):
        assert attention_variance(alpha) == pytest.approx(0, abs=1e-12)
        assert attention_entropy(alpha) == pytest.approx(0, abs=1e-12)
        assert variance_without_first(alpha) == attention_entropy(alpha, sink_tokens=9) == 0


def test_the_forward_ends_after_the_deepest_head():
    model, reached = tiny_model("llama"), []
    for index, layer in enumerate(model.get_decoder().layers):
        layer.mlp.register_forward_hook(lambda *_, index=index: reached.append(index))
    model.lm_head.register_forward_hook(lambda *_: reached.append("head"))
    attention_received(model, TEXTS, [(1, 0)])
    assert reached == [0]


def test_nothing_is_left_behind():
    for kernel in ("sdpa", "eager"):
        model = tiny_model("qwen2", attn_implementation=kernel)
        registry, before = dict(AttentionInterface._global_mapping), model(torch.tensor(TEXTS[:1])).logits
        attention_received(model, TEXTS, HEADS)
        with pytest.raises(IndexError):
            attention_received(model, [[1000]], HEADS)
        assert AttentionInterface._global_mapping == registry
        assert torch.equal(model(torch.tensor(TEXTS[:1])).logits, before)


def test_bfloat16_models_get_a_float32_softmax():
    [alpha] = attention_received(tiny_model("llama", torch.bfloat16), TEXTS[:1], HEADS)
    assert alpha.mean() == pytest.approx(1, abs=1e-6)


def test_bad_arguments_are_refused():
    model = tiny_model("llama")
    with pytest.raises(ValueError, match=r"Texts \[1\] of the batch have no tokens"):
        attention_received(model, [[5], []], HEADS)
    with pytest.raises(ValueError, match="`heads` is empty"):
        attention_received(model, TEXTS, [])
    with pytest.raises(ValueError, match="There is no head 0 in layer 7"):
        attention_received(model, TEXTS, [(7, 0)])
    with pytest.raises(ValueError, match="learned attention sinks"):
        attention_received(sink_model(), TEXTS, HEADS)
    model.get_decoder().layers[0].self_attn.q_proj.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        attention_received(model, TEXTS, [(0, 0)])
    assert attention_received(tiny_model("llama"), [], HEADS) == []
