"""Groups of runs: several seeds of a method behind one name."""

from pathlib import Path

import pytest

from circuitseer_trl.pages.run_groups import compare_groups, read_groups
from circuitseer_trl.scripts.main import main as circuitseer
from tests.helpers.evaluation_folders import write_run


def write_runs(folder: Path) -> None:
    for name, words in {"a0": "+-+-", "a1": "++--", "b0": "++++", "b1": "+++-", "c": "----"}.items():
        write_run(folder / name, {"quiz": list(words)})


def test_runs_of_a_group_are_paired_in_their_order(tmp_path: Path):
    write_runs(tmp_path)
    groups = read_groups([f"a={tmp_path}/a0,{tmp_path}/a1", f"b={tmp_path}/b*", f"c={tmp_path}/c"])
    found = compare_groups(groups, "a").found
    means = {each["method"]: each for each in found["means"]}
    assert (means["a"]["mean"], means["a"]["by_seed"]) == (0.5, [0.5, 0.5])
    differences = {each["method"]: each for each in found["differences"]}
    assert differences["b"]["by_seed"] == pytest.approx([0.5, 0.25])
    assert differences["c"]["by_seed"] == pytest.approx([-0.5, -0.5])  # a single run is paired with each
    assert differences["b"]["varied"] == ["seeds", "problems"]


def test_groups_of_other_sizes_are_paired_as_far_as_they_go(tmp_path: Path):
    write_runs(tmp_path)
    groups = read_groups([f"a={tmp_path}/a0,{tmp_path}/a1", f"b={tmp_path}/b0,{tmp_path}/b1,{tmp_path}/a1"])
    found = compare_groups(groups, "a").found
    [difference] = found["differences"]
    assert len(difference["by_seed"]) == 2
    assert "1 of 3 pairs of seeds do not have results of both" in str(found["not_compared"])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_runs(tmp_path)
    words = [f"a={tmp_path}/a0,{tmp_path}/a1", f"b={tmp_path}/b*"]
    page = tmp_path / "page.html"
    assert circuitseer(["report", *words, "--output", str(page)]) == 0
    said = capsys.readouterr().out
    assert "No difference to a could be shown: 2 seeds can show" in said
    assert page.read_text().count('class="s1 seed"') >= 2
    assert circuitseer(["report", *words, "--baseline", "b", "--output", str(page)]) == 0
    assert "Differences are to b" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a=x", "y"], "written NAME=FOLDER or NAME=FOLDER,FOLDER, got 'y'"),
        (["a=x", "a=y"], "The name 'a' stands twice"),
        (["b=y", "a=x,z,x/results.json"], "The group 'a' has the run"),
        (["a=none*"], "No folder fits 'none*'"),
        (["a=none"], "has no results.json"),
        (["a={}/a0", "--baseline", "z"], "`--baseline` z is not one of a"),
    ],
)
def test_mistakes(tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    write_runs(tmp_path)
    assert circuitseer(["report", *(word.format(tmp_path) for word in words)]) == 2
    assert message in capsys.readouterr().err
