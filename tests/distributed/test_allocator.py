"""The memory of this process."""

from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.distributed.allocator import resident_bytes


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell the memory of a process")
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
