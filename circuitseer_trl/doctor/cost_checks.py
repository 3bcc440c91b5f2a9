"""Does the work take the memory that is forecast, and how near is its speed to that of matrix products?

Both are measured on one random model, whose widths suit the device, so that machines can be compared.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from circuitseer_trl.circuits.attention import head_grid
from circuitseer_trl.circuits.received import attention_received
from circuitseer_trl.circuits.sweep import head_loss_increases
from circuitseer_trl.distributed.allocator import resident_bytes, reuse_freed_memory
from circuitseer_trl.doctor.measure import matmul_rate, measure, operations, random_ids
from circuitseer_trl.doctor.outcome import CannotError, Outcome, compared
from circuitseer_trl.doctor.tolerances import short
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.loading import local_device, resolve_dtype
from circuitseer_trl.modeling.losses import MAX_LOGITS, response_losses
from circuitseer_trl.modeling.memory import KEPT_BY_A_CPU_SWEEP, activation_bytes, default_batch_tokens, sweep_tokens

# The forecast is of activations. Logits are held in float32, up to three times, while losses are computed.
LOGITS_BYTES = 3 * 4 * MAX_LOGITS
MEMORY_BOUND = 1.25
# Share of the matrix-product rate. On CPUs it is measured with one thread, since threads that wait for others count as well;
# 0.5 to 0.8 is usual there. No GPU was measured yet.
SHARES = {"cpu": 0.25, "cuda": 0.1}
TOKENS = {"cpu": 128, "cuda": 512}
MAX_POSITIONS = 4096


def yardstick(device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """A random model: as wide as SmolLM2-135M on a CPU, as Llama-3.2-1B on CUDA, with few layers."""
    hidden, layers, heads, groups = (576, 2, 9, 3) if device.type == "cpu" else (2048, 8, 32, 8)
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        vocab_size=8192,
        max_position_embeddings=MAX_POSITIONS,
    )
    with torch.random.fork_rng(), device:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).to(dtype)
    return model.eval().requires_grad_(False)


def _example(model: PreTrainedModel, length: int, seed: int = 0) -> EncodedExample:
    return EncodedExample("yardstick", tuple(random_ids(model, length, seed)), length // 4, False)


def _resident(field: Literal["VmRSS", "VmHWM"]) -> int:
    found = resident_bytes(field)
    if found is None:
        raise CannotError("this system does not tell the memory of a process")
    return found


def peak_bytes(work: Callable[[], object], on_cuda: bool) -> int:
    """The most memory that a piece of work holds beside what was held before."""
    if on_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    with reuse_freed_memory():
        pass  # returns what is free
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets VmHWM
    except OSError as error:
        raise CannotError("this system does not let a process reset its peak of memory") from error
    before = _resident("VmRSS")
    with reuse_freed_memory():
        work()
        return _resident("VmHWM") - before


def check_memory() -> list[Outcome]:
    """The peak of losses and of a sweep over all heads, against the forecast of `--dry_run`."""
    device, dtype = local_device(), resolve_dtype("auto")
    on_cuda = device.type == "cuda"
    model = yardstick(device, dtype)
    length, per_token = TOKENS[device.type], activation_bytes(model.config, dtype)
    num_layers, width = head_grid(model)
    batch_tokens = default_batch_tokens()
    batch = [_example(model, length, seed) for seed in range(batch_tokens // length)]
    rows = 1 + num_layers * width
    held = min(sweep_tokens(model.config, dtype, device), MAX_POSITIONS * rows)
    swept = _example(model, held // rows)
    kept = 1 if on_cuda else KEPT_BY_A_CPU_SWEEP
    works: dict[str, tuple[Callable[[], object], int]] = {
        "losses": (lambda: response_losses(model, batch, batch_tokens), batch_tokens * per_token),
        "sweep": (lambda: head_loss_increases(model, swept, max_tokens=held), kept * held * per_token),
    }
    response_losses(model, batch[:1])  # what libraries take once
    outcomes = []
    for name, (work, activations) in works.items():
        forecast, peak = activations + LOGITS_BYTES, peak_bytes(work, on_cuda)
        detail = f"forecast {forecast / 1e9:.2f} GB, at most {peak / 1e9:.2f} GB"
        outcomes.append(
            compared(f"memory, {name}, {short(dtype)}", peak / forecast, MEMORY_BOUND, "of forecast", detail)
        )
    return outcomes


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_throughput() -> list[Outcome]:
    """Operations per second of losses, sweep and scores, over those of a large matrix product."""
    device = local_device()
    on_cuda, length = device.type == "cuda", TOKENS[device.type]
    model, scoring = (yardstick(device, resolve_dtype("auto", for_scores=each)) for each in (False, True))
    examples = [_example(model, length, seed) for seed in range(default_batch_tokens() // length)]
    texts = [example.input_ids for example in examples]
    last = (head_grid(model)[0] - 1, 0)
    works: dict[str, tuple[Callable[[], object], torch.dtype]] = {
        "losses": (lambda: response_losses(model, examples, default_batch_tokens()), model.dtype),
        "sweep": (lambda: head_loss_increases(model, examples[0]), model.dtype),
        "scores": (lambda: attention_received(scoring, texts, [last]), scoring.dtype),
    }
    outcomes = []
    for name, (work, dtype) in works.items():
        count = operations(work)
        with one_thread(), reuse_freed_memory():
            _, seconds, _ = measure(work, 2, on_cuda)
            rate, share = matmul_rate(device, dtype), count / seconds
        detail = f"{share / 1e9:.0f} GFLOP/s, matrix products {rate / 1e9:.0f}"
        share /= rate
        outcomes.append(
            compared(f"speed, {name}, {short(dtype)}", share, SHARES[device.type], "of products", detail, at_least=True)
        )
    return outcomes
