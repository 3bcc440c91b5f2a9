"""How fast is the package, compared with others? Same model, same inputs, one process, and the error beside every ratio.

    python -m bench.run [--model DIR] [--output_dir runs/bench]

Writes `bench.json` and `bench.html`. Times are CPU seconds on a CPU (other programs do not count) and seconds on CUDA.
"""

import argparse
import platform
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

from bench.growth import bench_growth
from bench.page import bench_page
from bench.peers import (
    heads_nnsight,
    heads_scaled_query,
    heads_transformer_lens,
    installed,
    transformer_lens_bridge,
)
from circuitseer_trl.artifacts import library_versions, write_json, write_text
from circuitseer_trl.circuits.attention import head_grid
from circuitseer_trl.circuits.received import attention_received, attention_variance
from circuitseer_trl.circuits.sweep import head_loss_increases
from circuitseer_trl.distributed.allocator import reuse_freed_memory
from circuitseer_trl.doctor.measure import example_of, matmul_rate, measure, operations, random_ids, spread
from circuitseer_trl.doctor.slow_ways import heads_eager, losses_one_by_one, scores_eager
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.loading import load_model
from circuitseer_trl.modeling.losses import length_batches, response_losses
from circuitseer_trl.modeling.memory import default_batch_tokens

DEFAULT_MODEL = Path(__file__).parent.parent / "recipes" / "demo" / "base_model"


@dataclass
class Timing:
    """The time of one method, and the error of its numbers.

    Attributes:
        method: Name of the method.
        seconds: Best of the repeats, for all heads or texts.
        wall_seconds: Wall-clock time, the best of the repeats.
        ratio: Time of plain transformers over the time of this method.
        max_error: Largest difference from plain attention in float64: of a loss increase, in nats; of a score, relative.
        matmul_share: Operations per second over those of a large matrix product on this machine; None for peers.
        extrapolated_from: Number of heads that were run, if the time of all is extrapolated from them.
    """

    method: str
    seconds: float
    wall_seconds: float
    ratio: float = 1.0
    max_error: float = 0.0
    matmul_share: float | None = None
    extrapolated_from: int | None = None


def bench_heads(options: argparse.Namespace, model: PreTrainedModel) -> list[Timing]:
    """Times all heads on one example, compared with one forward pass for each head."""
    on_cuda, repeats = model.device.type == "cuda", options.repeats
    example, (num_layers, width) = example_of(model, options.tokens), head_grid(model)
    heads = [(layer, head) for layer in range(num_layers) for head in range(width)]
    some = spread(heads, options.peer_heads or len(heads))
    wide = load_model(options.model, dtype=torch.float64, attn_implementation="sdpa")
    losses = np.array(heads_eager(wide, example, some))
    expected = losses[1:] - losses[0]
    del wide

    def peer(name: str, run: Callable[[], list[float]]) -> Timing:
        losses, seconds, wall = measure(run, repeats, on_cuda)
        scale = (1 + len(heads)) / (1 + len(some))
        error = float(np.abs(np.array(losses[1:]) - losses[0] - expected).max())
        part = len(some) if len(some) < len(heads) else None
        return Timing(name, seconds * scale, wall * scale, max_error=error, extrapolated_from=part)

    timings = [
        peer("transformers, eager, a forward a head", lambda: heads_eager(model, example, some)),
        peer("query times 1e-4, sdpa, a forward a head", lambda: heads_scaled_query(model, example, some)),
    ]
    for dtype in (torch.float32, torch.bfloat16):
        ours = load_model(options.model, dtype=dtype, attn_implementation="sdpa")

        def sweep(ours: PreTrainedModel = ours) -> np.ndarray:
            return head_loss_increases(ours, example).increase

        with reuse_freed_memory():
            increase, seconds, wall = measure(sweep, repeats, on_cuda)
        error = float(np.abs(np.array([increase[head] for head in some]) - expected).max())
        share = operations(sweep) / seconds / matmul_rate(model.device, dtype)
        name = f"ours, {str(dtype).removeprefix('torch.')}"
        timings.append(Timing(name, seconds, wall, max_error=error, matmul_share=share))
    if installed("transformer_lens"):
        bridge = transformer_lens_bridge(Path(options.model), load_model(options.model, dtype=torch.float32))
        timings.append(peer("TransformerLens, hooks", lambda: heads_transformer_lens(bridge, example, some)))
    else:
        print("TransformerLens is not installed: skipped. `pip install transformer-lens` adds it.")
    if installed("nnsight"):
        traced = load_model(options.model, dtype=torch.float32, attn_implementation="sdpa")
        timings.append(peer("nnsight, traces", lambda: heads_nnsight(traced, example, some)))
    else:
        print("nnsight is not installed: skipped. `pip install nnsight` adds it.")
    return with_ratios(timings)


def bench_scores(options: argparse.Namespace, model: PreTrainedModel) -> list[Timing]:
    """Times scores of texts of mixed lengths, with 5% of the heads."""
    on_cuda = model.device.type == "cuda"
    num_layers, width = head_grid(model)
    everything = [(layer, head) for layer in range(num_layers) for head in range(width)]
    heads = spread(everything[: len(everything) * 4 // 5], max(1, len(everything) // 20))
    lengths = np.random.default_rng(0).integers(24, 160, size=options.num_texts).tolist()
    texts = [random_ids(model, length, index) for index, length in enumerate(lengths)]
    wide = load_model(options.model, dtype=torch.float64, attn_implementation="sdpa")
    expected = np.array([attention_variance(alpha) for alpha in scores_eager(wide, texts, heads)])
    del wide

    def ours() -> list[np.ndarray]:
        received: list[Any] = [None] * len(texts)
        for batch in length_batches(lengths, default_batch_tokens()):
            for index, alpha in zip(batch, attention_received(model, [texts[i] for i in batch], heads), strict=True):
                received[index] = alpha
        return received

    timings = []
    for name, work in (
        ("transformers, eager, output_attentions", lambda: scores_eager(model, texts, heads)),
        ("ours, float32", ours),
    ):
        with reuse_freed_memory() if name.startswith("ours") else nullcontext():
            received, seconds, wall = measure(work, options.repeats, on_cuda)
        scores = np.array([attention_variance(alpha) for alpha in received])
        share = None
        if name.startswith("ours"):
            share = operations(work) / seconds / matmul_rate(model.device, torch.float32)
        error = float(np.abs(scores / expected - 1).max())
        timings.append(Timing(name, seconds, wall, max_error=error, matmul_share=share))
    return with_ratios(timings)


def bench_losses(options: argparse.Namespace, model: PreTrainedModel) -> list[Timing]:
    """Times response losses of examples of mixed lengths."""
    on_cuda = model.device.type == "cuda"
    lengths = np.random.default_rng(1).integers(64, 320, size=options.num_texts).tolist()
    examples = [
        EncodedExample(str(index), tuple(random_ids(model, length, index)), length // 3, False)
        for index, length in enumerate(lengths)
    ]
    wide = load_model(options.model, dtype=torch.float64, attn_implementation="sdpa")
    expected = np.array(losses_one_by_one(wide, examples))
    del wide
    timings = []
    for name, work in (
        ("transformers, one by one", lambda: losses_one_by_one(model, examples)),
        ("ours, float32", lambda: response_losses(model, examples, default_batch_tokens())),
    ):
        with reuse_freed_memory() if name.startswith("ours") else nullcontext():
            losses, seconds, wall = measure(work, options.repeats, on_cuda)
        share = None
        if name.startswith("ours"):
            share = operations(work) / seconds / matmul_rate(model.device, torch.float32)
        error = float(np.abs(np.array(losses) - expected).max())
        timings.append(Timing(name, seconds, wall, max_error=error, matmul_share=share))
    return with_ratios(timings)


def with_ratios(timings: list[Timing]) -> list[Timing]:
    for timing in timings:
        timing.ratio = timings[0].seconds / timing.seconds
    return timings


def show(title: str, timings: list[Timing]) -> None:
    print(f"\n{title}\n{'':44}{'seconds':>10}{'wall':>10}{'ratio':>8}{'max error':>11}{'of matmul':>11}")
    for timing in timings:
        share = f"{timing.matmul_share:.0%}" if timing.matmul_share is not None else ""
        print(
            f"  {timing.method:42}{timing.seconds:10.4f}{timing.wall_seconds:10.4f}{timing.ratio:8.2f}"
            f"{timing.max_error:11.1e}{share:>11}"
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=str(DEFAULT_MODEL), help="Folder of a causal language model (the demo's).")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/bench"))
    parser.add_argument("--tokens", type=int, default=128, help="Length of the example for head finding.")
    parser.add_argument("--num_texts", type=int, default=64, help="Number of texts to score.")
    parser.add_argument("--growth", type=int, nargs="*", default=[32, 64, 128, 256, 512], help="Lengths of the curve.")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2], help="Sizes of launches; none skips them.")
    parser.add_argument("--peer_heads", type=int, help="Number of heads for the peers; the rest is extrapolated.")
    parser.add_argument("--repeats", type=int, default=3, help="Number of runs, of which the best counts.")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; waiting threads also count.")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    transformers.logging.disable_progress_bar()
    torch.backends.cuda.matmul.allow_tf32 = False
    model = load_model(options.model, dtype=torch.float32, attn_implementation="sdpa")
    grid = head_grid(model)
    device = torch.cuda.get_device_name() if model.device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{options.model}: {model.num_parameters():,} parameters, {grid[0]} layers of {grid[1]} heads, {device}")
    heads, scores = bench_heads(options, model), bench_scores(options, model)
    show(f"All heads on an example of {options.tokens} tokens", heads)
    show(f"Scores of {options.num_texts} texts", scores)
    losses = bench_losses(options, model)
    show(f"Response losses of {options.num_texts} examples", losses)
    growth = bench_growth(options, model)
    rates = {name: matmul_rate(model.device, getattr(torch, name)) / 1e9 for name in ("float32", "bfloat16")}
    print("\nLarge matrix products: " + ", ".join(f"{rate:.0f} GFLOP/s in {name}" for name, rate in rates.items()))
    unit = "s" if model.device.type == "cuda" else "CPU-s"
    options.output_dir.mkdir(parents=True, exist_ok=True)
    record = {
        "settings": {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
        "machine": {"device": device, "processor": platform.machine(), "unit": unit},
        "versions": library_versions(),
        "matmul_gflops": rates,
        "heads": [asdict(timing) for timing in heads],
        "scores": [asdict(timing) for timing in scores],
        "losses": [asdict(timing) for timing in losses],
        "growth": [asdict(item) for item in growth],
    }
    write_json(options.output_dir / "bench.json", record)
    groups = {
        f"All heads on an example of {options.tokens} tokens": {item.method: item.seconds for item in heads},
        f"Scores of {options.num_texts} texts": {item.method: item.seconds for item in scores},
        f"Response losses of {options.num_texts} examples": {item.method: item.seconds for item in losses},
    }
    write_text(options.output_dir / "bench.html", bench_page(groups, growth, unit))
    print(f"\nWritten to {options.output_dir}/bench.json and bench.html")


if __name__ == "__main__":
    main()
