"""Selections compared: figures by hand, over every kind of score, and the page."""

from pathlib import Path

import numpy as np
import pytest

from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.pages.comparison import beyond_chance, page
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scripts.main import main
from circuitseer_trl.selection.differences import SelectionFolder, compare, read_folder
from tests.helpers.method_inputs import select_rows
from tests.helpers.pages import check_width, read_page


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
    assert [row["median_length"] for row in found.rows] == [4.5, 2, 6]
    assert sorted(found.pool_lengths) == [1, 2, 3, 6]
    assert [sorted(lengths) for lengths in found.lengths] == [[3, 6], [1, 2, 3], [6]]
    assert found.rows[0]["seconds_per_1000"] == 500
    # Of the half of the pool that chance leaves, all; of the quarter, none: 1/2 is 1/4 less than chance.
    beyond = beyond_chance(found)
    assert beyond[0, 0] == 1
    assert beyond[0, 1] == pytest.approx(-1)
    assert beyond[1, 2] == pytest.approx(-3)
    assert found.categories["odd"] == [0.5, 0.5, pytest.approx(1 / 3), 1]


def test_what_cannot_be_compared_is_refused(tmp_path: Path):
    one = folder("one", "a", {})
    with pytest.raises(ValueError, match="at least two selections, got 1"):
        compare([one])
    with pytest.raises(ValueError, match="Write NAME=FOLDER"):
        compare([one, one])
    with pytest.raises(ValueError, match=r"2 different pools.*differ in `category_column`.*Select again"):
        compare([one, folder("two", "a", {}, pool="q")])
    with pytest.raises(ValueError, match=r"2 different pools.*Give selections of one pool"):
        compare([one, folder("two", "a", {"e": 1.0}, pool="q")])
    with pytest.raises(
        FileNotFoundError, match=r"There is no .*selection.parquet. `circuitseer select-data` writes it"
    ):
        read_folder(tmp_path)


@pytest.mark.thorough
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
    assert printed.count("max_loss") >= 4
    text = output.read_text()
    parsed = read_page(text)
    for heading in ("Lengths of the chosen rows", "Rank correlation of scores", "Share of each category", "Cost"):
        assert f"<h2>{heading}" in text
    # A row each for lengths and cost of four selections and for three categories, and the three scales below them.
    assert parsed.count("svg") == 4 + 4 + 3 + 3
    assert "by &lt;chance&gt;" in text


@pytest.mark.engine
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_the_screen(tmp_path: Path, width: int):
    rising = folder("a selection with a long name", "cd", {"a": 1, "b": 2, "c": 3, "d": 4})
    others = [folder(f"selection-number-{number}", "abc", {"a": 9, "b": 8, "c": 7}) for number in range(9)]
    check_width(page(compare([rising, *others])), width, tmp_path)
