"""Reads offline runs of Weights & Biases back from the files that they leave."""

import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.proto import wandb_internal_pb2

BLOCK = 1 << 15
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_run(path: Path) -> Iterator[Any]:
    """The records of a .wandb file, which has LevelDB's log format behind a header of seven bytes."""
    data = path.read_bytes()
    assert struct.unpack_from("<4sHB", data) == (b":W&B", 0xBEE1, 0)
    position, parts = 7, []
    while position + 7 <= len(data):
        left = BLOCK - position % BLOCK
        if left < 7:  # a block's end too short for a record's header is padding
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]  # its stubs are of another protobuf
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


def items(message: Iterable[Any], values: dict | None = None) -> dict:
    values = {} if values is None else values
    for item in message:
        *parents, key = item.nested_key or [item.key]
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = json.loads(item.value_json)
    return values


@contextmanager
def offline(folder: Path, **environment: str) -> Iterator[None]:
    """Has W&B write what is logged in the block into `folder`, and ends the run that it leaves open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(folder))
        for name, value in environment.items():
            patch.setenv(name, value)
        yield
        if wandb.run is not None:
            wandb.finish()
        wandb.teardown()  # it would keep the environment's settings for the whole process


def read_offline(folder: Path) -> dict:
    """What the only run in `folder` holds."""
    [file] = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    found: dict = {"files": file.parent / "files", "config": {}, "history": [], "summary": {}, "artifacts": []}
    for record in read_run(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = record.run
            found["config"] |= items(record.run.config.update)
        elif kind == "config":
            found["config"] |= items(record.config.update)
        elif kind == "history":
            found["history"].append(items(record.history.item))
        elif kind == "summary":
            items(record.summary.update, found["summary"])
        elif kind == "artifact":
            found["artifacts"].append(record.artifact)
        elif kind == "request" and record.request.WhichOneof("request_type") == "log_artifact":
            found["artifacts"].append(record.request.log_artifact.artifact)
    return found


def read_media(run: dict, key: str) -> dict:
    """The table that a run logged last under `key`."""
    return json.loads((run["files"] / run["summary"][key]["path"]).read_text())
