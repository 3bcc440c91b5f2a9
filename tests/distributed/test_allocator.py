"""The memory of a process: pages of a mapped Arrow file are given back, and can still be read; it is counted now and at most."""

import platform
from pathlib import Path

import datasets
import numpy as np
import psutil
import pytest

from circuitseer_trl.distributed.allocator import give_back_mapped_files, resident_bytes


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux gives pages back")
def test_pages_leave_the_memory_and_come_back(tmp_path: Path):
    texts = [f"{row:06d}" * 200 for row in range(20_000)]
    datasets.Dataset.from_dict({"text": texts}).save_to_disk(str(tmp_path / "data"))
    mapped = datasets.load_from_disk(str(tmp_path / "data"))
    process = psutil.Process()

    def resident() -> int:
        return sum(each.rss for each in process.memory_maps() if each.path.startswith(str(tmp_path)))

    assert list(mapped["text"]) == texts
    assert resident() > 20e6
    give_back_mapped_files()
    assert resident() < 1e6
    assert list(mapped["text"]) == texts


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux tells it here")
def test_memory_is_counted_now_and_at_most():
    before = resident_bytes("VmRSS")
    assert before is not None
    held = np.ones(25_000_000)
    now = resident_bytes("VmRSS")
    assert now is not None
    assert 190e6 < now - before < 230e6
    del held
    most = resident_bytes("VmHWM")
    assert most is not None
    assert most > now - 10e6  # the kernel counts in steps
