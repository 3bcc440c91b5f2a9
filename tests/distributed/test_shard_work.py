"""What computes a shard can go to another process: as a small pickle, and with the same bytes."""

import pickle
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.distributed.executors import Ranks, ShardWork, using
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.selection.steps import SelectionSteps


@dataclass
class Travelling(Ranks):
    """Has the ranks do work that went through a pickle."""

    sizes: dict[str, int] = field(default_factory=dict)

    def run(self, work: ShardWork) -> None:
        content = pickle.dumps(work)
        self.sizes[work.folder.folder.name] = len(content)
        super().run(pickle.loads(content))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


@pytest.mark.parametrize(
    ("settings", "folders"),
    [
        (
            {"method": "circuitseer", "head_ratio": 0.25, "budget_tokens": 60},
            {"tokens", "losses", "importance", "scores"},
        ),
        ({"method": "circuitseer", "head_detection": "race"}, {"losses", "reach", "round-0", "scores"}),
        ({"method": "hes", "noise_filter_ratio": 0.2}, {"token_statistics", "losses", "scores"}),
    ],
    ids=["heads and tokens", "race", "token statistics"],
)
def test_work_that_was_pickled_gives_the_same_bytes(
    tmp_path: Path, tiny_model: str, pool_file: str, settings: dict, folders: set[str]
):
    def select(folder: Path) -> dict[str, bytes]:
        config = SelectionConfig(str(folder), reference_model=tiny_model, probe_size=5, **settings)
        SelectionSteps.from_config(config, ChatSettings("Think.")).select(load_pool(pool_file))
        return files(folder)

    travelling = Travelling()
    with using(travelling):
        found = select(tmp_path / "pickled")
    assert found == select(tmp_path / "plain")
    assert travelling.sizes.keys() >= folders
    assert max(travelling.sizes.values()) < 20_000, "a model or a table is in the pickle"


def test_a_process_loads_the_model_of_its_work_once(tiny_model: str):
    content = pickle.dumps([Reference(tiny_model), Reference(tiny_model, max_length=99)])
    first, other = pickle.loads(content)
    again = pickle.loads(content)[0]
    assert again is first
    assert again.model() is first.model() is not other.model()
