"""Shards: what is there is not done again, other inputs are refused, and errors and results reach every process."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from circuitseer_trl.artifacts import fingerprint, write_json
from circuitseer_trl.distributed.shard_folders import ShardFolder, read_shards
from circuitseer_trl.distributed.shards import run_shards
from tests.helpers.damage import flip
from tests.helpers.launch import launch


def make(folder: Path, made_from: dict[str, object], calls: list[int]) -> list[int]:
    def compute(shard: int) -> pa.Table:
        calls.append(shard)
        return pa.table({"value": [shard * 10, shard * 10 + 1]})

    return run_shards(folder, 3, made_from, compute, "Test").read_all()["value"].to_pylist()


def test_missing_shards_only(tmp_path: Path):
    calls: list[int] = []
    assert make(tmp_path / "x", {"seed": 1}, calls) == [0, 1, 10, 11, 20, 21]
    (tmp_path / "x" / "part-000000001.parquet").unlink()
    assert make(tmp_path / "x", {"seed": 1}, calls) == [0, 1, 10, 11, 20, 21]
    assert calls == [0, 1, 2, 1]


def test_other_inputs_are_refused_and_named(tmp_path: Path):
    make(tmp_path / "x", {"seed": 1, "model": "a"}, [])
    with pytest.raises(ValueError, match="Changed: seed: 1 then, 2 now") as error:
        make(tmp_path / "x", {"seed": 2, "model": "a"}, [])
    assert "model" not in str(error.value).split("Changed")[1]


def test_names_sort_at_any_number(tmp_path: Path):
    names = [ShardFolder(tmp_path, 1, "x").path(shard).name for shard in (9, 10, 99_999, 100_000, 123_456_789)]
    assert names == sorted(names)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    make(tmp_path / "x", {"seed": 1}, [])
    make(tmp_path / "y" / "x", {"seed": 2}, [])  # the same rows by other inputs
    return tmp_path / "x"


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "flipped": flip,
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "of another run": lambda path: path.write_bytes((path.parent.parent / "y" / "x" / path.name).read_bytes()),
    "another shard": lambda path: path.write_bytes((path.parent / "part-000000002.parquet").read_bytes()),
    "not ours": lambda path: pq.write_table(pa.table({"value": [10, 11]}), path),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_shard_that_cannot_be_used_is_named_and_made_again(made: Path, damage: str, caplog: pytest.LogCaptureFixture):
    path = made / "part-000000001.parquet"
    before = path.read_bytes()
    DAMAGE[damage](path)
    with pytest.raises((ValueError, FileNotFoundError), match=r"part-000000001.parquet.*`circuitseer score-pool`"):
        read_shards(made, "score-pool")
    calls: list[int] = []
    assert make(made, {"seed": 1}, calls) == [0, 1, 10, 11, 20, 21]
    assert calls == [1]
    assert path.read_bytes() == before
    assert ("part-000000001.parquet" in caplog.text) == (damage != "deleted")
    assert read_shards(made, "score-pool")["value"].to_pylist() == [0, 1, 10, 11, 20, 21]


def test_other_files_of_the_folder_are_named_and_not_read(made: Path, caplog: pytest.LogCaptureFixture):
    (made / "part-000000007.parquet").write_bytes((made / "part-000000001.parquet").read_bytes())
    assert make(made, {"seed": 1}, []) == [0, 1, 10, 11, 20, 21]
    assert "are not read: part-000000007.parquet" in caplog.text
    assert read_shards(made, "score-pool").num_rows == 6


@pytest.mark.parametrize("content", ["", '{"fingerprint": "0', "[]", '{"made_from": {}, "fingerprint": "1"}'])
def test_a_broken_manifest_is_written_again(made: Path, content: str, caplog: pytest.LogCaptureFixture):
    path = made.with_name("x.manifest.json")
    before = path.read_text()
    path.write_text(content)
    with pytest.raises(ValueError, match=r"x.manifest.json is broken.*`circuitseer score-pool`"):
        read_shards(made, "score-pool")
    calls: list[int] = []
    make(made, {"seed": 1}, calls)
    assert (calls, path.read_text()) == ([], before)
    assert "x.manifest.json is broken. It is written again." in caplog.text


def test_rows_and_columns_must_be_those_of_the_step(tmp_path: Path):
    """Shards that an own class wrote before it was changed."""

    def run(name: str, column: str) -> pa.Table:
        schema = pa.schema([("uid", pa.string()), (column, pa.int64())])
        table = pa.Table.from_pylist([{"uid": name, column: 1}], schema=schema)
        return run_shards(tmp_path / "x", 1, {}, lambda shard: table, "Test", lambda shard: [name], schema).read_all()

    assert run("a", "score").to_pylist() == [{"uid": "a", "score": 1}]
    assert run("b", "score").to_pylist() == [{"uid": "b", "score": 1}]
    assert run("b", "other").to_pylist() == [{"uid": "b", "other": 1}]


def test_a_folder_of_another_version_is_read_and_not_added_to(tmp_path: Path):
    (tmp_path / "x").mkdir()
    made_from = {"seed": 1, "num_shards": 2}
    write_json(tmp_path / "x.manifest.json", {"fingerprint": fingerprint(made_from), "made_from": made_from})
    for shard in range(2):
        pq.write_table(pa.table({"value": [shard]}), tmp_path / "x" / f"part-{shard:05d}.parquet")
    assert read_shards(tmp_path / "x", "score-pool")["value"].to_pylist() == [0, 1]
    with pytest.raises(ValueError, match=r"x.manifest.json was written by circuitseer_trl 0\.1\.0"):
        make(tmp_path / "x", {"seed": 1}, [])


def test_a_failing_shard_leaves_no_half_file(tmp_path: Path):
    def compute(shard: int) -> pa.Table:
        if shard == 1:
            raise RuntimeError("disk on fire")
        return pa.table({"value": [shard]})

    with pytest.raises(RuntimeError, match="disk on fire"):
        run_shards(tmp_path / "x", 3, {}, compute, "Test")
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["part-000000000.parquet"]


@pytest.mark.engine
def test_selection_is_byte_identical_for_any_number_of_processes(tmp_path: Path, tiny_model: str, pool_file: str):
    def select(folder: str, num_processes: int) -> dict[str, bytes]:
        done = launch(
            "circuitseer_trl.scripts.select_data",
            *("--dataset_name", pool_file, "--reference_model", tiny_model, "--output_dir", tmp_path / folder),
            *("--probe_size", 5, "--head_ratio", 0.25, "--budget_ratio", 0.5),
            num_processes=num_processes,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"by {num_processes} process(es)" in done.stdout
        assert "Selected 6 of 12 rows by circuitseer" in done.stdout
        assert done.stdout.count("Selected") == 1  # rank 0 alone speaks
        return {
            str(path.relative_to(tmp_path / folder)): path.read_bytes()
            for path in (tmp_path / folder).rglob("*.parquet")
        }

    one, two = select("one", 1), select("two", 2)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


@pytest.mark.engine
def test_an_error_on_one_rank_ends_them_all(tmp_path: Path):
    done = launch("tests.programs.failing_rank", tmp_path / "x", num_processes=2, timeout=120)
    assert done.returncode != 0
    assert "Another process failed. rank 1: RuntimeError: rank 1 lost its disk" in done.stderr
