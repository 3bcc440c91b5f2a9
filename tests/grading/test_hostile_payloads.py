"""Answers that attack the grader: none is executed, none hangs, and 64 threads get the verdicts that one gets."""

import random
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from circuitseer_trl.grading.grader import Grader, Question

# Code that leaves a file behind where anything runs it, as Python, as a shell or through sympy's parser.
CODE = [
    "__import__('os').system('touch {canary}')",
    "os.system('touch {canary}')",
    "open('{canary}','w').close()",
    "(lambda: open('{canary}','w'))()",
    "eval(\"open('{canary}','w')\")",
    "exec(\"import os; os.system('touch {canary}')\")",
    "[c for c in ().__class__.__base__.__subclasses__() if c.__name__=='Popen'][0](['touch','{canary}'])",
    "sympify(\"__import__('os').system('touch {canary}')\")",
    "`touch {canary}`",
    "$(touch {canary})",
    "; touch {canary};",
    r"\input{{|touch {canary}}}",
    r"\immediate\write18{{touch {canary}}}",
    "%s{{open('{canary}','w')}}",
    "{{{{ cycler.__init__.__globals__.os.system('touch {canary}') }}}}",
    "!!python/object/apply:os.system ['touch {canary}']",
    "Symbol('x').__init__.__globals__['__builtins__']['open']('{canary}','w')",
]
TRAPS = [
    "9^{9^{9^{9}}}", "2^{2^{2^{2^{2^{2}}}}}", "1e999999999", "(10^{10^{10}})!", "((((9!)!)!)!)!", "0^{0}", "1/0",
    r"\int_0^1 \frac{\ln x}{1+x^3}dx", r"\sum_{k=1}^{10^{9}} \frac{1}{k}", r"\prod_{k=1}^{100000} k", r"\lim_{x\to0} \frac{1}{x}",
    r"\binom{10^9}{5\cdot10^8}", "x^{1000000}+x^{999999}", "(x+y+z)^{500}", r"\sqrt[10^9]{2}", "factor(2**4423-1)",
    r"\frac{\frac{\frac{1}{2}}{3}}{4}",
    "NaN", "inf", r"\infty-\infty", "0x7f", "1_000", "x==x", "True", "None", "\\", "{", "}", "$", "%",
    r"\begin{pmatrix}" + r"1&" * 200 + r"1\end{pmatrix}", r"\{" + ",".join(map(str, range(300))) + r"\}", r"\pm" * 40 + "1",
]  # fmt: skip
LETTERS = [
    "\x00",
    "\ud800",
    "\udfff",
    "\u202e",
    "\u0660",
    "１",
    "²",
    "½",
    "Ⅳ",
    "∞",
    "𝟙",
    "\r\n",
    "\t",
    "é",
    "数",
    "’",
    "−",
    "\ufeff",
]
SHAPES: list[Callable[[random.Random, str], str]] = [
    lambda rng, text: text,
    lambda rng, text: "{" * (depth := rng.choice([3, 50, 400])) + text + "}" * depth,
    lambda rng, text: "(" * (depth := rng.choice([3, 50, 400])) + text + ")" * depth,
    lambda rng, text: r"\frac{" * (depth := rng.choice([3, 40, 150])) + text + "}{2}" * depth,
    lambda rng, text: r"\sqrt{" * (depth := rng.choice([3, 40, 200])) + text + "}" * depth,
    lambda rng, text: text + "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 9))),
    lambda rng, text: "".join(letter + rng.choice(["", "", "", rng.choice(LETTERS)]) for letter in text),
    lambda rng, text: text[: rng.randint(0, len(text))],
    lambda rng, text: rf"{text}+{rng.randint(2, 99)}^{{{rng.randint(2, 10**12)}}}",
    lambda rng, text: rf"\text{{{text}}}",
    lambda rng, text: rf"x = {text} \text{{ or }} x = {rng.randint(0, 9)}",
    lambda rng, text: (text + ", ") * rng.choice([2, 20]) + text,
    lambda rng, text: text * rng.choice([2, 10]),
]
GOLDS = [
    "5", r"\frac{1}{2}", "x^2+1", "(1,2)", "[0,1)", r"\{1,2\}", "A", r"\text{no}", "y=2x", r"\sum_{k=1}^{9} k", "2k, k\\in Z",
    r"\begin{pmatrix}1\\2\end{pmatrix}", "3\\text{ cm}", "e^x+C",
]  # fmt: skip


# What Math-Verify decides takes longer, and starts a process that imports sympy.
ALGEBRA = re.compile(r"\\(?:int|sum|prod|lim|begin)")


def payloads(count: int, canary: Path, *, algebra: bool) -> list[tuple[str, Question]]:
    """Answers and references. Every twentieth answer is right, so that a grader that dies would be noticed."""
    rng = random.Random(0)
    traps, golds = ([each for each in texts if algebra or not ALGEBRA.search(each)] for texts in (TRAPS, GOLDS))
    items = []
    for number in range(count):
        code, gold = rng.choice(CODE).format(canary=f"{canary}.{number}"), rng.choice(golds)
        text = rng.choice([code, rng.choice(traps), rng.choice(golds) + rng.choice(["", code])])
        for _ in range(rng.randint(1, 2)):
            text = rng.choice(SHAPES)(rng, text)
        if number % 20 == 0:
            text = gold
        elif number % 10 == 1:  # an attack by the reference
            text, gold = gold, text
        items.append((text, Question(gold)))
    return items


def check(count: int, folder: Path, *, algebra: bool) -> None:
    items = payloads(count, folder / "canary", algebra=algebra)
    start = time.monotonic()
    with Grader(num_workers=2) as grader:
        alone = grader.grade_answers(items)
        elapsed = time.monotonic() - start
        memory = [
            psutil.Process(worker.process.pid).memory_info().rss >> 20
            for worker in grader._pool.workers
            if worker.process
        ]
    with Grader(num_workers=2) as grader, ThreadPoolExecutor(64) as threads:
        together = list(threads.map(lambda item: grader.grade_answers([item])[0], items))
    seconds = sorted(verdict.seconds for verdict in alone)
    undecided = dict(Counter(verdict.reason for verdict in alone if verdict.undecided))
    print(f"{count} payloads in {elapsed:.0f} s; slowest {seconds[-1]:.2f} s, p99 {seconds[count * 99 // 100]:.3f} s")
    print(f"undecided {undecided}; right {sum(verdict.correct for verdict in alone)}; MiB of the processes {memory}")
    assert [path.name for path in folder.iterdir()] == []
    assert all(verdict.correct for verdict in alone[::20])
    # What ends close to its processor time may be stopped once and not the other time. It is right in neither case.
    different = [
        (item, one, other)
        for item, one, other in zip(items, alone, together, strict=True)
        if (one.correct, one.reason) != (other.correct, other.reason)
        and not ("timeout" in (one.reason, other.reason) and not one.correct and not other.correct)
    ]
    assert different == []
    assert not [item for item, verdict in zip(items, alone, strict=True) if verdict.reason == "crash"]
    assert not [item for item, verdict in zip(items, alone, strict=True) if verdict.reason.startswith("error")]


def test_hostile_payloads(tmp_path: Path):
    check(500, tmp_path, algebra=False)


@pytest.mark.slow
def test_ten_thousand_hostile_payloads(tmp_path: Path):
    check(10_000, tmp_path, algebra=True)
