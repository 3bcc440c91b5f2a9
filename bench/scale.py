"""How do time and memory grow with the rows of a pool? Selects from generated pools, each in a process of its own.

    python -m bench.scale --model Qwen/Qwen2.5-0.5B --rows 100000 1000000

The method is `length`, so only the tokenizer of the model is used. Nothing of a size is kept after its run.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from bench.process_memory import Peak, run_measured
from bench.scale_check import slow_selection
from bench.scale_rows import write_rows
from circuitseer_trl.artifacts import read_card, read_table
from circuitseer_trl.drawing.text_tables import text_table
from circuitseer_trl.modeling.loading import load_tokenizer

LARGEST_BUDGET = 100_000
HEADING = ["rows", "budget", "rows/s", "all", "pool", "scores", "draw", "peak", "own pages", "processes"]


def phases(started: float, output: Path) -> list[float]:
    """Seconds until the first file of scores, until `scores.json`, and until the end, by the times of the files."""
    first = min(file.stat().st_mtime for file in (output / "scores").rglob("*.parquet"))
    scored, done = ((output / name).stat().st_mtime for name in ("scores.json", "selection.json"))
    return [first - started, scored - first, done - scored]


def gigabytes(peaks: list[Peak]) -> list[str]:
    """The largest process by each of the two measures, and the number of processes."""
    largest = max(peak.resident for peak in peaks), max(peak.anonymous for peak in peaks)
    return [*(f"{size / 1e9:.2f} GB" for size in largest), str(len(peaks))]


def _python(num_processes: int) -> list[str]:
    """The command, or its launch with several ranks."""
    module = ["-m", "circuitseer_trl.scripts.select_data"]
    if num_processes == 1:
        return [sys.executable, *module]
    launch = ["-m", "circuitseer_trl.distributed.launcher", "--config_file", "accelerate_configs/cpu.yaml"]
    numbers = ["--num_processes", str(num_processes), "--main_process_port", "0"]
    return [sys.executable, *launch, *numbers, *module]


def measure_rows(num_rows: int, options: argparse.Namespace) -> list[str]:
    """One row of the table."""
    size = min(LARGEST_BUDGET, num_rows // 10)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write_rows(folder / "rows", num_rows, options.seed)
        environment = os.environ | {"HF_DATASETS_CACHE": str(folder / "cache"), "CUDA_VISIBLE_DEVICES": ""}
        words = ["--dataset_name", folder / "rows", "--method", "length", "--budget_size", size]
        words += ["--reference_model", options.model, "--output_dir", folder / "out"]
        started = time.time()
        run = run_measured([*_python(options.num_processes), *map(str, words)], environment)
        print(f"{num_rows:,} rows: {run.output.splitlines()[-1]}", file=sys.stderr)
        if options.check:
            seed = read_card(folder / "out" / "selection.json", "select-data")["noise"]["seed"]
            expected = slow_selection(folder / "rows", load_tokenizer(options.model), size, seed)
            if read_table(folder / "out" / "selection.parquet")["uid"].to_pylist() != expected:
                raise RuntimeError(f"The selection from {num_rows:,} rows is not the one of the slow second way.")
            print(
                f"{num_rows:,} rows: the slow second way selects the same {size:,} rows in the same order",
                file=sys.stderr,
            )
        parts = [f"{seconds:.1f} s" for seconds in (run.seconds, *phases(started, folder / "out"))]
    return [
        f"{num_rows:,}",
        f"{size:,}",
        f"{num_rows / run.seconds:,.0f}",
        *parts,
        *gigabytes(list(run.peaks.values())),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rows", type=int, nargs="+", required=True, help="Sizes of the pools.")
    parser.add_argument("--model", required=True, help="Hub id or folder of the reference model.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the texts.")
    parser.add_argument(
        "--folder", help="Where pools are written, about 1.5 KB a row; by default the system's temporary one."
    )
    parser.add_argument("--num_processes", type=int, default=1, help="Ranks of a launch.")
    parser.add_argument("--check", action="store_true", help="Compare each selection with a slow second way.")
    options = parser.parse_args()
    print(text_table(HEADING, [measure_rows(num_rows, options) for num_rows in options.rows]))


if __name__ == "__main__":
    main()
