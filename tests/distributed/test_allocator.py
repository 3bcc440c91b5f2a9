"""The memory of a process: pages of a mapped Arrow file are given back, and can still be read; it is counted now and at most."""

import platform
import subprocess
import sys
from pathlib import Path

import datasets
import psutil
import pytest

from circuitseer_trl.distributed.allocator import give_back_mapped_files


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
    """In a new process: one that has freed memory takes that first."""
    program = """
import numpy as np
from circuitseer_trl.distributed.allocator import resident_bytes
before = resident_bytes("VmRSS")
held = np.ones(25_000_000)
now = resident_bytes("VmRSS")
del held
print(before, now, resident_bytes("VmHWM"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, now, most = map(int, done.stdout.split())
    assert 190e6 < now - before < 230e6
    assert most > now - 10e6  # the kernel counts in steps
