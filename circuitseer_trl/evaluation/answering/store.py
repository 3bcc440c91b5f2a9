"""Samples on disk: one JSON line each, appended as it finishes, so that a killed run continues where it stopped."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from circuitseer_trl.answers import Sample, SampleKey, json_line, read_samples
from circuitseer_trl.artifacts import atomic_path, check_format, format_record, read_json, write_json


class SampleStore:
    """The file `<folder>/<benchmark>.jsonl`; ranks other than 0 write parts of it that are merged at the end."""

    def __init__(self, folder: str | Path, benchmark: str, rank: int = 0) -> None:
        self.path = Path(folder) / f"{benchmark}.jsonl"
        self._own = self.path if rank == 0 else self._part(rank)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def _part(self, rank: int | str) -> Path:
        return self.path.with_name(f"{self.path.stem}.rank{rank}.jsonl")

    def _files(self) -> list[Path]:
        whole = [self.path] if self.path.is_file() else []
        return whole + sorted(self.path.parent.glob(self._part("*").name))

    def read(self) -> dict[SampleKey, Sample]:
        """All samples of all ranks. A last line without an end is what a kill leaves, and counts as not written."""
        samples: dict[SampleKey, Sample] = {}
        for path in self._files():
            samples |= read_samples(path)
        return samples

    def drop_torn_line(self) -> None:
        """Cuts what a kill left of a last line off this rank's own file, or the next line would join it."""
        if self._own.is_file():
            content = self._own.read_bytes()
            os.truncate(self._own, content.rfind(b"\n") + 1)

    def append(self, samples: Iterable[Sample]) -> None:
        lines = "".join(map(json_line, samples))
        # Lone surrogates, which a tokenizer can produce, have no UTF-8 form.
        with open(self._own, "ab") as file:
            file.write(lines.encode("utf-8", errors="replace"))
            file.flush()
            os.fsync(file.fileno())

    def merge(self, order: Sequence[str]) -> None:
        """Rewrites the file with every rank's samples, in the order of the ids in `order`, and deletes the parts."""
        positions = {id: position for position, id in enumerate(order)}
        # Samples of problems outside `order` stay: a smaller `--limit` must not throw finished work away.
        samples = sorted(
            self.read().values(), key=lambda s: (positions.get(s.id, len(positions)), s.id, not s.greedy, s.sample)
        )
        with atomic_path(self.path) as temporary:
            temporary.write_bytes("".join(map(json_line, samples)).encode("utf-8", errors="replace"))
        for part in self._files()[1:]:
            part.unlink()


def claim_folder(folder: str | Path, settings: dict[str, Any], *, write: bool = True) -> None:
    """Ties an output folder to what its samples were made with, and refuses one that was made with something else."""
    path = Path(folder) / "settings.json"
    if path.is_file():
        before = read_json(path)
        check_format(path, before)
        before = {name: value for name, value in before.items() if name not in format_record()}
        changed = [name for name in sorted(before | settings) if before.get(name) != settings.get(name)]
        if changed:
            differences = "; ".join(
                f"{name} was {before.get(name)!r} and is now {settings.get(name)!r}" for name in changed
            )
            raise ValueError(
                f"{folder} holds samples made with other settings: {differences}. Choose another `output_dir`."
            )
    elif write:
        write_json(path, settings | format_record())
