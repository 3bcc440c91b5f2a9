"""What does every selection method cost on one pool? Seconds for 1,000 rows, and the most memory.

    python -m bench.methods --output_dir runs/methods --reference_model M --queries FILE.jsonl \
        --before RUN --after RUN -- --config recipes/data/gsm8k.yaml

Arguments after `--` go to `select-data`. A method without its inputs is skipped with a message. Each method runs in a separate
process. Seconds are CPU seconds, or wall seconds on CUDA. They include the loading of libraries, as `random` shows.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from circuitseer_trl.artifacts import read_json, write_json
from circuitseer_trl.selection.methods import METHODS

WITH_QUERIES = ("rds", "gradient_similarity", "circuit_gradient_similarity")


def method_arguments(options: argparse.Namespace) -> dict[str, dict[str, Any] | None]:
    """`method_args` of the methods that need some; None for a method without its inputs."""
    scores = [str(options.output_dir / name) for name in ("max_loss", "trace_length")]
    turned = {"before": options.before, "after": options.after}
    return {
        **dict.fromkeys(WITH_QUERIES, {"queries": options.queries} if options.queries else None),
        "influence": turned if all(turned.values()) else None,
        "infra": {"evaluation": options.after, "difficulty": "score"} if options.after else None,
        "pass_rate": {"verdicts": options.verdicts} if options.verdicts else None,
        "combine": {"folders": scores},
        "diversity": {"embedding_model": options.embedding_model} if options.embedding_model else {},
    }


def run(name: str, options: argparse.Namespace, arguments: dict[str, Any] | None) -> dict[str, Any]:
    """Runs one selection in a separate process."""
    folder = options.output_dir / name
    command = [sys.executable, "-m", "circuitseer_trl.scripts.select_data", *options.rest]
    command += ["--method", name, "--reference_model", options.reference_model, "--output_dir", str(folder)]
    command += ["--method_args", json.dumps(arguments)] if arguments else []
    if options.heads_file:
        command += ["--heads_file", options.heads_file]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        return {"method": name, "error": errors.strip().splitlines()[-1]}
    num_rows = read_json(folder / "selection.json")["pool"]["num_rows"]
    seconds = time.perf_counter() - started if torch.cuda.is_available() else usage.ru_utime + usage.ru_stime
    return {
        "method": name,
        "num_rows": num_rows,
        "seconds": seconds,
        "seconds_per_1000": 1000 * seconds / num_rows,
        "peak_memory_gb": usage.ru_maxrss * 1024 / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.methods", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--reference_model", required=True)
    parser.add_argument("--heads_file", help="Heads to score with. Without it, the seconds include finding the heads.")
    parser.add_argument("--queries", help="Target problems with solutions, for `rds` and the gradients.")
    parser.add_argument("--before", help="Evaluation before training, for `influence`.")
    parser.add_argument("--after", help="Evaluation after training, for `influence` and `infra`.")
    parser.add_argument("--verdicts", help="Evaluation on the pool, for `pass_rate`.")
    parser.add_argument("--embedding_model", help="Model of sentence-transformers, for `diversity` without categories.")
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    options.rest = [word for word in options.rest if word != "--"]
    needed = method_arguments(options)
    results = []
    for name in options.methods:
        if name in needed and needed[name] is None:
            print(f"{name}: skipped, its input is not given.")
            continue
        result = run(name, options, needed.get(name))
        results.append(result)
        if "error" in result:
            print(f"{name}: {result['error']}")
        else:
            print(
                f"{name:14} {result['seconds']:9.1f} s {result['seconds_per_1000']:9.1f} s for 1,000 "
                f"{result['peak_memory_gb']:6.1f} GB",
                flush=True,
            )
    write_json(options.output_dir / "methods.json", results)


if __name__ == "__main__":
    main()
