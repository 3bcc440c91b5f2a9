"""How far may a computed number be from the exact one? By dtype: rounding may reach the bound, a mistake exceeds it.

The bounds are two to a hundred times what was measured on a CPU with the demo's model and SmolLM2-135M, in each of the dtypes. No
GPU was measured yet. A small mistake hides in the bounds of half precision, but not in those of float64.
"""

import torch

Bounds = dict[torch.dtype, float]

# Mean response loss, in nats per token. transformers' norms round to float32, also in a float64 model.
LOSS_NATS: Bounds = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
# Increase of that loss by ablation. Both of its parts are rounded.
INCREASE_NATS: Bounds = {torch.float64: 1e-5, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 2e-1}
# Scores, relative to the exact score.
SCORE_RELATIVE: Bounds = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 5e-2}
# Slopes, relative to the largest of the model. The slow way is a finite difference, so its own error comes on top.
SLOPE_RELATIVE: Bounds = {torch.float64: 2e-2, torch.float32: 2e-2, torch.float16: 5e-2, torch.bfloat16: 3e-1}
# The same text in another batch: losses in nats, then scores and logits relative to the largest.
BATCH_NATS: Bounds = {torch.float64: 1e-8, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 3e-2}
BATCH_RELATIVE: Bounds = {torch.float64: 1e-7, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
# A matrix product with inputs of this dtype, relative to the largest element.
PRODUCT_RELATIVE: Bounds = {torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def short(dtype: torch.dtype) -> str:
    """The name of a dtype, as in `float32`."""
    return str(dtype).removeprefix("torch.")
