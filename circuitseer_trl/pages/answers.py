"""Which answers did the runs give? The data of the browser of answers: an index of problems, and parts with whole answers."""

import html
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitseer_trl.answers import Sample, SampleKey, VerdictLine, read_samples, read_verdict_lines
from circuitseer_trl.artifacts import write_text
from circuitseer_trl.drawing.formulas import formula_html, text_html
from circuitseer_trl.evaluation.result_files import read_results
from circuitseer_trl.evaluation.verdicts import ProblemVerdicts
from circuitseer_trl.terminal import visible

# The answers of a page with more bytes are in a folder beside it, and the browser loads those of a problem when it is opened.
MAX_BYTES_IN_PAGE = 5_000_000
PROBLEMS_OF_A_PART = 50
# With more answers, formulas inside them stay LaTeX: a formula takes about 1 ms. Problems and final answers always have MathML.
MAX_RENDERED_ANSWERS = 2_000
MAX_START = 160  # characters of a problem in the list
UNDECIDED, CUT = 1, 2  # flags of a run on a problem


@dataclass(frozen=True)
class RunAnswers:
    """What a run has on one benchmark: its verdicts by problem, its answers, and how it votes."""

    verdicts: Mapping[str, list[VerdictLine]]
    samples: Mapping[SampleKey, Sample]
    vote: str


def answers_section(runs: Mapping[str, Path], page: Path) -> str:
    """The browser of the runs' answers, as a section of a page.

    Args:
        runs: Folders of evaluations, by name.
        page: Where the page will be written. A large run has a folder beside it, named like it.
    """
    script, style = (Path(__file__).with_name(f"answers.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    benchmarks = read_answers(runs)
    known = [run for found in benchmarks.values() for run in found.values() if run is not None]
    num_answers = sum(len(lines) for run in known for lines in run.verdicts.values())
    if not num_answers:
        return ""
    render = text_html if num_answers <= MAX_RENDERED_ANSWERS else source_html
    index: dict[str, Any] = {"runs": [visible(name) for name in runs], "benchmarks": []}
    parts, part = list[dict[str, Any]](), dict[str, Any]()
    for benchmark, found in benchmarks.items():
        problems = []
        for name in dict.fromkeys(each for run in found.values() if run for each in run.verdicts):
            if len(part) == PROBLEMS_OF_A_PART:
                parts.append(part)
                part = {}
            lines = {run: answers.verdicts.get(name) if answers else None for run, answers in found.items()}
            part[f"{benchmark}/{name}"] = problem_entry(name, found, render)
            question = next((each[0].question for each in lines.values() if each), None) or ""
            start = " ".join(visible(question).split())[:MAX_START]
            marks = [run_mark(each, answers) for each, answers in zip(lines.values(), found.values(), strict=True)]
            problems.append([visible(name), start, len(parts), marks])
        index["benchmarks"].append({"name": visible(benchmark), "problems": problems})
    parts.append(part)
    texts = [_json(each) for each in parts]
    folder = page.with_name(f"{page.stem}_answers")
    if sum(map(len, texts)) <= MAX_BYTES_IN_PAGE:
        data = "".join(
            f'<script type="application/json" id="answers-part-{number}">{text}</script>'
            for number, text in enumerate(texts)
        )
    else:
        for number, text in enumerate(texts):
            write_text(folder / f"part-{number}.js", f"circuitseerAnswers({number}, {text});\n")
        index["folder"] = folder.name
        data = ""
    data += f'<script type="application/json" id="answers-index">{_json(index)}</script>'
    return (
        f'<section id="answers"><style>{style}</style><h2>Answers</h2><p class="note">Every answer, grouped by equal final '
        "answers. Keys: / to search, Enter to open a problem, Escape to go back.</p>"
        '<noscript><p>This part of the page needs JavaScript.</p></noscript><div id="answers-view"></div>'
        f"{data}<script>{script}</script></section>"
    )


def read_answers(runs: Mapping[str, Path]) -> dict[str, dict[str, RunAnswers | None]]:
    """By benchmark and run: None if a run does not have the benchmark, or not its answers."""
    results = {name: read_results(folder) for name, folder in runs.items()}
    found: dict[str, dict[str, RunAnswers | None]] = {}
    for benchmark in dict.fromkeys(each for result in results.values() for each in result["benchmarks"]):
        found[benchmark] = {}
        for name, folder in runs.items():
            verdicts = folder / "verdicts" / f"{benchmark}.jsonl"
            generations = folder / "generations" / f"{benchmark}.jsonl"
            if benchmark not in results[name]["benchmarks"] or not verdicts.is_file():
                found[benchmark][name] = None
                continue
            by_problem: dict[str, list[VerdictLine]] = {}
            for line in read_verdict_lines(verdicts):
                by_problem.setdefault(line.id, []).append(line)
            samples = read_samples(generations) if generations.is_file() else {}
            found[benchmark][name] = RunAnswers(by_problem, samples, results[name]["settings"].get("vote") or "classes")
    return found


def run_mark(lines: Sequence[VerdictLine] | None, answers: RunAnswers | None) -> list[float | int | None] | None:
    """Pass@1, the vote, and flags of a run on a problem; None if the run does not have it."""
    if not lines or answers is None:
        return None
    greedy = next((line.verdict for line in lines if line.greedy), None)
    sampled = sorted((line for line in lines if not line.greedy), key=lambda line: line.sample)
    classes = tuple(line.vote_class for line in sampled)
    known = bool(sampled) and any(line.vote_class is not None or line.undecided is not None for line in sampled)
    of_problem = ProblemVerdicts(greedy, tuple(line.verdict for line in sampled), classes if known else None)
    flags = UNDECIDED * any(line.undecided for line in lines)
    flags |= CUT * any(is_cut(answers.samples.get(line.key)) for line in lines)
    return [round(of_problem.pass_at_1, 4), of_problem.majority(answers.vote), flags]


def is_cut(sample: Sample | None) -> bool:
    return sample is not None and sample.finish_reason == "length"


def problem_entry(name: str, runs: Mapping[str, RunAnswers | None], render: Callable[[str], str]) -> dict[str, Any]:
    """A problem with the groups of answers of each run. All texts are HTML."""
    lines = {run: answers.verdicts.get(name, []) if answers else [] for run, answers in runs.items()}
    first = next(line for each in lines.values() for line in each)
    return {
        "question": text_html(first.question or ""),
        "reference": final_html(first.reference),
        "erratum": final_html(first.erratum),
        "runs": [list(groups(lines[run], answers.samples, render)) if answers else [] for run, answers in runs.items()],
    }


def groups(
    lines: Sequence[VerdictLine], samples: Mapping[SampleKey, Sample], render: Callable[[str], str]
) -> Iterator[dict[str, Any]]:
    """The greedy answer alone, then the sampled answers by their vote, the largest group first."""
    grouped: dict[Any, list[VerdictLine]] = {}
    for line in lines:
        key = (
            ("greedy",)
            if line.greedy
            else ("class", line.vote_class)
            if line.vote_class is not None
            else ("text", line.extracted)
        )
        grouped.setdefault(key, []).append(line)
    for key, each in sorted(grouped.items(), key=lambda item: (item[0] != ("greedy",), -len(item[1]))):
        yield {
            "greedy": key == ("greedy",),
            "extracted": final_html(each[0].extracted),
            "right": each[0].verdict,
            "undecided": bool(each[0].undecided),
            "reason": html.escape(visible(each[0].reason)),
            "answers": [answer(line, samples.get(line.key), render) for line in each],
        }


def answer(line: VerdictLine, sample: Sample | None, render: Callable[[str], str]) -> list[Any]:
    """Name, number of tokens, whether the answer was cut, and its text."""
    text = "" if sample is None else render(sample.text)
    name = "greedy" if line.greedy else f"sample {line.sample}"
    return [name, None if sample is None else sample.num_tokens, is_cut(sample), text]


def final_html(text: str | None) -> str | None:
    """A final answer or a reference, which is LaTeX without dollar signs."""
    if text is None:
        return None
    formula = formula_html(text) if any(sign in text for sign in "\\^_{") else None
    return html.escape(visible(text)) if formula is None else formula


def source_html(text: str) -> str:
    return html.escape(visible(text))


def _json(value: object) -> str:
    """JSON that can stand in a page: nothing in it ends a script."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
