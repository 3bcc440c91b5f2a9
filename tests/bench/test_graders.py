"""The benchmark of graders: its figures by hand, peers that hang, and how suites are read."""

import time
from pathlib import Path

import pytest

from bench import grader_peers
from bench.grader_cases import Case, case_sets
from bench.grader_peers import Said, ask_peer
from bench.grader_suites import JUDGEMENTS, SUITES, fetch, is_prose, judgements, read_cases
from bench.graders import ask_ours, figures

CASES = [Case("a", "1/2", r"\boxed{0.5}", True), Case("b", "2", r"\boxed{3}", False), Case("c", "2", "die", True)]
CASES += [Case("d", "2", "hang", True), Case("e", "2", r"\boxed{2}", True)]


def _one_that_dies_and_hangs() -> grader_peers.Peer:
    def grade(response: str, gold: str) -> bool:
        if response == "die":
            raise SystemExit
        if response == "hang":
            time.sleep(60)
        return "0.5" not in response

    return grade


@pytest.mark.thorough
def test_a_peer_that_hangs_or_dies_has_no_verdict_on_that_case(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(grader_peers.PEERS, "slow", ("pytest", _one_that_dies_and_hangs))
    monkeypatch.setattr(grader_peers, "START_METHOD", "fork")  # the new peer is known in this process alone
    assert ask_peer("slow", CASES, limit=0.3).verdicts == [False, True, None, None, True]


def test_figures_by_hand():
    # Accepted: b and e. Right of five: e. Of four right ones one is accepted, of one wrong one all are.
    assert figures(CASES, Said([False, True, None, None, True], 1.25)) == ["20.0", "25.0", "100.0", "2", "1.2"]


def test_ours_has_no_verdict_on_what_is_undecided():
    cases = [CASES[0], CASES[1], Case("x", "1", r"\boxed{\zzz{1}}", False)]
    assert ask_ours(cases).verdicts == [True, False, None]


def test_cases_of_the_tests():
    sets = case_sets()
    assert len(sets["blind"]) == 554 + 615
    assert len(sets["judged by hand"]) > 1000


PYTHON = """
@pytest.mark.parametrize("gold,pred,expected", [
    ("$\\\\frac{1}{2}$", "$0.5$", 1), (r"so \\boxed{2}", r"it is \\boxed{3}", 0), ("1", "I think that it is 1", 1),
    ("1", UNKNOWN, 1)
])
def test_a(gold, pred, expected): raise SystemExit("a test file is not run")

@pytest.mark.parametrize("gold,pred,precision,expected", [("1", "1.01", 1, 1)])
def test_with_an_option(gold, pred, precision, expected): ...

@pytest.mark.parametrize("output_pair", [(5, "5.001")])
def test_incorrect_examples(output_pair): ...
"""


def test_a_suite_is_read_and_not_run(tmp_path: Path):
    (tmp_path / "suite.py").write_text(PYTHON)
    (tmp_path / "suite.json").write_text('[{"target": "1", "output": "$1$", "expected": "C"}]')
    cases = read_cases(tmp_path / "suite.py")
    texts = [(case.gold, case.response, case.right) for case in cases if not is_prose(case.response)]
    assert texts == [
        (r"$\frac{1}{2}$", r"\boxed{0.5}", True),
        ("2", r"it is \boxed{3}", False),
        ("5", r"\boxed{5.001}", False),
        ("5.001", r"\boxed{5}", False),
    ]
    assert len(cases) == 5
    assert [case.response for case in read_cases(tmp_path / "suite.json")] == [r"\boxed{1}"]


def test_files_that_are_there_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("urllib.request.urlopen", None)
    suite = SUITES["nemo-skills"]
    for name in suite.files:
        (tmp_path / name).write_text("")
    fetch(suite, tmp_path)
    with pytest.raises(TypeError):
        fetch(suite, tmp_path / "elsewhere")


def test_each_judgement_says_who_is_right():
    heading, *lines = JUDGEMENTS.read_text(encoding="utf-8").splitlines()
    assert heading.split("\t") == ["suite", "case", "judgement"]
    assert {line.split("\t")[0] for line in lines} <= set(SUITES)
    assert {said.partition(":")[0] for said in judgements().values()} == {"Ours", "Theirs", "Neither", "Convention"}
