"""Pages of a mapped Arrow file are given back, and can still be read."""

import platform
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
