"""The browser of answers: what it holds, and how it is used in a real browser."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from circuitseer_trl.answers import Sample, VerdictLine, sample_line, verdict_text
from circuitseer_trl.artifacts import write_json
from circuitseer_trl.drawing.html_pages import html_page
from circuitseer_trl.evaluation.results import measure_average, measure_benchmark
from circuitseer_trl.pages import answers
from circuitseer_trl.pages.answers import answers_section
from tests.helpers.browser import opened

HOSTILE = '</script><img src=x onerror="window.harmed = 1"><script>window.harmed = 1</script> \u202e $x^2$'


def write_run(folder: Path, right: dict[str, bool], samples: tuple[tuple[str, bool, int | None], ...] = ()) -> Path:
    """An evaluation with a greedy answer for each problem, and the same sampled answers for each: text, verdict, class."""
    lines, texts = [], []
    for problem, verdict in right.items():
        question = f"Question {problem}: {HOSTILE if problem == 'p1' else 'what is $x$?'}"
        line = VerdictLine(
            **{"id": problem, "greedy": True, "extracted": "\\frac{1}{2}" if verdict else HOSTILE, "verdict": verdict},
            **{"reason": "value", "undecided": problem == "p3", "question": question, "reference": "\\frac{1}{2}"},
        )
        lines.append(line)
        texts.append(Sample(problem, True, 0, f"It is \\boxed{{\\frac{{1}}{{2}}}}. {HOSTILE}", 12, "stop"))
        for number, (text, sampled, vote) in enumerate(samples):
            lines.append(replace(line, greedy=False, sample=number, extracted=text, verdict=sampled, vote_class=vote))
            texts.append(Sample(problem, False, number, f"I say {text}", 5, "length" if text == "9" else "stop"))
    for name in ("verdicts", "generations"):
        (folder / name).mkdir(parents=True)
    (folder / "verdicts" / "quiz.jsonl").write_text(verdict_text(lines), encoding="utf-8")
    (folder / "generations" / "quiz.jsonl").write_bytes(b"".join(map(sample_line, texts)))
    result = measure_benchmark(lines, {each.key: each for each in texts}, vote="classes")
    measured = {"quiz": result | {"seconds": 2.0, "tokens_per_second": 700.0}}
    results = {"model": "m", "settings": {"vote": "classes"}, "average": measure_average(measured)}
    for name in ("pass_at_1_values", "majority_values"):
        del measured["quiz"][name]
    write_json(folder / "results.json", results | {"benchmarks": measured})
    return folder


CHOOSE = """window.choose = (name) => {
const filter = document.getElementById("answers-filter");
filter.value = name;
filter.dispatchEvent(new Event("change"));
}; 0"""
A = {"p0": True, "p1": True, "p2": False, "p3": False, "p4": True}
B = {"p0": True, "p1": False, "p2": True, "p3": False, "p4": False}


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    samples = (("7", False, 0), ("9", False, 1), ("7", False, 0), ("\\frac{1}{2}", True, 2))
    return {"first": write_run(tmp_path / "a", A, samples), "second": write_run(tmp_path / "b", B)}


def write_page(folder: Path, runs: dict[str, Path]) -> Path:
    page = folder / "page.html"
    page.write_text(html_page("Answers", answers_section(runs, page)), encoding="utf-8")
    return page


def index_of(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="answers-index">(.*?)</script>', page.read_text("utf-8"))
    assert found
    return json.loads(found[1])


def test_the_index_has_pass_at_1_the_vote_and_flags(tmp_path: Path, runs: dict[str, Path]):
    [benchmark] = index_of(write_page(tmp_path, runs))["benchmarks"]
    marks = {problem: marks for problem, _, _, marks in benchmark["problems"]}
    # Two samples of four say 7, which is wrong; one was cut at the limit (2); p3 is undecided (1).
    assert marks["p0"] == [[1.0, 0.0, 2], [1.0, None, 0]]
    assert marks["p3"] == [[0.0, 0.0, 3], [0.0, None, 1]]


def test_a_run_without_the_benchmark_has_no_mark(tmp_path: Path, runs: dict[str, Path]):
    write_run(tmp_path / "c", {"p0": True})
    runs["third"] = tmp_path / "c"
    marks = {
        problem: marks for problem, _, _, marks in index_of(write_page(tmp_path, runs))["benchmarks"][0]["problems"]
    }
    assert marks["p0"][2] == [1.0, None, 0]
    assert marks["p1"][2] is None


@pytest.mark.engine
@pytest.mark.parametrize("beside", [False, True], ids=["in the page", "in a folder beside it"])
def test_in_a_browser(tmp_path: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, beside: bool):
    if beside:
        monkeypatch.setattr(answers, "MAX_BYTES_IN_PAGE", 0)
        monkeypatch.setattr(answers, "PROBLEMS_OF_A_PART", 2)
    page = write_page(tmp_path, runs)
    parts = sorted(path.name for path in tmp_path.glob("page_answers/*"))
    assert parts == (["part-0.js", "part-1.js", "part-2.js"] if beside else [])
    allowed = [f"request: {(tmp_path / 'page_answers' / name).as_uri()}" for name in parts]

    with opened(page, allowed=allowed) as tab:

        def listed() -> list[str]:
            return tab.evaluate("[...document.querySelectorAll('#answers-list a')].map(each => each.textContent)")

        tab.evaluate(CHOOSE)
        assert listed() == list(A)
        expected = {
            "a_b": [name for name in A if A[name] and not B[name]],
            "b_a": [name for name in A if B[name] and not A[name]],
            "both_wrong": [name for name in A if not B[name] and not A[name]],
            "undecided": ["p3"],
            "cut": list(A),
        }
        for name, problems in expected.items():
            tab.evaluate(f"choose('{name}')")
            assert listed() == problems, name
        tab.evaluate("location.hash = '#answers/quiz/p1'")
        tab.evaluate("new Promise(go => setTimeout(go, 300))")
        text = tab.evaluate("document.getElementById('answers').innerText")
        assert "quiz, p1" in text
        assert re.search(r"2 samples: 7 . wrong", text), text
        groups = tab.evaluate("[...document.querySelectorAll('.group strong')].map(each => each.textContent)")
        assert groups == ["greedy answer", "2 samples", "1 sample", "1 sample", "greedy answer"]
        assert tab.evaluate("document.querySelectorAll('#answers-view math').length") >= 4
        assert tab.evaluate("[window.harmed === undefined, document.querySelectorAll('#answers-view img').length]") == [
            True,
            0,
        ]
        tab.press("Escape")
        tab.evaluate("new Promise(go => setTimeout(go, 100))")
        assert listed()
        tab.press("/")
        assert tab.focused() == "input Search in problems"
        tab.type("p2")
        tab.evaluate("new Promise(go => setTimeout(go, 100))")
        tab.evaluate(
            "(s => { s.value = 'all'; s.dispatchEvent(new Event('change')); })(document.getElementById('answers-filter'))"
        )
        assert listed() == ["p2"]


def test_a_missing_part_is_named(tmp_path: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answers, "MAX_BYTES_IN_PAGE", 0)
    page = write_page(tmp_path, runs)
    [part] = (tmp_path / "page_answers").iterdir()
    part.unlink()
    lost = f"request: {part.as_uri()}"
    with opened(page, allowed=[lost, "log: Failed to load resource: net::ERR_FILE_NOT_FOUND"]) as tab:
        tab.evaluate("location.hash = '#answers/quiz/p0'")
        tab.evaluate("new Promise(go => setTimeout(go, 300))")
        assert "page_answers/part-0.js is missing" in tab.evaluate("document.getElementById('answers').innerText")
