"""`circuitseer export`: the files of runs, and what it refuses."""

import csv
import json
from pathlib import Path

import pytest

from circuitseer_trl.scripts.main import main
from tests.helpers.evaluation_folders import write_run
from tests.pages.test_report import HEADS, LINE


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two runs, the second with the heads of its selection."""
    write_run(tmp_path / "first", {"x": ["+", "-", "-"], "y": [".++--", ".----"]})
    write_run(tmp_path / "second", {"x": ["+", "+", "-"], "y": [".+++-", ".---+"]})
    selection = tmp_path / "second" / "selection"
    selection.mkdir()
    (selection / "heads.json").write_text(json.dumps(HEADS))
    (selection / "examples.json").write_text(json.dumps({"highest": [LINE], "lowest": [], "random": []}))
    return [str(tmp_path / name) for name in ("first", "second")]


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_the_files_of_runs(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("matplotlib")
    assert main(["export", *runs, "--output_dir", str(tmp_path / "files")]) == 0
    names = {path.name for path in (tmp_path / "files").iterdir()}
    assert f"{len(names)} files of " in capsys.readouterr().out
    figures, tables = (
        ("pass-at-1", "differences", "heads-second"),
        ("results", "differences-table", "rows-highest-second"),
    )
    assert {f"{name}.{form}" for name in figures for form in ("csv", "svg", "png")} <= names
    assert {f"{name}.{form}" for name in tables for form in ("csv", "md", "tex")} <= names
    # One of three problems is right, then two. On y, two of eight samples, then four; votes are on y alone.
    results = {line[""]: line for line in read(tmp_path / "files" / "results.csv")}
    assert float(results["x Pass@1"]["second"]) == pytest.approx(2 / 3)
    assert [float(results["y Pass@1"][run]) for run in ("first", "second")] == [0.25, 0.5]
    assert results["x Pass@1"]["first, as text"] == "33.3 [6.1, 79.2]"
    heads = read(tmp_path / "files" / "heads-second.csv")
    assert [(line["layer"], line["head"], line["nats per token"]) for line in heads][1] == ("0", "1", "-0.1")
    [differences] = [line for line in read(tmp_path / "files" / "differences.csv") if line["group"] == "average"]
    assert float(differences["mean"]) == pytest.approx(100 * (1 / 3 + 1 / 4) / 2)


def test_tables_need_no_extra(runs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("circuitseer_trl.extras.find_spec", lambda name: None)
    assert main(["export", runs[0], "--formats", "md", "md"]) == 0
    assert {path.suffix for path in (Path(runs[0]) / "export").iterdir()} == {".md"}
    assert main(["export", runs[0]]) == 2
    assert "circuitseer-trl[plots]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("export nowhere", "There is no folder nowhere. `circuitseer study` and `circuitseer evaluate` write one."),
        ("export .", "has no results.json. `circuitseer evaluate"),
        ("export . --formats pdf", "`formats` must be among csv, md, tex, svg, png, got pdf."),
        ("export . --format csv", "Did you mean `formats`?"),
    ],
)
def test_a_mistake_is_one_line(words: str, message: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []
