"""Digests of files: equal content gives equal digests, and a large file is read once while nothing is written to it."""

import os
from pathlib import Path

import pytest

from circuitseer_trl import digests
from circuitseer_trl.digests import content_digest, memory_path


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "LARGE_FILE", 4)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    read = digests._read_digest
    monkeypatch.setattr(digests, "_read_digest", lambda file: found.append(file.name) or read(file))
    return found


def test_a_large_file_is_read_once(tmp_path: Path, reads: list[str]):
    (tmp_path / "large").write_text("12345")
    (tmp_path / "small").write_text("123")
    before = [content_digest(tmp_path / name) for name in ("large", "small")]
    assert [content_digest(tmp_path / name) for name in ("large", "small")] == before
    assert sorted(reads) == ["large", "small", "small"]


def test_a_written_file_is_read_again_even_with_its_old_time(tmp_path: Path, reads: list[str]):
    file = tmp_path / "large"
    file.write_text("12345")
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    before = content_digest(file)
    file.write_text("12346")
    os.utime(file, ns=times)
    assert content_digest(file) != before
    assert len(reads) == 2


def test_a_copy_has_the_same_digest(tmp_path: Path):
    (tmp_path / "a").write_text("12345")
    (tmp_path / "b").write_text("12345")
    assert digests._file_digest(tmp_path / "a") == digests._file_digest(tmp_path / "b")


@pytest.mark.parametrize("broken", ["", "[1]", '{"a": '])
def test_a_broken_memory_is_made_again(tmp_path: Path, broken: str):
    (tmp_path / "large").write_text("12345")
    before = content_digest(tmp_path / "large")
    memory_path().write_text(broken)
    assert content_digest(tmp_path / "large") == before


def test_a_memory_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cache").write_text("a file where the folder would be")
    (tmp_path / "large").write_text("12345")
    assert content_digest(tmp_path / "large") == content_digest(tmp_path / "large")
