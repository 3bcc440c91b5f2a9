"""How does the time grow? Head finding over tokens, heads, probe examples and processes."""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.circuits.attention import head_grid
from circuitseer_trl.circuits.sweep import head_loss_increases
from circuitseer_trl.distributed.allocator import reuse_freed_memory
from circuitseer_trl.doctor.measure import example_of, measure, random_ids, spread
from circuitseer_trl.doctor.slow_ways import heads_eager
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.loading import load_tokenizer

CONFIGS = Path(__file__).parent.parent / "accelerate_configs"


@dataclass
class Growth:
    """Seconds of each method at several sizes."""

    over: str
    values: list[int]
    seconds: dict[str, list[float]]


def bench_growth(options: argparse.Namespace, model: PreTrainedModel) -> list[Growth]:
    """Measures head finding over tokens, heads and probe examples, and over processes if `--processes` has some."""
    on_cuda = model.device.type == "cuda"
    num_layers, width = head_grid(model)
    heads = [(layer, head) for layer in range(num_layers) for head in range(width)]
    some = spread(heads, min(len(heads), 4))
    tokens: dict[str, list[float]] = {"transformers": [], "ours": []}
    for length in options.growth:
        example = example_of(model, length)
        _, seconds, _ = measure(lambda: heads_eager(model, example, some), options.repeats, on_cuda)  # noqa: B023
        tokens["transformers"].append(seconds * (1 + len(heads)) / (1 + len(some)))
        with reuse_freed_memory():
            _, seconds, _ = measure(lambda: head_loss_increases(model, example), options.repeats, on_cuda)  # noqa: B023
        tokens["ours"].append(seconds)
    if not options.growth:
        return []
    middle = options.growth[len(options.growth) // 2]
    example, per_forward = example_of(model, middle), tokens["transformers"][options.growth.index(middle)]
    per_forward /= 1 + len(heads)
    counts = sorted({max(1, len(heads) * part // 8) for part in (1, 2, 4, 8)})
    over_heads: dict[str, list[float]] = {"transformers": [], "ours": []}
    for count in counts:
        chosen = spread(heads, count)
        over_heads["transformers"].append(per_forward * (1 + count))
        with reuse_freed_memory():
            _, seconds, _ = measure(lambda: head_loss_increases(model, example, chosen), options.repeats, on_cuda)  # noqa: B023
        over_heads["ours"].append(seconds)
    probes = [1, 2, 4]
    over_probes: dict[str, list[float]] = {"transformers": [], "ours": []}
    for count in probes:
        probe = [
            EncodedExample(str(seed), tuple(random_ids(model, middle, seed)), middle // 4, False)
            for seed in range(count)
        ]
        over_probes["transformers"].append(per_forward * (1 + len(heads)) * count)
        with reuse_freed_memory():
            _, seconds, _ = measure(
                lambda: [head_loss_increases(model, item) for item in probe],  # noqa: B023
                options.repeats,
                on_cuda,
            )
        over_probes["ours"].append(seconds)
    growth = [
        Growth("tokens of the example", options.growth, tokens),
        Growth(f"heads, {middle} tokens", counts, over_heads),
        Growth(f"probe examples of {middle} tokens", probes, over_probes),
    ]
    if options.processes:
        by_clock = [seconds_of_launch(options, model, middle, processes) for processes in options.processes]
        growth.append(Growth("processes (by the clock, loading included)", options.processes, {"ours": by_clock}))
    return growth


def seconds_of_launch(options: argparse.Namespace, model: PreTrainedModel, length: int, processes: int) -> float:
    """Seconds of `find-heads` by its own card, on 16 random examples, for each number of processes."""
    tokenizer = load_tokenizer(options.model)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {
                "problem": tokenizer.decode(random_ids(model, length // 4, seed)),
                "solution": tokenizer.decode(random_ids(model, length - length // 4, seed + 1000)),
            }
            for seed in range(16)
        ]
        pool = Path(folder) / "pool.jsonl"
        pool.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
        config = CONFIGS / ("ddp.yaml" if model.device.type == "cuda" else "cpu.yaml")
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
        launch += ["--num_processes", str(processes), "--num_cpu_threads_per_process", "1"]
        step = [
            "-m",
            "circuitseer_trl.scripts.find_heads",
            "--dataset_name",
            str(pool),
            "--reference_model",
            str(options.model),
        ]
        step += ["--probe_size", "16", "--probe_format", "plain", "--output_dir", folder]
        subprocess.run([*launch, *step], check=True, capture_output=True)
        return read_json(Path(folder) / "heads.json")["seconds"]
