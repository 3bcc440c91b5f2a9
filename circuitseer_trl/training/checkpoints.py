"""Is a saved model or a checkpoint whole? Its files are there and have the content that was written."""

import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import format_record, read_json, write_json
from circuitseer_trl.digests import content_digest
from circuitseer_trl.modeling.model_folders import INDEX, check_whole_weights

RECORD = "checkpoint.json"  # ours, in every checkpoint; transformers writes the other files
STATE = "trainer_state.json"


def weights_digests(folder: Path) -> dict[str, str]:
    """Digests of the files with the weights of a saved model."""
    return {path.name: content_digest(path) for path in sorted(folder.glob("*.safetensors"))}


def write_record(checkpoint: Path, world_size: int) -> None:
    """Records in a checkpoint what `wrong_checkpoint` compares its files with."""
    record = {
        "world_size": world_size,
        "weights": weights_digests(checkpoint),
        STATE: content_digest(checkpoint / STATE),
    }
    write_json(checkpoint / RECORD, record | format_record())


def wrong_weights(folder: Path, digests: Mapping[str, str] | None) -> str | None:
    """What is wrong with the weights of a saved model; None if they are whole.

    Args:
        digests: Of the files, from `weights_digests`. Without them only the lengths of the files are checked.
    """
    index = folder / INDEX
    try:
        needed = set(read_json(index)["weight_map"].values()) if index.is_file() else set()
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{index} is broken"
    files = {path.name for path in folder.glob("*.safetensors")}
    if missing := sorted((needed | set(digests or {})) - files):
        return f"there is no {folder / missing[0]}"
    if not files:
        return f"{folder} has no weights (*.safetensors)"
    for name in sorted(files):
        if digests is not None and name in digests:
            if content_digest(folder / name) != digests[name]:
                return f"{folder / name} does not have the content that was written"
        else:
            try:
                check_whole_weights(folder / name)
            except ValueError as error:
                return str(error)
    return None


def wrong_checkpoint(checkpoint: Path) -> str | None:
    """What a checkpoint lacks for going on as if the run had not stopped; None if it is whole."""
    record = _read(checkpoint / RECORD)
    if not isinstance(_read(checkpoint / STATE).get("global_step"), int):
        return f"{checkpoint / STATE} is missing or broken"
    if STATE in record and record[STATE] != content_digest(checkpoint / STATE):
        return f"{checkpoint / STATE} does not have the content that was written"
    sharded = list(checkpoint.glob("*fsdp*"))  # FSDP's folders of shards, which have a check of their own
    digests = record.get("weights")
    if not sharded and (wrong := wrong_weights(checkpoint, digests if isinstance(digests, dict) else None)):
        return wrong
    needed = list(_needed(checkpoint, record.get("world_size"), sharded=bool(sharded)))
    if missing := [path for path in needed if not path.is_file()]:
        return f"there is no {missing[0]}"
    archives = [path for path in needed if path.suffix in (".pt", ".pth")]
    with ThreadPoolExecutor() as threads:  # the state of an optimizer is large, and the other processes wait
        for path, whole in zip(archives, threads.map(_is_whole_archive, archives), strict=True):
            if not whole:
                return f"{path} is broken"
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _needed(checkpoint: Path, world_size: int | None, *, sharded: bool) -> Iterator[Path]:
    """The files that torch and DeepSpeed load, beside the weights. Without our record the number of processes is not known."""
    states = len(list(checkpoint.glob("rng_state_*.pth")))
    ranks = range(world_size or (max(states, 2) if states else 1))  # one process writes `rng_state.pth`
    yield from (checkpoint / (f"rng_state_{rank}.pth" if len(ranks) > 1 else "rng_state.pth") for rank in ranks)
    latest = checkpoint / "latest"
    if not latest.is_file() and not any(checkpoint.glob("global_step*")):
        yield checkpoint / "scheduler.pt"
        if not sharded:
            yield checkpoint / "optimizer.pt"
        return
    yield latest
    folder = checkpoint / (latest.read_text(encoding="utf-8").strip() if latest.is_file() else "")
    files = sorted(folder.glob("*.pt"))
    yield from files
    shards = sum(path.name.endswith("_optim_states.pt") for path in files)
    if shards < len(ranks):
        yield folder / f"*_rank_{shards}_*_optim_states.pt"
    # ZeRO-3 has model states of every rank, and ZeRO-1 and 2 those of one.
    models = [path for path in files if path.name.endswith("_model_states.pt")]
    if not models or (models[0].name.startswith("zero_pp_rank_") and len(models) < shards):
        yield folder / f"*_rank_{len(models)}_*_model_states.pt"


def _is_whole_archive(path: Path) -> bool:
    """Whether torch's file, a zip archive with a checksum of every part, is what was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        return False


def last_whole_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """The last checkpoint that is whole, and what is wrong with the later ones."""
    numbered = [path for path in folder.glob("checkpoint-*") if path.is_dir() and path.name[11:].isdecimal()]
    wrong: list[str] = []
    for checkpoint in sorted(numbered, key=lambda path: int(path.name[11:]), reverse=True):
        problem = wrong_checkpoint(checkpoint)
        if problem is None:
            return checkpoint, wrong
        wrong.append(problem)
    return None, wrong
