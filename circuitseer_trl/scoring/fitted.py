"""Where are the results of a scorer's fit stored?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitseer_trl.artifacts import fingerprint, write_table
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.distributed.shards import wait_for


def fitted_file(output_dir: str | Path, name: str, made_from: dict[str, Any], compute: Callable[[], pa.Table]) -> Path:
    """Returns the path of a table in `fitted/` of the run's folder. Rank 0 computes the table if it does not exist.

    Args:
        name: First part of the file's name.
        made_from: Everything that the table depends on; its fingerprint is the second part of the file's name.
        compute: Makes the table.
    """
    path = Path(output_dir) / "fitted" / f"{name}-{fingerprint(made_from)}.parquet"

    def write() -> None:
        if not path.exists():
            write_table(path, compute())

    on_main_rank(write)
    wait_for([path])  # on a network disk, other machines see the file late
    return path
