"""How much memory does a forward take?"""

import os

import torch
from transformers import PretrainedConfig

from circuitseer_trl.modeling.losses import MAX_LOGITS

# Rows x tokens of a head sweep on a CPU. More are not faster: each read of a layer's weights already serves enough rows.
CPU_SWEEP_TOKENS = 2**13
LARGEST_SWEEP_TOKENS = 2**20
# Memory that the C library keeps during a sweep, as a multiple of what is in use at once (measured). The number of rows
# grows from layer to layer, so freed blocks have many sizes.
KEPT_BY_A_CPU_SWEEP = 4


def default_batch_tokens() -> int:
    """Tokens of one forward: on a CPU as many as fit its caches, on CUDA enough to keep all cores busy."""
    return 16384 if torch.cuda.is_available() else 1024


def activation_bytes(config: PretrainedConfig, dtype: torch.dtype) -> int:
    """The largest memory that a token takes in a forward without gradients, approximately.

    It counts six vectors of the hidden size (residual, norm, query, key, value, attention output) and three of the MLP's
    inner size (gate, up, their product). In a mixture of experts it counts all experts that read a token.
    """
    values = config.get_text_config().to_dict()
    hidden = values.get("hidden_size") or values["n_embd"]
    inner = (
        values.get("moe_intermediate_size") or values.get("intermediate_size") or values.get("n_inner") or 4 * hidden
    )
    return dtype.itemsize * (6 * hidden + 3 * inner * (values.get("num_experts_per_tok") or 1))


def attribution_bytes(config: PretrainedConfig, dtype: torch.dtype, num_tokens: int) -> int:
    """The largest memory of a forward and a backward of one example by its activations, approximately.

    Every layer keeps its activations for the backward, in half precision also what its norms read, in float32 (measured:
    1.0 and 1.25 times `activation_bytes`). The head's backward holds one chunk of logits three times in float32, and a
    float32 copy of a half-precision head.
    """
    text = config.get_text_config()
    layers = text.num_hidden_layers * num_tokens * activation_bytes(config, dtype)
    copy = 4 * text.vocab_size * text.hidden_size
    half = dtype.itemsize < 4
    return (5 * layers // 4 + copy if half else layers) + 3 * 4 * min(MAX_LOGITS, num_tokens * text.vocab_size)


def free_bytes(device: torch.device) -> int:
    """Free memory of a CUDA device. On a CPU half of the main memory, free or not, because processes share it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def sweep_tokens(config: PretrainedConfig, dtype: torch.dtype, device: torch.device) -> int:
    """Rows x tokens of a head sweep that half of the free memory holds: a power of two, so that similar machines agree."""
    fitting = free_bytes(device) // 2 // activation_bytes(config, dtype)
    largest = LARGEST_SWEEP_TOKENS if device.type == "cuda" else CPU_SWEEP_TOKENS
    return min(largest, 2 ** max(fitting, 1).bit_length() // 2)
