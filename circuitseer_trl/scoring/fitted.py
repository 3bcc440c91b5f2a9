"""Where are the results of a scorer's fit stored?"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from circuitseer_trl.artifacts import fingerprint, read_table, write_table
from circuitseer_trl.distributed.processes import on_main_rank
from circuitseer_trl.distributed.shards import wait_for

logger = logging.getLogger(__name__)


def fitted_file(output_dir: str | Path, name: str, made_from: dict[str, Any], compute: Callable[[], pa.Table]) -> Path:
    """Returns the path of a table in `fitted/` of the run's folder. Rank 0 computes the table if it is missing or broken.

    Args:
        name: First part of the file's name.
        made_from: Everything that the table depends on; its fingerprint is the second part of the file's name.
        compute: Makes the table.
    """
    path = Path(output_dir) / "fitted" / f"{name}-{fingerprint(made_from)}.parquet"

    def write() -> None:
        try:
            read_table(path, of=path.stem)
        except (FileNotFoundError, ValueError) as error:
            if path.exists():
                logger.warning("%s It is made again.", error)
            write_table(path, compute(), of=path.stem)

    on_main_rank(write)
    wait_for([path])  # on a network disk, other machines see the file late
    return path
