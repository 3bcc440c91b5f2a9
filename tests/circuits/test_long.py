"""Long texts are scored in memory that grows with their tokens, not with the square of them."""

import subprocess
import sys

import pytest
import torch

from circuitseer_trl.circuits.attention import AttentionCall
from circuitseer_trl.circuits.received import _column_sums

# In a process of its own: the most memory that a process had is never forgotten.
COLUMN_SUMS = """
import resource, torch
from circuitseer_trl.circuits.attention import AttentionCall
from circuitseer_trl.circuits.received import _column_sums

class Causal(torch.nn.Module):
    is_causal = True

torch.manual_seed(0)
tokens = 8192
call = AttentionCall(Causal(), "sdpa", torch.randn(1, 4, tokens, 64), torch.randn(1, 2, tokens, 64), None, {})
_column_sums(call, [0], torch.tensor([64]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sums = _column_sums(call, [0, 1, 2, 3], torch.tensor([tokens]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, sums.mean().item())
"""

SOLUTIONS = """
import resource, sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
from circuitseer_trl.circuits.received import attention_received

torch.manual_seed(0)
sizes = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
model = LlamaForCausalLM(LlamaConfig(vocab_size=512, max_position_embeddings=16384, **sizes)).eval()
heads = [(0, 1), (1, 2)]
attention_received(model, [[1, 2, 3]], heads)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
[alpha] = attention_received(model, [torch.randint(512, (16384,)).tolist()], heads)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, alpha.mean())
"""


def growth(program: str) -> tuple[float, float]:
    """Megabytes that the program's memory grew by, and the mean it printed."""
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    megabytes, mean = printed.split()
    return float(megabytes), float(mean)


@pytest.mark.thorough
def test_four_heads_at_8192_tokens_take_no_memory_to_speak_of():
    megabytes, mean = growth(COLUMN_SUMS)
    assert mean == pytest.approx(4, abs=1e-5)  # each query gives every head 1
    assert megabytes < 64  # their weights written out are 1,024 MB


@pytest.mark.thorough
def test_a_solution_of_16384_tokens():
    megabytes, mean = growth(SOLUTIONS)
    assert mean == pytest.approx(1, abs=1e-5)
    assert megabytes < 256  # the weights of one head written out are 1,024 MB


class Causal(torch.nn.Module):
    is_causal = True


def test_column_sums_are_the_gradient_of_the_values():
    """What each token receives is the gradient of the attention's output, summed, by that token's value."""
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 3, 300, 16, dtype=torch.float64)
    value = torch.zeros(1, 3, 300, 1, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True).sum().backward()
    assert value.grad is not None
    sums = _column_sums(AttentionCall(Causal(), "sdpa", query, key, None, {}), [0, 2], torch.tensor([300]))
    torch.testing.assert_close(sums[0], value.grad[0, [0, 2], :, 0].sum(dim=0), rtol=0, atol=1e-12)
