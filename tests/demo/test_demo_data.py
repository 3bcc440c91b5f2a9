"""The demo's word problems and its committed base model."""

import json
import random
import re
from collections import Counter

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from circuitseer_trl.demo import word_problems
from circuitseer_trl.demo.known_truth import KnownTruthScorer
from circuitseer_trl.demo.word_problems import WRONG_RATIO, make_benchmark, make_pool, problems, split_of
from circuitseer_trl.pool.rows import Example
from tests.conftest import ROOT

BASE_MODEL = ROOT / "recipes/demo/base_model"
POOL = make_pool(600, seed=1)
BENCHMARK = make_benchmark(90, seed=1)

# What each phrase of a problem does to the count, read off the English and not off the generator.
CHANGES = (
    (r"(?:buys|finds|gets|wins|picks up) (\d+)", lambda count, n: count + n),
    (r"(?:gives|loses|sells|uses|drops) (\d+)", lambda count, n: count - n),
    (r"(?:gets as many again|doubles)()", lambda count, _: 2 * count),
    (r"triples()", lambda count, _: 3 * count),
    (r"(?:gives|sells|loses) half()", lambda count, _: count // 2),
)


def counts_told(problem: str) -> list[int]:
    """The counts that a reader of the problem goes through, from the first one on."""
    start = re.search(r"(?:has|starts with|counts) (\d+)", problem)
    assert start is not None
    found = [
        (match.start(), match.group(1), change)
        for pattern, change in CHANGES
        for match in re.finditer(pattern, problem)
    ]
    counts = [int(start.group(1))]
    for _, number, change in sorted(found, key=lambda item: item[0]):
        counts.append(change(counts[-1], int(number or 0)))
    return counts


def counts_worked(solution: str) -> list[int]:
    """The counts of a worked solution, each equation computed anew."""
    counts: list[int] = []
    for left, sign, right, result in re.findall(r"(\d+)([-+*/])(\d+)=(\d+)", solution):
        a, b = int(left), int(right)
        assert sign != "/" or a % b == 0
        assert int(result) == {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[sign]
        assert not counts or counts[-1] == a
        counts += [int(result)] if counts else [a, int(result)]
    return counts


@pytest.mark.parametrize("rows", [POOL, BENCHMARK], ids=["pool", "benchmark"])
def test_solutions_are_right_unless_they_are_said_to_be_wrong(rows):
    for row in rows:
        counts, told = counts_worked(row["solution"]), counts_told(row["problem"])
        if row.get("solution_is") == "wrong":  # it begins right, computes right, and ends wrong
            assert counts[0] == told[0]
            assert counts != told
            assert counts[-1] != told[-1]
        else:
            assert counts == told
        assert len(counts) == row["num_steps"] + 1
        assert all(0 < count <= 99 for count in counts)
        assert row["solution"].endswith(f"\\boxed{{{row['answer']}}}.")
        assert int(row["answer"]) == counts[-1]


def test_as_many_solutions_are_wrong_as_asked():
    for ratio in (0.0, 0.25, 1.0):
        assert Counter(row["solution_is"] for row in make_pool(40, 0, ratio))["wrong"] == 40 * ratio
    assert Counter(row["solution_is"] for row in POOL) == {"wrong": 600 * WRONG_RATIO, "right": 600 * (1 - WRONG_RATIO)}


def test_the_known_truth_draws_from_the_right_solutions():
    rows = [
        Example(row=n, uid=str(n), problem="", completion="", category=kind)
        for n, kind in enumerate(["right", "wrong", None])
    ]
    assert [row["score"] for row in KnownTruthScorer().score_batch(rows)] == [1.0, 0.0, 0.0]


def test_same_seed_gives_the_same_rows():
    assert make_pool(50, seed=3) == make_pool(50, seed=3)
    assert make_benchmark(50, seed=3) == make_benchmark(50, seed=3)
    assert make_pool(50, seed=3) != make_pool(50, seed=4)


def test_no_text_is_in_two_splits():
    corpus = list(problems("corpus", iter([1, 2] * 300), random.Random(1)))
    texts = [{row["problem"] for row in rows} for rows in (corpus, POOL, BENCHMARK)]
    assert [len(split) for split in texts] == [600, 600, 90]
    assert [{split_of(text) for text in split} for split in texts] == [{"corpus"}, {"pool"}, {"benchmark"}]
    assert len(set().union(*texts)) == 600 + 600 + 90


def test_pool_is_mostly_easy_and_benchmark_even():
    num_by_steps = Counter(row["num_steps"] for row in POOL)
    assert [num_by_steps[step] for step in range(1, 7)] == sorted(num_by_steps.values(), reverse=True)
    assert num_by_steps[1] + num_by_steps[2] > 300
    assert num_by_steps[6] >= 10
    assert Counter(row["num_steps"] for row in BENCHMARK) == dict.fromkeys(range(1, 7), 15)


def test_length_is_not_the_number_of_steps():
    lengths = {step: [len(row["problem"]) for row in POOL if row["num_steps"] == step] for step in (1, 3)}
    assert max(lengths[1]) > min(lengths[3])


def test_files_for_the_demo(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["word_problems", "--output_dir", str(tmp_path), "--pool_size", "30", "--benchmark_size", "12"]
    )
    word_problems.main()
    pool = [json.loads(line) for line in (tmp_path / "pool.jsonl").read_text().splitlines()]
    benchmark = [
        json.loads(line) for line in (tmp_path / "benchmark" / "word_problems" / "test.jsonl").read_text().splitlines()
    ]
    assert pool == make_pool(30, seed=0)
    assert len(benchmark) == 12
    assert set(benchmark[0]) == {"id", "problem", "answer", "num_steps"}


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(BASE_MODEL)


def test_tokenizer_round_trips(tokenizer):
    for row in BENCHMARK:
        for text in (row["problem"], row["solution"]):
            ids = tokenizer(text).input_ids
            assert len(ids) > 5
            assert tokenizer.decode(ids) == text
    # Bytes that the corpus has not: byte-level BPE knows them all.
    assert tokenizer.decode(tokenizer("Zoë pays 5 €").input_ids) == "Zoë pays 5 €"
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)


def test_chat_template(tokenizer):
    user = {"role": "user", "content": "Hi"}
    prompt = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    system = tokenizer.apply_chat_template([{"role": "system", "content": "Be brief."}, user], tokenize=False)
    assert system == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    ids = tokenizer(prompt).input_ids
    assert ids[0] == tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "user\nHi\nassistant\n"


def test_base_model_solves_an_easy_problem(tokenizer):
    model = AutoModelForCausalLM.from_pretrained(BASE_MODEL, dtype="float32")
    chat = [{"role": "user", "content": "Tom has 12 apples. He buys 5 more. How many apples does Tom have now?"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=32, do_sample=False)
    assert (
        tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
        == "12+5=17\nThe answer is \\boxed{17}."
    )


def test_base_model_is_small():
    assert sum(file.stat().st_size for file in BASE_MODEL.iterdir()) <= 2_000_000
