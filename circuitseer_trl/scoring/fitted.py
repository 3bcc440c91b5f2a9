"""Where is kept what a scorer fits once a run?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitseer_trl.artifacts import fingerprint, write_table
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.distributed.shards import wait_for


def fitted_file(output_dir: str | Path, name: str, made_from: dict[str, Any], compute: Callable[[], pa.Table]) -> Path:
    """A table in `fitted/` of the run's folder, computed on rank 0 where it is not there yet.

    Args:
        name: What it is called.
        made_from: Everything that it depends on; the file's name has a fingerprint of it.
        compute: Makes the table.
    """
    path = Path(output_dir) / "fitted" / f"{name}-{fingerprint(made_from)}.parquet"

    def write() -> None:
        if not path.exists():
            write_table(path, compute())

    on_main_rank(write)
    wait_for([path])  # a network disk shows it late
    return path
