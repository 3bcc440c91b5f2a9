"""What can this machine do? bfloat16, FlashAttention, sums over devices, vLLM: each is really tried."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch

from circuitseer_trl.doctor.measure import matmul_rate
from circuitseer_trl.doctor.outcome import CannotError, Outcome, compared
from circuitseer_trl.doctor.programs.run_program import run_program, run_together
from circuitseer_trl.doctor.tolerances import PRODUCT_RELATIVE
from circuitseer_trl.extras import install_command
from circuitseer_trl.modeling.loading import local_device

SIZE = 512
ALL_REDUCE_SECONDS, VLLM_SECONDS = 90.0, 180.0


def relative_error(values: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, relative to the largest expected value."""
    return ((values.double().cpu() - expected.double().cpu()).abs().max() / expected.abs().max().item()).item()


def check_bfloat16() -> list[Outcome]:
    """A product in bfloat16 against float64."""
    device = local_device()
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(SIZE, SIZE, generator=generator).bfloat16() for _ in range(2))
    error = relative_error(left.to(device) @ right.to(device), left.double() @ right.double())
    rates = [matmul_rate(device, dtype) for dtype in (torch.float32, torch.bfloat16)]
    detail = f"{rates[1] / 1e9:.0f} GFLOP/s, {rates[1] / rates[0]:.2g} times float32"
    return [compared("bfloat16 product", error, PRODUCT_RELATIVE[torch.bfloat16], "relative", detail)]


def check_flash_attention() -> list[Outcome]:
    """One causal forward of flash-attn, with grouped heads, against plain attention."""
    if find_spec("flash_attn") is None:
        raise CannotError("flash-attn is not installed: pip install --no-build-isolation 'circuitseer-trl[flash-attn]'")
    if not torch.cuda.is_available():
        raise CannotError("flash-attn needs a CUDA device")
    from flash_attn import flash_attn_func

    generator = torch.Generator().manual_seed(0)
    heads, groups, size = 8, 2, 64
    query, key, value = (
        torch.randn(2, 128, each, size, generator=generator).bfloat16().cuda() for each in (heads, groups, groups)
    )  # (B, T, H, D)
    output = flash_attn_func(query, key, value, causal=True)
    keys, values = (each.double().repeat_interleave(heads // groups, dim=2) for each in (key, value))
    logits = torch.einsum("bqhd,bkhd->bhqk", query.double(), keys) / size**0.5
    weights = logits.masked_fill(torch.ones_like(logits).triu(1).bool(), -torch.inf).softmax(dim=-1)
    expected = torch.einsum("bhqk,bkhd->bqhd", weights, values)
    return [compared("flash-attention", relative_error(output, expected), PRODUCT_RELATIVE[torch.bfloat16], "relative")]


def check_all_reduce() -> list[Outcome]:
    """A sum over all visible GPUs with NCCL, or over two processes of the CPU with gloo."""
    gpus = torch.cuda.device_count()
    backend, size = ("nccl", gpus) if gpus else ("gloo", 2)
    module = ["-m", "circuitseer_trl.doctor.programs.all_reduce"]
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        words = [[*module, store, str(rank), str(size), backend] for rank in range(size)]
        advice = "NCCL_DEBUG=INFO shows where NCCL waits." if gpus else "Is the local network interface up?"
        printed = run_together(words, [{}] * size, ALL_REDUCE_SECONDS, advice)
    expected = size * (size + 1) / 2
    error = max(abs(float(each.split()[-1]) - expected) for each in printed)
    return [compared(f"all_reduce, {backend}", error, 0, "", f"{size} {'GPUs' if gpus else 'processes'}")]


def check_vllm() -> list[Outcome]:
    """Can vLLM be imported, and which platform does it find?"""
    if find_spec("vllm") is None:
        raise CannotError(f"vllm is not installed: {install_command('vllm')}")
    program = (
        "import vllm; from vllm.platforms import current_platform as found; "
        "print(vllm.__version__, found.device_name or type(found).__name__)"
    )
    printed = run_program(["-c", program], VLLM_SECONDS)
    version, platform = printed.split()[-2:]
    if platform.startswith("Unspecified"):
        return [Outcome("vLLM", "differs", detail=f"{version} is installed, but finds no platform that it can run on")]
    return [Outcome("vLLM", "ok", detail=f"{version}, platform {platform}")]
