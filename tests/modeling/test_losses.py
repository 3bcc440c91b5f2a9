import math

import pytest
import torch

from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.losses import check_head, length_batches, response_losses, token_losses
from tests.helpers.slow_reference import reference_loss
from tests.helpers.tiny_models import ARCHITECTURES, EAGER_ONLY, VOCABULARY, tiny_model, tiny_text


def example(length: int, num_prompt_tokens: int, seed: int = 0) -> EncodedExample:
    return EncodedExample(f"row-{seed}", tiny_text(length, seed), num_prompt_tokens, False)


def kernels(arch: str) -> list[str]:
    return ["eager"] if arch in EAGER_ONLY else ["sdpa", "eager"]


def precisions(arch: str) -> list[tuple[torch.dtype, str, float]]:
    """(dtype, attention, tolerance): eager attention of transformers has a float32 softmax, also in float64 models."""
    float32 = [(torch.float32, kernel, 1e-5) for kernel in kernels(arch)]
    return [*float32, (torch.float64, *(("eager", 1e-5) if arch in EAGER_ONLY else ("sdpa", 1e-9)))]


CASES = [(arch, *precision) for arch in ARCHITECTURES for precision in precisions(arch)]
LENGTHS = [(24, 7), (9, 8), (2, 1), (17, 1), (24, 20)]
EXAMPLES = [example(length, prompt, seed) for seed, (length, prompt) in enumerate(LENGTHS)]


@pytest.mark.parametrize(("arch", "dtype", "kernel", "tolerance"), CASES)
def test_losses_against_the_reference(arch, dtype, kernel, tolerance):
    model = tiny_model(arch, dtype, attn_implementation=kernel)
    expected = [reference_loss(model, item) for item in EXAMPLES]
    assert response_losses(model, EXAMPLES) == pytest.approx(expected, abs=tolerance)
    check_head(model, EXAMPLES[0])


@pytest.mark.parametrize("max_batch_tokens", [1, 24, 60, 8192])
def test_batch_size_order_and_batch_mates_change_rounding_only(max_batch_tokens):
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-13)):
        model = tiny_model("qwen2", dtype)
        alone = [response_losses(model, [item])[0] for item in EXAMPLES]
        assert response_losses(model, EXAMPLES, max_batch_tokens) == pytest.approx(alone, abs=tolerance)
        backwards = response_losses(model, EXAMPLES[::-1], max_batch_tokens)
        assert backwards[::-1] == pytest.approx(alone, abs=tolerance)


def test_a_head_of_zeros_gives_the_entropy_of_a_uniform_guess():
    model = tiny_model("llama")
    model.get_output_embeddings().weight.data.zero_()
    assert response_losses(model, EXAMPLES) == pytest.approx([math.log(VOCABULARY)] * len(EXAMPLES), abs=1e-6)


def test_logits_of_a_bfloat16_model_are_not_rounded():
    model = tiny_model("llama", torch.bfloat16)
    hidden = torch.randn(5, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    targets = torch.arange(5)
    exact = torch.nn.functional.cross_entropy(
        hidden.double() @ model.lm_head.weight.double().T, targets, reduction="none"
    )
    losses = token_losses(model, hidden, targets)
    assert losses.dtype == torch.float32
    assert losses.tolist() == pytest.approx(exact.tolist(), abs=1e-5)
    check_head(model, EXAMPLES[0])


def test_chunks_of_the_head_join(monkeypatch):
    model = tiny_model("llama")
    whole = response_losses(model, EXAMPLES)
    monkeypatch.setattr("circuitseer_trl.modeling.losses.MAX_LOGITS", 3 * VOCABULARY)
    assert response_losses(model, EXAMPLES) == pytest.approx(whole, abs=1e-6)


def test_batches_are_of_like_length_and_complete():
    batches = list(length_batches([3, 10, 3, 7, 20], 12))
    assert batches == [[4], [1], [3], [0, 2]]


@pytest.mark.parametrize("unknown", [lambda logits: logits * 1.5, lambda logits: 2 * torch.tanh(logits / 2)])
def test_an_unknown_head_is_noticed(unknown, monkeypatch):
    model = tiny_model("llama")
    forward = model.forward

    def changed(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.logits = unknown(output.logits)
        return output

    monkeypatch.setattr(model, "forward", changed)
    with pytest.raises(ValueError, match="changes the logits"):
        check_head(model, EXAMPLES[0])


def test_bad_examples_and_modes_are_refused():
    model = tiny_model("llama")
    with pytest.raises(ValueError, match="no prompt token"):
        response_losses(model, [example(5, 0)])
    with pytest.raises(ValueError, match="no response token"):
        response_losses(model, [example(5, 5)])
    with pytest.raises(ValueError, match=r"model\.eval"):
        response_losses(model.train(), EXAMPLES)
    assert response_losses(model.eval(), []) == []
    with pytest.raises(ValueError, match="no decoder apart from its head"):
        response_losses(model.get_decoder(), EXAMPLES)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_a_gpu_gives_the_same_losses_as_a_cpu(dtype, tolerance):
    model = tiny_model("qwen2", dtype)
    expected = response_losses(model, EXAMPLES)
    assert response_losses(model.cuda(), EXAMPLES) == pytest.approx(expected, abs=tolerance)
    hidden = torch.randn(5, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = token_losses(model.cpu(), hidden, torch.arange(5)).tolist()
    assert token_losses(model.cuda(), hidden, torch.arange(5)).tolist() == pytest.approx(expected, abs=1e-4)
