"""The report: its tables against hand-made runs, and its page in a browser."""

import json
import re
import shutil
from pathlib import Path

import pytest

from circuitseer_trl.artifacts import sealed
from circuitseer_trl.evaluation.run_folders import read_runs
from circuitseer_trl.pages.result_tables import columns_of, probability, results_rows, results_table
from circuitseer_trl.scripts.report import main
from circuitseer_trl.selection.stored_selection import read_selection
from tests.conftest import ROOT
from tests.helpers.evaluation_folders import write_run
from tests.helpers.pages import check_width, read_page

OLD_RUN = ROOT / "tests" / "data" / "run_0_1_0"
HEADS = {"importance": [[0.5, -0.1], [0.01, 0.2]], "selected": [[0, 0]], "num_probe": 4, "mode": "exact", "model": {}}
LINE = {"row": 3, "uid": "u", "score": 2.25, "num_tokens": 9, "selected": True, "problem": "What is <b> + 1?"}


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Three runs of two benchmarks, the second of which is what `circuitseer reproduce` leaves."""
    write_run(tmp_path / "first", {"x": ["+", "-", "-"], "y": [".++--", ".----"]}, {"seed": 1})
    write_run(tmp_path / "second", {"x": ["+", "+", "-"], "y": [".+++-", ".---+"]}, {"seed": 2})
    write_run(tmp_path / "third", {"x": ["-", "-", "-"], "y": [".++--", ".----"]}, {"seed": 1})
    selection = tmp_path / "second" / "selection"
    selection.mkdir()
    (selection / "heads.json").write_text(json.dumps(HEADS))
    card = {"scorer": "circuitseer", "length_correlation": 0.8125, "pool": {}}
    (selection / "scores.json").write_text(json.dumps(sealed(card)))
    (selection / "examples.json").write_text(json.dumps({"highest": [LINE], "lowest": [], "random": []}))
    steps = {"select": {"seconds": 61.5}, "train": {"seconds": 1234.0}, "evaluate": {"seconds": 20.0}}
    (tmp_path / "second" / "steps.json").write_text(json.dumps(steps))
    return [str(tmp_path / name) for name in ("first", "second", "third")]


def report(folders: list[str], output: Path, *flags: str) -> tuple[str, str]:
    """The text of the page, and its source; fails where the page is not whole or would fetch something."""
    main([*folders, "--output", str(output), *flags])
    source = output.read_text()
    return read_page(source).text, source


def test_differences_are_printed_and_on_the_page(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text, _ = report(folders, tmp_path / "page.html")
    printed = capsys.readouterr().out
    lines = {
        tuple(line.split()[:3]): line.split()[3:]
        for line in printed.splitlines()
        if line.startswith(("second", "third"))
    }
    # On x one problem of three is won; on y two samples of eight, on two problems; the average is between.
    assert lines["second", "x", "Pass@1"][0] == "+33.3"
    assert lines["second", "y", "Pass@1"][0] == "+25.0"
    assert lines["second", "y", "Pass@1"][-3:] == ["2", "0", "0.500"]
    assert lines["second", "average", "Pass@1"][0] == "+29.2"
    assert lines["second", "average", "Pass@1"][-3:] == ["3", "0", "0.250"]
    assert lines["third", "x", "Pass@1"][0] == "-33.3"
    # Two problems without a difference are no proof: 1.96 / 4.
    assert lines["third", "y", "Pass@1"] == ["+0.0", "[-49.0,", "+49.0]", "0", "0", "1.000"]
    # Votes are on y alone: on the first problem a tie is won, on the second one right answer of four loses as before.
    assert lines["second", "y", "Maj@n"][:1] + lines["second", "y", "Maj@n"][-3:] == ["+25.0", "1", "0", "1.000"]
    assert not any(key[2] == "Maj@n" and key[1] != "y" for key in lines)
    assert "second was measured with other settings than first: seed 1, here 2." in printed
    for words in ("Differences to first", "+29.2", "p 0.250", "seed 1, here 2"):
        assert words in text


def test_another_baseline(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for asked in ("third", folders[2], f"{folders[2]}/results.json"):
        text, _ = report(folders, tmp_path / "page.html", "--baseline", asked)
        assert "Difference to third" in capsys.readouterr().out
        assert "Differences to third" in text
    report(folders[:2], tmp_path / "page.html", "--baseline", folders[2])  # that is none of the runs
    assert "Difference to third" in capsys.readouterr().out
    with pytest.raises(ValueError, match="`--baseline` fourth is not one of the runs: first, second, third"):
        report(folders, tmp_path / "page.html", "--baseline", "fourth")


def test_other_problems_are_refused(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_run(tmp_path / "short", {"x": ["+", "-"], "z": ["+"]})
    text, _ = report([folders[0], str(tmp_path / "short")], tmp_path / "page.html")
    printed = capsys.readouterr().out
    assert "short is not compared with first on x: not the same problems: 2 here and 3 in the baseline" in printed
    assert "short is not compared with first on average: no difference of x, y, z." in text
    assert "percentage points" not in printed
    # Their averages are of other benchmarks, and no column of numbers to compare.
    assert re.search(r"29\.2 \[.*?\] over 2 benchmarks", printed)
    assert re.search(r"25\.0 \[.*?\] over 1 of 2 benchmarks", printed)  # of first's majority


def test_one_benchmark_has_no_average(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    _, results = write_run(tmp_path / "one", {"x": ["+", "-", "-"]})
    _, other = write_run(tmp_path / "other", {"x": ["++-", "-+-", "-+-"]})
    runs = {"one": results, "other": other}
    assert [name for name, _, _ in columns_of(runs)] == ["x Pass@1", "x Maj@2"]
    assert results_rows(runs)[0] == ["run", "x Pass@1", "x Maj@2"]
    assert [line.split()[0] for line in results_table(runs).splitlines()[2:]] == ["one", "other"]
    text, _ = report([str(tmp_path / "one"), str(tmp_path / "other")], tmp_path / "page.html")
    assert "verage" not in capsys.readouterr().out
    assert "average of" not in text
    two = {"one": results | {"benchmarks": results["benchmarks"] | {"y": results["benchmarks"]["x"]}}}
    assert [name for name, _, _ in columns_of(two)] == ["x Pass@1", "y Pass@1", "Average Pass@1"]
    # More columns than runs: the table is turned.
    assert [row[0] for row in results_rows(two)] == ["", "x Pass@1", "y Pass@1", "Average Pass@1"]
    assert results_rows(two)[1] == ["x Pass@1", "33.3 [6.1, 79.2]"]


def test_what_a_run_holds_is_found(folders: list[str], tmp_path: Path):
    text, source = report(folders, tmp_path / "page.html")
    for words in ("1 of 4 heads selected", "0.8125", "Rows with the highest scores", "What is <b> + 1?", "2.25"):
        assert words in text
    assert "Rows with the lowest scores" not in text
    assert "second 61.5 1,234.0 20.0 1,315.5 4.0 700" in text  # select, train, evaluate, together; generating
    assert "first - - - - 4.0 700" in text
    again, _ = report(folders, tmp_path / "page.html", "--selection_dir", f"{folders[1]}/selection")
    assert again == text  # each selection once
    assert source.count("<h3>") == 1


def test_rows_that_selections_share(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    report(folders, tmp_path / "page.html")
    assert "Rows that two selections share" not in capsys.readouterr().out  # only one run has a selection
    for name in ("circuitseer", "random"):
        write_run(tmp_path / name, {"x": ["+"]})
        shutil.copytree(OLD_RUN / name, tmp_path / name / "selection")
    text, _ = report([str(tmp_path / name) for name in ("circuitseer", "random")], tmp_path / "page.html")
    printed = capsys.readouterr().out
    # 5 of 16 rows each, of version 0.1.0, which drew with the seed alone: 25 / 16 by chance.
    chosen = [read_selection(OLD_RUN / name / "selection.parquet").uids for name in ("circuitseer", "random")]
    shared = len(set(chosen[0]) & set(chosen[1]))
    expected = f"circuitseer, random {shared} of 5 ({20 * shared}.0%) 1.6 (31.2%) same random numbers"
    assert expected in re.sub(" +", " ", printed)
    assert expected in text


def test_warnings_of_cards_are_on_the_page_once(folders: list[str], tmp_path: Path):
    selection = Path(folders[0]) / "selection"
    selection.mkdir()
    scores = sealed({"scorer": "m", "pool": {}})
    chosen = sealed({"method": "m", "pool": {}, "warnings": ["All heads <here>.", "Even."]})
    heads = HEADS | {"warnings": ["All heads <here>."]}
    for name, content in {"heads": heads, "scores": scores, "selection": chosen}.items():
        (selection / f"{name}.json").write_text(json.dumps(content))
    text, _ = report(folders, tmp_path / "page.html")
    assert text.count("Warning. All heads <here>.") == 1
    assert text.count("Warning. Even.") == 1


def test_whiskers_are_where_the_numbers_are(folders: list[str], tmp_path: Path):
    _, source = report(folders, tmp_path / "page.html")
    first = source[source.index("<h2>Pass@1") :]
    row = first[first.index(">first<") : first.index(">second<")]
    # One of three problems, with Wilson's interval, on an axis from 0 to 100.
    assert 'cx="33.33%"' in row
    assert 'x1="6.15%" x2="79.23%"' in row
    assert "33.3 <small>[6.1, 79.2]</small>" in row


def test_answers_and_pass_at_k(folders: list[str], tmp_path: Path):
    text, _ = report(folders[:1], tmp_path / "page.html")
    assert "first x 3 0.0 0.0 0.0 33.3 - 7" in text
    assert "first y 2 0.0 0.0 0.0 25.0 25.0 7" in text
    # y: two of four samples right on one problem, none on the other; of six pairs five hold a right one.
    assert "first y 25.0 41.7 50.0" in text
    assert "Differences" not in text


def test_small_probabilities_are_not_zero():
    assert [probability(value) for value in (1.0, 0.0014, 0.0004)] == ["1.000", "0.001", "< 0.001"]


def test_names_and_missing_results(tmp_path: Path):
    for name in ("a/run", "b/run"):
        write_run(tmp_path / name, {"x": ["+"]})
    runs, places = read_runs([tmp_path / "a" / "run", tmp_path / "b" / "run" / "results.json", tmp_path / "a" / "run"])
    assert list(runs) == ["a/run", "b/run"]
    assert places["b/run"] == (tmp_path / "b" / "run").resolve()
    with pytest.raises(FileNotFoundError, match=r"results\.json"):
        read_runs([tmp_path])


@pytest.mark.engine
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_the_screen(folders: list[str], tmp_path: Path, width: int):
    _, source = report(folders, tmp_path / "page.html")
    check_width(source, width, tmp_path)
