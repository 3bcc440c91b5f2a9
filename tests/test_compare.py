"""Selections compared: figures by hand, over every kind of score, and the page."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.data import load_pool
from circuitseer_trl.scripts.main import main
from circuitseer_trl.selection.comparison import SelectionFolder, compare, read_folder
from circuitseer_trl.selection.selector import select_rows


def folder(name: str, chosen: str, scores: dict[str, float], pool: str = "p") -> SelectionFolder:
    categories = {"odd": {"pool": 2, "selected": 1}, "even": {"pool": 2, "selected": 1}}
    card = {"method": "m", "pool": {"fingerprint": pool, "num_usable": 4}, "categories": categories}
    return SelectionFolder(name, card, frozenset(chosen), scores, dict(zip("abcd", [1, 2, 3, 6], strict=True)), 2.0)


def test_figures_by_hand():
    rising = folder("rising", "cd", {"a": 1, "b": 2, "c": 3, "d": 4})
    falling = folder("falling", "abc", {"a": 9, "b": 8, "c": 7})
    constant = folder("constant", "d", dict.fromkeys("abcd", 1.0))
    found = compare([rising, falling, constant])
    assert found.overlap.tolist() == [[1, 1 / 2, 1], [1 / 2, 1, 0], [1, 0, 1]]
    assert found.chance.tolist() == [[0.5, 0.75, 0.5], [0.75, 0.75, 0.75], [0.5, 0.75, 0.25]]
    assert found.correlation[0, 1] == pytest.approx(-1)
    assert np.isnan(found.correlation[:, 2]).all()
    assert [row["mean_length"] for row in found.rows] == [4.5, 2, 6]
    assert found.pool_length == 3
    assert found.rows[0]["seconds_per_1000"] == 500
    assert found.categories["odd"] == [0.5, 0.5, pytest.approx(1 / 3), 1]


def test_what_cannot_be_compared_is_refused(tmp_path: Path):
    one = folder("one", "a", {})
    with pytest.raises(ValueError, match="at least two selections, got 1"):
        compare([one])
    with pytest.raises(ValueError, match="Write NAME=FOLDER"):
        compare([one, one])
    with pytest.raises(ValueError, match="2 different pools"):
        compare([one, folder("two", "a", {}, pool="q")])
    with pytest.raises(FileNotFoundError, match=r"There is no selection.json in .*select_data` writes it"):
        read_folder(tmp_path)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_the_command_compares_folders(
    tmp_path: Path, tiny_model: str, pool_file: str, capsys: pytest.CaptureFixture[str]
):
    pool = load_pool(pool_file, category_column="topic")
    for method in ("max_loss", "ifd", "random", "longest"):
        settings = SelectionConfig(
            output_dir=str(tmp_path / method), method=method, reference_model=tiny_model, budget_size=3
        )
        select_rows(settings, "Think.", pool)
    (tmp_path / "run").mkdir()
    (tmp_path / "random").rename(tmp_path / "run" / "selection")
    output = tmp_path / "page.html"
    words = [str(tmp_path / "max_loss"), str(tmp_path / "ifd"), f"by <chance>={tmp_path / 'run'}"]
    assert main(["compare", *words, str(tmp_path / "longest"), "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    for text in ("Rank correlation of scores", "by <chance>", "Share of each category", "mean tokens (max_loss)"):
        assert text in printed
    tags = Tags()
    tags.feed(output.read_text())
    assert tags.seen.count("svg") == 3
    assert not {"script", "link", "img"} & set(tags.seen)
    assert not {"src", "href"} & set(tags.attributes)
    assert "by &lt;chance&gt;" in output.read_text()
