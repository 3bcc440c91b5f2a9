"""What does MinHash miss of the near-duplicates that the exact search finds, and what does it cost on large pools?

python -m bench.near_duplicates
python -m bench.near_duplicates --rows 100000 1000000
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from bench.process_memory import run_measured
from bench.scale import gigabytes
from bench.scale_rows import texts, write_rows
from circuitseer_trl.drawing.text_tables import text_table
from circuitseer_trl.pool.minhash import hashed_near_duplicates
from circuitseer_trl.pool.near_duplicates import near_duplicates

NUM_TEXTS, NUM_PAIRS = 20_000, 400
WORDS = 48  # 44 word 5-grams
ADDED = (2, 3, 4, 6, 8, 10, 11, 12, 14, 18, 19)  # words after a copy: a similarity of 44 / (44 + added)
THRESHOLDS = (0.7, 0.8, 0.9)
CLEAN = """
import sys
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.pool import cleaning
from circuitseer_trl.pool.load import pool_from_config
cleaning.MAX_EXACT_ROWS = int(sys.argv[3])
pool = pool_from_config(PoolConfig(sys.argv[1], dedup_similarity=float(sys.argv[2]) or None))
print(len(pool.dropped))
"""


def planted(seed: int) -> tuple[list[str], dict[int, int]]:
    """Texts of 48 words, and for the place of each copy the words that were added to it. Copies stand after all others."""
    chance = np.random.default_rng(seed)
    originals = list(texts(chance, NUM_TEXTS - NUM_PAIRS * len(ADDED), WORDS, WORDS))
    copied = iter(chance.permutation(len(originals)).tolist())
    added = [words for words in ADDED for _ in range(NUM_PAIRS)]
    copies = [" ".join([originals[next(copied)], *texts(chance, 1, words, words)]) for words in added]
    return originals + copies, {len(originals) + place: words for place, words in enumerate(added)}


def recall_rows(seed: int) -> list[list[str]]:
    """For each threshold and similarity: the pairs, and how many each of the two ways finds."""
    rows, added_to = planted(seed)
    table = []
    for threshold in THRESHOLDS:
        exact = near_duplicates(rows, threshold)
        hashed = hashed_near_duplicates([rows], len(rows), threshold, rows.__getitem__)
        if wrong := [place for place in hashed if place not in exact]:
            raise RuntimeError(
                f"MinHash drops {len(wrong)} texts that the exact search keeps, for instance {wrong[:3]}."
            )
        by_exact, by_hashes = (Counter(added_to[place] for place in found) for found in (exact, hashed))
        for words in ADDED:
            if by_exact[words]:
                counts = [f"{NUM_PAIRS}", f"{by_exact[words]}", f"{by_hashes[words]}"]
                table.append([f"{threshold}", f"{WORDS - 4} / {WORDS - 4 + words} = {44 / (44 + words):.3f}", *counts])
        table.append([f"{threshold}", "all", f"{len(added_to)}", f"{len(exact)}", f"{len(hashed)}"])
    return table


def cost_rows(num_rows: int, options: argparse.Namespace) -> list[list[str]]:
    """Reading a pool, and reading and cleaning it: each in a process of its own, without anything in a cache."""
    table = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        write_rows(Path(name) / "rows", num_rows, options.seed, near_ratio=0.1)
        ways = {"none": ("0", "0"), "MinHash": ("0.8", "0")} | (
            {"exact": ("0.8", "1000000000")} if options.exact else {}
        )
        for number, (way, words) in enumerate(ways.items()):
            environment = os.environ | {"HF_DATASETS_CACHE": f"{name}/cache-{number}", "CUDA_VISIBLE_DEVICES": ""}
            run = run_measured([sys.executable, "-c", CLEAN, f"{name}/rows", *words], environment)
            dropped = run.output.splitlines()[-1]
            table.append(
                [f"{num_rows:,}", way, dropped, f"{run.seconds:.0f} s", *gigabytes(list(run.peaks.values()))[:2]]
            )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.near_duplicates", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rows", type=int, nargs="+", help="Sizes of pools to clean, in place of the recall.")
    parser.add_argument("--exact", action="store_true", help="Clean them by the exact search as well.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the texts.")
    parser.add_argument("--folder", help="Where pools are written; by default the system's temporary folder.")
    options = parser.parse_args()
    if options.rows:
        table = [row for num_rows in options.rows for row in cost_rows(num_rows, options)]
        print(text_table(["rows", "search", "dropped", "time", "peak", "own pages"], table))
    else:
        print(text_table(["threshold", "similarity", "pairs", "exact", "MinHash"], recall_rows(options.seed)))


if __name__ == "__main__":
    main()
