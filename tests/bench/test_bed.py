"""The bed: the truth about its rows, matched controls, trainings as TRL's, and rows that a kill does not change."""

import json
import re
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from trl import SFTConfig, SFTTrainer

from bench.bed.choosing import Candidates, matched_order, order_by
from bench.bed.plan import Plan, read_plan
from bench.bed.run import Replicate, base_reference, read_rows, rows_file, run_plan, run_unit
from bench.bed.training import Settings, train, training_row
from bench.bed.world import KINDS, make_world
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.demo.word_problems import split_of
from circuitseer_trl.pool.chat import conversation
from circuitseer_trl.scoring.combination import Combination
from circuitseer_trl.selection.parts import make_parts
from tests.conftest import ROOT

SMALL = {"pool_size": 120, "num_problems": 12, "num_targets": 12}


def evaluated(solution: str) -> bool:
    """Whether each step of a solution is arithmetic that holds, and starts from the result of the step before it."""
    *lines, _ = solution.split("\n")
    steps = [re.fullmatch(r"(\d+)([-+*/])(\d+)=(\d+)", line).groups() for line in lines]
    results = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a // b}
    right = all(results[sign](int(a), int(b)) == int(result) for a, sign, b, result in steps)
    return right and all(before[3] == after[0] for before, after in pairwise(steps))


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_about_the_rows(kind: str):
    world, again = make_world(kind, 3, **SMALL), make_world(kind, 3, **SMALL)
    assert world == again
    assert {split_of(row["problem"]) for row in world.rows} == {"pool"}
    assert {split_of(str(row["problem"])) for row in world.test} == {"benchmark"}
    of = KINDS[kind]
    for column, value, share in (("solution_is", "wrong", of.wrong), ("is_padded", True, of.padded)):
        assert sum(row[column] == value for row in world.rows) == round(share * 120)
    copies = [row for row in world.rows if row["copy_of"]]
    assert len(copies) == round(of.copies * 120)
    originals = {row["origin"]: row for row in world.rows if not row["copy_of"]}
    for row in world.rows:
        assert evaluated(row["solution"])
        assert row["solution"].count("\n") == row["num_steps"] or row["solution_is"] == "wrong"
        numbers = re.findall(r"\d+", row["problem"])
        original = originals[row["copy_of"] or row["origin"]]
        assert row["num_steps"] == original["num_steps"]
        if not (row["is_padded"] or original["is_padded"]):
            assert numbers == re.findall(r"\d+", original["problem"])
            assert (row["problem"] == original["problem"]) == (row is original)


def test_pools_of_other_replicates_are_other_pools():
    problems = [{row["problem"] for row in make_world("clean", number, **SMALL).rows} for number in (0, 1)]
    assert not problems[0] & problems[1]


def test_matched_rows_are_of_the_nearest_values():
    values = np.array([1, 1, 1, 5, 5, 9, 10])
    order = matched_order(np.array([0, 3, 6]), values, np.random.default_rng(0))
    assert sorted(order) == list(range(7))
    assert sorted(values[order[:3]]) == [1, 5, 10]
    assert sorted(values[order[3:6]]) == [1, 5, 9]
    # Two rows are wanted where the pool has one: the next nearest follows.
    order = matched_order(np.array([5, 6]), np.array([1, 1, 1, 1, 1, 9, 9]), np.random.default_rng(0))
    assert sorted(order[:2]) == [5, 6]
    firsts = {int(matched_order(np.array([0]), values, np.random.default_rng(seed))[0]) for seed in range(20)}
    assert firsts == {0, 1, 2}  # equally near rows are drawn at random


def test_training_is_that_of_trl(tmp_path: Path):
    reference = base_reference("demo")
    pool = make_world("clean", 0, pool_size=40, num_problems=6).pool()
    rows = [training_row(reference.tokenizer, example.problem, example.completion) for example in pool]
    ours = deepcopy(reference.model()).requires_grad_(True)
    losses = train(ours, rows, [range(16), range(16, 32), range(32, 40)], Settings(num_epochs=1))
    args = SFTConfig(
        output_dir=str(tmp_path),
        learning_rate=5e-4,
        num_train_epochs=1,
        per_device_train_batch_size=16,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        train_sampling_strategy="sequential",
        activation_checkpointing=False,
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        report_to="none",
        logging_steps=1,
    )
    trainer = SFTTrainer(
        model=deepcopy(reference.model()).requires_grad_(True),
        args=args,
        train_dataset=datasets.Dataset.from_list([conversation(each.problem, each.completion, "") for each in pool]),
        processing_class=reference.tokenizer,
    )
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses == pytest.approx(logged, abs=1e-5)
    theirs, before = dict(trainer.model.named_parameters()), dict(reference.model().named_parameters())
    for name, weight in ours.named_parameters():
        moved = (weight - before[name]).abs().max().item()
        # Adam scales a gradient that is only rounding to a step: some tokens are in no row.
        tolerance = 0.3 * moved if "embed" in name else 0.05 * moved
        assert moved > 1e-4
        assert (weight - theirs[name]).abs().max().item() < tolerance
        assert (weight - theirs[name]).abs().mean().item() < 1e-3 * moved


@dataclass
class SteeredByDifficulty(Combination):
    """Scores rows by the difficulty that it is given."""

    def combine(self, table: pa.Table, difficulty: np.ndarray | None) -> np.ndarray:
        assert difficulty is None, "the truth about the rows"
        return table["score"].to_numpy()


def test_no_method_sees_the_true_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parts = make_parts(SelectionConfig(output_dir="x", method="longest"))
    monkeypatch.setattr("bench.bed.choosing.make_parts", lambda _: replace(parts, combination=SteeredByDifficulty()))
    pool = make_world("clean", 0, **SMALL).pool()
    candidates = Candidates(pool, *[np.arange(len(pool))] * 3)
    found = order_by({"name": "x", "method": "longest"}, candidates, base_reference("demo"), {}, 0, tmp_path)
    assert found.scores is not None


PLAN = {
    "num_replicates": 1,
    "probe_rows": 9,
    "settings": {"num_epochs": 1},
    "budgets": [{"rows": 3}, {"tokens": 300}],
    "methods": [
        {"name": "random", "method": "random"},
        {"name": "contrast", "method": "circuitseer", "sampling": "top_k", "heads": "contrast"},
        {"name": "steps", "matched": {"to": "contrast", "by": "steps"}},
        {"name": "true steps", "truth": "steps"},
        {"name": "filtered", "method": "longest", "noise_filter_ratio": 0.4},
    ],
}


def write_plan(folder: Path, **changes: object) -> Plan:
    (folder / "small.yaml").write_text(yaml.safe_dump(PLAN | changes))
    return read_plan(folder / "small.yaml")


def without_seconds(path: Path) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_rows(path)]


def test_rows_are_the_same_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.bed.run.make_world", lambda kind, number: make_world(kind, number, **SMALL))
    threads = torch.get_num_threads()
    plan, lines = write_plan(tmp_path), list[str]()
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    run_unit(plan, "demo", "clean", 0, tmp_path / "whole", tmp_path / "scratch", lines.append)
    file = rows_file(tmp_path / "whole", "demo", "clean", 0)
    rows = read_rows(file)
    assert len(rows) == len(lines) == 10
    assert [(row["method"], row["budget"], row["status"]) for row in rows[2:7]] == [
        ("steps", "rows:3", "ok"),
        ("true steps", "rows:3", "ok"),
        ("filtered", "rows:3", "ok"),
        ("random", "tokens:300", "ok"),
        ("contrast", "tokens:300", "ok"),
    ]
    assert [row["num_rows"] for row in rows[:5]] == [3] * 5
    assert all(row["training_tokens"] <= 300 for row in rows[5:])
    assert rows[1]["mean_steps"] == rows[2]["mean_steps"]
    assert rows[3]["mean_steps"] == 6  # the pool has more than three problems of six steps
    assert rows[3]["rho"]["steps"] == pytest.approx(1)
    assert all(len(row["exact_by_steps"]) == 6 and 0 < row["loss"] < 2 for row in rows)
    assert np.mean(rows[0]["loss_by_steps"]) == pytest.approx(rows[0]["loss"])  # as many problems of each number

    killed = rows_file(tmp_path / "killed", "demo", "clean", 0)
    whole = file.read_text().splitlines(keepends=True)
    killed.write_text("".join(whole[:4]) + whole[4][:50])  # a kill in the middle of a line
    run_unit(plan, "demo", "clean", 0, tmp_path / "killed", tmp_path / "scratch2", lines.append)
    assert len(lines) == 16
    assert without_seconds(killed) == without_seconds(file)
    torch.set_num_threads(threads)


def test_rows_that_a_method_starts_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.bed.run.make_world", lambda kind, number: make_world(kind, number, **SMALL))
    to_targets = {"method": "gradient_similarity", "method_args": {"queries": "targets.jsonl"}}
    methods = [
        {"name": "random", "method": "random"},
        {"name": "targets", "starts_with": "targets"},
        {"name": "targets + random", "starts_with": "targets", "method": "random"},
        {"name": "gradients", **to_targets},
    ]
    plan = write_plan(tmp_path, methods=methods)
    replicate = Replicate(plan, "demo", "clean", 0, tmp_path, tmp_path / "scratch")
    alone, both = (replicate.chosen(name, {"rows": 20}) for name in ("targets", "targets + random"))
    assert alone.tolist() == both[:12].tolist() == list(range(120, 132))
    assert both[12:].tolist() == replicate.chosen("random", {"rows": 8}).tolist()
    texts = [{row["problem"] for row in rows} for rows in (replicate.world.rows, replicate.world.test)]
    targets = {row["problem"] for row in replicate.truth[120:]}
    assert len(targets) == 12
    assert not targets & (texts[0] | texts[1])
    row = replicate.row("targets + random", {"rows": 20})
    assert (row["num_rows"], row["right_ratio"], row["distinct_ratio"]) == (20, 1.0, 1.0)
    assert len(set(replicate.chosen("gradients", {"rows": 5}))) == 5
    assert replicate.correlations("gradients")["steps"] is not None


def test_rows_are_chosen_before_their_solutions_are_bought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.bed.run.make_world", lambda kind, number: make_world(kind, number, **SMALL))
    methods = [
        {"name": "random", "method": "random"},
        {"name": "contrast", "method": "circuitseer", "sampling": "top_k", "heads": "contrast", "starts_with": "probe"},
        {"name": "alike", "starts_with": "probe", "matched": {"to": "contrast", "by": "problem_length"}},
        {"name": "longest solution", "method": "trace_length", "sampling": "top_k"},
    ]
    plan = write_plan(tmp_path, methods=methods, before_solutions=True)
    replicate = Replicate(plan, "demo", "clean", 0, tmp_path, tmp_path / "scratch")
    bought = replicate.starts["probe"].tolist()
    found = json.loads((tmp_path / "heads-demo-clean-000.json").read_text())
    assert (len(set(bought)), found["num_rows"], found["replicate"]) == (9, 9, 0)
    chosen, alike = (replicate.chosen(name, {"rows": 20}).tolist() for name in ("contrast", "alike"))
    assert chosen[:9] == alike[:9] == bought
    assert len(set(chosen)) == len(set(alike)) == 20
    best = [place for place in replicate.ordered("contrast").order.tolist() if place not in bought]
    assert chosen[9:] == best[:11]
    length = replicate.candidates.problem_length
    assert sorted(length[alike[9:]]) == pytest.approx(sorted(length[chosen[9:]]), abs=12)
    assert len(set(replicate.ordered("longest solution").scores)) == 1  # what a solution would tell is not there
    assert replicate.row("contrast", {"rows": 20})["right_ratio"] == 1.0


HOLDER = """
import sys
from circuitseer_trl.locks import writing_to
with writing_to(sys.argv[1], "rows"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_two_runs_of_one_plan_are_refused(tmp_path: Path):
    plan, rows = write_plan(tmp_path), tmp_path / "rows"
    words = [sys.executable, "-c", HOLDER, str(rows)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(ValueError, match="Another run writes to"):
            run_plan(plan, rows, tmp_path / "scratch", 1)
        other.stdin.close()


def test_a_training_that_fails_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.bed.run.make_world", lambda kind, number: make_world(kind, number, **SMALL))
    by_column = {"name": "x", "method": "select2reason", "method_args": {"difficulty": "column"}}  # the pools have none
    plan = write_plan(tmp_path, budgets=[{"rows": 3}], methods=[by_column])
    run_unit(plan, "demo", "clean", 0, tmp_path, tmp_path / "scratch", lambda line: None)
    [row] = read_rows(rows_file(tmp_path, "demo", "clean", 0))
    assert row["status"].startswith("ValueError: `difficulty: column` needs")
    assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": ["muddy"]}, "`kinds` has 'muddy', which is none of clean, noisy"),
        ({"budgets": [{"row": 3}]}, r"a budget is \{rows: N\} or \{tokens: N\}, got \{'row': 3\}"),
        ({"methods": [PLAN["methods"][2]]}, "`matched` must have `to`, a method named before it"),
        ({"methods": [PLAN["methods"][0]] * 2}, "two methods of one name"),
        ({"epochs": 3}, "has no key 'epochs'"),
        ({"methods": [{"name": "x", "method": "longst"}]}, "method 'x': There is no method 'longst'"),
        ({"methods": [{"name": "x", "method": "longest", "sampler_seed": 1}]}, "method 'x': .*'sampler_seed'"),
        (
            {"methods": [{"name": "x", "method": "circuitseer", "heads": "best"}]},
            "method 'x': `heads` must be one of loss",
        ),
        ({"methods": [{"name": "x", "starts_with": "probe"}]}, "`starts_with: probe` needs `before_solutions: true`"),
        (
            {"methods": [{"name": "x", "starts_with": "test"}]},
            "method 'x': `starts_with` must be one of targets, probe",
        ),
        ({"methods": [{"name": "x", "truth": "answer"}]}, "method 'x': `truth` must be one of problem_length"),
        (
            {"methods": [{"name": "x", "method": "longest", "sampling": "reweight"}]},
            "method 'x': .* has none: its first rows depend",
        ),
        ({"methods": [{"name": "x", "method": "dependence", "sampling": "soft"}]}, "method 'x': Soft sampling draws"),
    ],
)
def test_plans_that_are_wrong(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        write_plan(tmp_path, **changes)


@pytest.mark.parametrize("path", sorted((ROOT / "bench" / "bed" / "plans").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_plans_are_read(path: Path):
    assert read_plan(path).points
