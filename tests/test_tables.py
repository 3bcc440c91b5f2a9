"""A Parquet file of ours says when a single byte of it is not what was written."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from circuitseer_trl.artifacts import read_table, write_table

TABLE = pa.table(
    {
        "uid": ["a", "b", None],
        "vector": pa.array([[1.0, None], None, []], pa.list_(pa.float64())),
        "score": [0.5, None, float("nan")],
    }
)


def test_a_table_comes_back_with_its_columns(tmp_path: Path):
    write_table(tmp_path / "x.parquet", TABLE)
    found = read_table(tmp_path / "x.parquet")
    assert found.schema.equals(TABLE.schema)
    assert str(found.to_pydict()) == str(TABLE.to_pydict())
    assert pq.read_table(tmp_path / "x.parquet").schema.equals(TABLE.schema)  # any reader of Parquet can read it


def test_no_flipped_byte_is_read(tmp_path: Path):
    """Every single byte, of the data, of the footer and of the digest."""
    path = tmp_path / "x.parquet"
    write_table(path, TABLE, of="scores")
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x20]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"x\.parquet"):
            read_table(path, of="scores")


@pytest.mark.parametrize("size", [0, 3, 100, -1])
def test_a_cut_file_is_named(tmp_path: Path, size: int):
    path = tmp_path / "x.parquet"
    for of in (None, "scores"):
        write_table(path, TABLE, of)
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(ValueError, match=r"x\.parquet"):
            read_table(path)


def test_another_table_is_named(tmp_path: Path):
    write_table(tmp_path / "x.parquet", TABLE, of="shard 1 of scores")
    with pytest.raises(ValueError, match=r"x.parquet is another table \(shard 1 of scores\).*shard 2"):
        read_table(tmp_path / "x.parquet", of="shard 2 of scores")
    pq.write_table(TABLE, tmp_path / "x.parquet")  # of version 0.1.0, or not ours
    assert read_table(tmp_path / "x.parquet").num_rows == 3
    with pytest.raises(ValueError, match="does not say which"):
        read_table(tmp_path / "x.parquet", of="shard 2 of scores")
