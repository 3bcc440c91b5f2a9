"""Scores a pool with every bound scorer in a folder of pickles, in a process that has none of their models."""

import pickle
import sys
from pathlib import Path

from circuitseer_trl.pool.build import load_pool

if __name__ == "__main__":
    folder, examples = Path(sys.argv[1]), list(load_pool(sys.argv[2], category_column="topic"))
    for path in sorted(folder.glob("*.pickle")):
        scorer = pickle.loads(path.read_bytes())
        path.with_suffix(".rows").write_text(repr(scorer.score_batch(examples)))
