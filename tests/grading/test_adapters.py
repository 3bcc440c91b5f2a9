"""The grader as a reward function: with the real TRL, by verl's signature, and in an event loop."""

import asyncio
import importlib
import logging
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from circuitseer_trl.grading import agrade, grade
from circuitseer_trl.grading.adapters.answer_texts import answer_in, last_message
from circuitseer_trl.grading.adapters.lm_eval_task import process_results
from circuitseer_trl.grading.adapters.trl_reward import math_reward
from circuitseer_trl.grading.adapters.verl_score import compute_score
from circuitseer_trl.grading.grader import Question, Verdict
from circuitseer_trl.grading.shared import shared_grader

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"


def example(heading: str, language: str = "python") -> str:
    """The first example under a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return section.split(f"```{language}\n")[1].split("```")[0]


def test_which_text_is_the_answer():
    assert answer_in("5") == "5"
    assert answer_in(5) == "5"
    assert answer_in(r"so \boxed{5}.") == "5"
    assert answer_in(r"so \boxed{5") == ""
    assert answer_in(None) == ""
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [{"type": "text", "text": "b"}]}]
    assert [last_message("c"), last_message(talk), last_message(talk, "user"), last_message([])] == ["c", "b", "a", ""]


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        ("0", True),
        ("x = 5", True),
        ("[1, 2)", True),
        (r"(-\infty, 0) \cup \{1\}", True),
        (r"\text{no solution}", True),
        (r"\sum_{k=1}^{10} k", True),
        ("", False),
        (r"\boxedd{", False),
        (r"\frac{1}{", False),
        ("#### 5", False),
        ("9^{9^{9^9}}", False),
        ("x" * 3000, False),
    ],
)
def test_readable_references(gold: str, expected: bool):
    assert shared_grader().readable([Question(gold)]) == [expected]


def test_rewards_of_texts_and_messages():
    responses = [r"so \boxed{\frac12}", r"so \boxed{0.4}", "no box", r"so \boxed{7}", r"so \boxed{7}"]
    solutions: list[object] = ["0.5", r"Halve it: $\boxed{0.5}$", "0.5", r"\frac{7}{", None]
    expected = [1.0, 0.0, 0.0, None, None]
    assert math_reward(responses, solutions) == expected
    messages = [[{"role": "assistant", "content": text}] for text in responses]
    prompts = [[{"role": "system", "content": "Solve."}, {"role": "user", "content": "Halve it."}]] * 5
    assert math_reward(messages, solutions, prompts=prompts, level=["1"] * 5, trainer_state=None) == expected
    # The question counts: it asks for a percentage, and for an order.
    assert math_reward([r"\boxed{50}"], [r"50\%"], prompts=["What percentage is it?"]) == [1.0]
    assert math_reward([r"\boxed{3, 5}"], ["5, 3"], prompts=["The mean is ____ and the mode is ____."]) == [0.0]


@pytest.mark.engine
def test_a_step_of_grpo(tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import datasets
    import trl

    rows = {
        "prompt": [[{"role": "user", "content": "What is 2 + 2?"}], [{"role": "user", "content": "Halve 18."}]],
        "solution": ["4", r"\frac{"],
        "level": ["1", "2"],
    }
    settings = {"max_steps": 1, "per_device_train_batch_size": 4, "num_generations": 2, "max_completion_length": 8}
    settings |= {"use_cpu": True, "bf16": False, "report_to": [], "logging_steps": 1, "save_strategy": "no"}
    config = trl.GRPOConfig
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_dict(rows))
    monkeypatch.setattr(trl, "GRPOConfig", lambda output_dir: config(output_dir=str(tmp_path), **settings))
    code = example("TRL").replace("Qwen/Qwen3-0.6B", tiny_model)
    # What a random model writes has no box; with one, half of the readable rows are right.
    written = iter([r"\boxed{4}", r"\boxed{5}"] * 4)
    seen: list[list[float | None]] = []

    def reward(completions: list[Any], solution: list[object], **columns: object) -> list[float | None]:
        texts = [[{"role": "assistant", "content": next(written)}] for _ in completions]
        seen.append(math_reward(texts, solution, **columns))  # type: ignore[arg-type]
        return seen[-1]

    module = importlib.import_module("circuitseer_trl.grading.adapters.trl_reward")
    monkeypatch.setattr(module, "math_reward", reward)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/frameworks.md", "exec"), names)
    assert [sorted(map(str, rewards)) for rewards in seen] == [["0.0", "1.0", "None", "None"]]
    log = next(line for line in names["trainer"].state.log_history if "reward" in line)
    assert log["reward"] == pytest.approx(0.5)  # the rows without a readable reference are left out
    assert log["rewards/reward/mean"] == pytest.approx(0.5)


def test_verl_score(caplog: pytest.LogCaptureFixture):
    names: dict[str, Any] = {}
    exec(compile(example("verl"), "docs/frameworks.md", "exec"), names)
    assert names["score"] == 1.0
    # As its reward managers call it: by keywords, newer ones with more of them.
    blanks = {"question": "The mean is ____ and the mode is ____.", "index": 3}
    call = {"data_source": "math", "ground_truth": "5, 3", "extra_info": blanks, "reward_router_address": None}
    assert compute_score(solution_str=r"\boxed{3, 5}", **call) == 0.0  # type: ignore[arg-type]
    assert compute_score(solution_str=r"\boxed{5, 3}", **call) == 1.0  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        assert [compute_score("math", r"\boxed{1}", r"\frac{1") for _ in range(3)] == [0.0] * 3
    assert len(caplog.records) == 1
    assert r"'\\frac{1'" in caplog.text


def test_results_for_the_harness():
    row = {"problem": "Halve one.", "answer": "0.5"}
    assert process_results(row, [r"\boxed{\frac12}"]) == {"exact_match": 1.0, "undecided": 0.0}
    assert process_results(row, [r"\boxed{\foo{1}}"]) == {"exact_match": 0.0, "undecided": 1.0}
    assert process_results({"question": "?", "solution": r"\frac{"}, [r"\boxed{1}"]) == {
        "exact_match": 0.0,
        "undecided": 1.0,
    }


def test_an_event_loop_goes_on_while_answers_are_graded():
    pairs = [(rf"so \boxed{{{number}}}", str(number + number % 2)) for number in range(40)]
    slow = (r"\boxed{\sum_{k=1}^{100} \frac{1}{k^3}}", "1")  # more than a tenth of a second
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.001)

    async def main() -> list[Verdict]:
        ticking = asyncio.create_task(tick())
        verdicts = await asyncio.gather(*[agrade(*pair) for pair in [slow, *pairs]])
        ticking.cancel()
        return verdicts

    grade("1", "1")  # the processes have started
    first, *others = asyncio.run(main())
    assert [verdict.correct for verdict in others] == [number % 2 == 0 for number in range(40)]
    assert not first.correct
    assert first.seconds > 0.02
    assert len(ticks) > 10  # while one thread waits; a loop that is blocked ticks once or twice

    names: dict[str, Any] = {}
    exec(compile(example("In an event loop"), "docs/frameworks.md", "exec"), names)
    assert [verdict.correct for verdict in names["verdicts"]] == [True, False]


def test_every_adapter_has_its_section_and_imports_no_framework():
    page = PAGE.read_text(encoding="utf-8")
    for path in (PAGE.parents[1] / "circuitseer_trl" / "grading" / "adapters").glob("*.py"):
        outside = re.findall(
            r"^(?:from|import) (?!circuitseer_trl)(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert set(outside) <= sys.stdlib_module_names
        assert path.stem in ("__init__", "answer_texts") or f"adapters.{path.stem} import" in page
