"""Verdicts by rule: (reference, answer, verdict), judged on mathematics."""

import random
import time
from pathlib import Path

import pytest

from circuitseer_trl.evaluation.benchmark_files import paper_benchmarks
from circuitseer_trl.evaluation.benchmarks import load_benchmark
from circuitseer_trl.grading.equivalence import compare

TABLE = [
    ("2", "5000", False),
    ("c+5", "a+5", False),
    ("(1,2)", "[1,2]", False),
    ("n+am", "n+pm", False),
    ("0.00005", "0.00001", False),
    (r"\text{east}", r"\text{west}", False),
    ("1:58 am", "1:58 pm", False),
    ("1:58 am", r"1:58\text{ am}", True),
    ("1:58 am", "1:58 a.m.", True),
    ("1:58 am", "1:58AM", True),
    (r"\sqrt{2}+\sqrt{3}", r"\sqrt{2+\sqrt{3}}", False),
    ("AD", "A, D", True),
    ("AD", "A", False),
    ("A B D", r"\text{ABD}", True),
    ("A B D", "BDA", True),
    ("ACD", "A and C and D", True),
    ("ACD", "A, C", False),
    ("AC", "(A)(C)", True),
    ("AC", "A. and C.", True),
    (r"1-\mathrm{i}", "1", False),
    (r"1-\mathrm{i}", "1-i", True),
    ("52_8", "52_9", False),
    ("52_8", "52_{8}", True),
    ("52_8", "(52)_8", True),
    ("52_8", r"52_{\text{8}}", True),
    ("4210_{5}", "4210_5", True),
    ("52_8", "42", False),
    (r"\{x|x=3k,k\in \mathbb{Z}\}", "3", False),
    (r"\{x|x=3k,k\in \mathbb{Z}\}", r"\{x \mid x = 3k, k \in \mathbb{Z}\}", True),
    (r"\{x|x=3k,k\in \mathbb{Z}\}", r"\{3\}", False),
    (r"\{x|x=3k,k\in \mathbb{Z}\}", r"\{3k \mid k \in \mathbb{Z}\}", True),
    ("$48$, $384$", r"48\text{ and }384", True),
    ("$48$, $384$", "384, 48", True),
    ("$48$, $384$", "48384", False),
    (r"$36\sqrt{7}cm^{3}$", r"36\sqrt{7}", True),
    (r"$36\sqrt{7}cm^{3}$", r"36\sqrt{7}\text{ cm}^3", True),
    (r"$36\sqrt{7}cm^{3}$", r"36\sqrt7\ \mathrm{cm}^3", True),
    (r"$36\sqrt{7}cm^{3}$", r"36\sqrt7\ \mathrm{cm}^2", False),
    (r"\$18.90", "18.9", True),
    (r"\$18.90", r"\$18.90", True),
    (r"\$18.90", "1890", False),
    (r"5.4 \text{ cents}", "5.4", True),
    (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}^\circ", True),
    (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}", True),
    (r"864 \mbox{ inches}^2", "864", True),
    (r"864 \mbox{ inches}^2", r"864\text{ square inches}", True),
    (r"864 \mbox{ inches}^2", r"864\text{ in}^2", True),
    (r"15\mbox{ cm}^2", r"15\text{ cm}^3", False),
    (r"15\mbox{ cm}^2", "15", True),
    ("20 $cm^{2}$", "20", True),
    ("20 $cm^{2}$", r"20\text{ cm}^2", True),
    (r"$576\pi\;m^{2}$", r"576\pi\text{ m}^2", True),
    ("$145$solution:", "145", True),
    (r"x \in [-2,7]", "[-2,7]", True),
    (r"x \in [-2,7]", r"-2\le x\le 7", True),
    (r"x \in [-2,7]", "(-2,7)", False),
    (r"(0,9) \cup (9,36)", r"0<x<9\text{ or }9<x<36", True),
    (r"(2,12) \cup (12,102)", r"(2,12)\cup(12,102)", True),
    (r"(2,12) \cup (12,102)", r"(12,102)\cup(2,12)", True),
    (r"(2,12) \cup (12,102)", "(2,102)", False),
    (r"\{1\pm\sqrt{5},-2\}", r"-2, 1+\sqrt5, 1-\sqrt5", True),
    (r"\{1\pm\sqrt{5},-2\}", r"\{-2, 1+\sqrt5\}", False),
    ("5x - 7y + 11z + 4 = 0", "-5x+7y-11z-4=0", True),
    ("5x - 7y + 11z + 4 = 0", "5x-7y+11z=-4", True),
    ("5x - 7y + 11z + 4 = 0", "5x-7y+11z=4", False),
    ("$f(n)=n$", "n", True),
    ("$M=2^{N-2}+1$", "2^{N-2}+1", True),
    (r"$m_{\max }=n^{2}-n-1$", "n^2-n-1", True),
    ("$(1,8,19), (2,7,13), (4,5,7)$", "(2,7,13),(1,8,19),(4,5,7)", True),
    ("$(1,8,19), (2,7,13), (4,5,7)$", "(2,7,13),(1,8,19)", False),
    ("62.5%", r"62.5\%", True),
    ("62.5%", "0.625", True),
    ("62.5%", "62.5", False),
    (r"$k \geqslant 2$", r"k\ge2", True),
    (r"$k \geqslant 2$", r"[2,\infty)", True),
    (r"$k \geqslant 2$", "k>2", False),
    (r"$(-\infty, 0) \cup\{1\}$.", r"(-\infty,0)\cup\{1\}", True),
    (r"$(-\infty, 0) \cup\{1\}$.", r"x<0\text{ or }x=1", True),
    ("$10^{100}$,$10^{1 / 100}$", "10^{0.01}, 10^{100}", True),
    ("$221,$8$", "221, 8", True),
    (r"$2$ or $-2$ or $\frac{1}{2}$ or $-\frac{1}{2}$", r"\pm 2, \pm\frac12", True),
    (r"$\text{a necessary but not a sufficient condition}$", r"\text{necessary but not sufficient}", True),
    (r"$\text{a necessary but not a sufficient condition}$", r"\text{sufficient but not necessary}", False),
    ("$Quadrant I$", r"\text{Quadrant I}", True),
    ("$Quadrant I$", r"\text{Quadrant II}", False),
    (r"\text{ellipse}", r"\text{an ellipse}", True),
    (r"\text{ellipse}", "Ellipse", True),
    ("d y", "dy", True),
    ("d y", r"\mathrm{d}y", True),
    (r"(\pi-1)\mathrm{d}x-\mathrm{d}y", r"(\pi-1)dx - dy", True),
    (r"$y=\frac{1}{2} t^{2}-\frac{1}{2} t+C, C$ 为任意常数．", r"y=\frac{1}{2}t^2-\frac12 t+C", True),
    (r"$y=\frac{1}{2} t^{2}-\frac{1}{2} t+C, C$ 为任意常数．", r"\frac{t^2-t}{2}+C", True),
    (r"$\left(x-\frac{1}{2}\right)^{2}+y^{2}=\frac{1}{4}$ 或 $x^{2}-x+y^{2}=0$．", "x^2+y^2=x", True),
    (
        r"$y=C_{1} e^{x}+e^{-\frac{1}{2} x}\left(C_{2} "
        r"\cos \frac{\sqrt{3}}{2} x+C_{3} \sin \frac{\sqrt{3}}{2} x\right), C_{1}, C_{2}, C_{3} \in R$.",
        r"y=C_1e^x+e^{-x/2}(C_2\cos\frac{\sqrt3x}{2}+C_3\sin\frac{\sqrt3 x}{2})",
        True,
    ),
    (r"（A）$\frac{\sqrt{\pi}}{2}$", "A", True),
    (r"（A）$\frac{\sqrt{\pi}}{2}$", r"\frac{\sqrt{\pi}}{2}", True),
    ("C．", "C", True),
    ("（B）", "B", True),
    ("27", r"\text{27}", True),
    ("1625", "1{,}625", True),
    ("1,3", "1 and 3", True),
    (r"$\frac12$", r"50\%", True),
    ("16,3,1,1", "16,3,1", False),
    ("-2,-2", "-2", False),
    ("[2,3)", "(2,3)", False),
    ("(3,1)", "x=3,y=1", True),
    ("(3,1)", "(x,y)=(3,1)", True),
    (r"\frac13", r"0.\overline{3}", True),
    (r"\frac13", r"\frac13\approx0.333", True),
    (r"\frac13", "0.333", False),
    ("5", "2+3=5", True),
    ("x=5", "5", True),
    ("5", "x=5", True),
    ("5", r"x = 5 \text{ or } x=-3", False),
    ("5,-3", r"x = 5 \text{ or } x=-3", True),
    ("120000", "1.2e5", True),
    ("6", "６", True),
    ("(1,2)", "（１，２）", True),
    (r"\frac{1}{2}", "½", True),
    ("x^2", "x²", True),
    (r"\sqrt{2}", "√2", True),
    (r"3\pi", "3π", True),
    ("-5", "−5", True),
    ("6", "٦", True),
    (r"[0,\infty)", "[0,∞)", True),
    ("25", "２５", True),
    (r"\pi/2", r"\frac\pi2", True),
    (r"90^\circ", "90", True),
    (r"x\le 3", "x≤3", True),
    ("$S_{MBCN}:S=7:32$", "7:32", True),
    ("1:2", r"\frac12", True),
    ("1:2:3", "1:2:3", True),
    ("1:2:3", "2:4:6", True),
    ("1:2:3", "1:3:2", False),
    ("b > a > c", "b>a>c", True),
    ("b > a > c", "c<a<b", True),
    ("b > a > c", "a>b>c", False),
    (r"\begin{pmatrix} -2 \\ -14 \\ -7 \end{pmatrix}", r"\begin{bmatrix} -2 \\ -14 \\ -7 \end{bmatrix}", True),
    (r"C_{400}^{40} \cdot C_{200}^{20}", r"\binom{400}{40}\binom{200}{20}", True),
    (r"\binom{2n}{n}", r"\frac{(2n)!}{(n!)^2}", True),
    (r"12\times18\times11", "2376", True),
    ("$x_{n}=8+(-2)^{n}, y_{n}=-8+(-2)^{n+1}, z_{n}=12$", r"x_n=8+(-2)^n,\ y_n=-8-2(-2)^n,\ z_n=12", True),
    (r"a_{n}=4 \cdot(-3)^{n-1}", "a_n=4(-3)^{n-1}", True),
    ("-4", "-4.0", True),
    (r"\frac{N}{2}", "N/2", True),
    ("$f(x)=x$,$f(x)=2-x$", "f(x)=2-x, f(x)=x", True),
    ("$f(x)=x$,$f(x)=2-x$", "f(x)=x", False),
    ("$f(x)=x$,$f(x)=2-x$", r"f(x)=x \text{ or } f(x)=2-x", True),
    ("2k", "2k", True),
    ("2k", "2", False),
    (r"$x=\tan \left(y+\frac{\pi}{4}\right)-y$", r"x+y=\tan(y+\frac{\pi}{4})", True),
    (r"$y-\arctan (x+y)=-\frac{\pi}{4}$", r"y=\arctan(x+y)-\frac{\pi}{4}", True),
    ("a=4, b=1", "a=4,b=1", True),
    ("a=4, b=1", "a=1,b=4", False),
    ("a=4, b=1", "4,1", True),
    (r"A=\frac{\pi}{6},2+\sqrt{6}+3 \sqrt{2}", r"\frac{\pi}{6}, 2+\sqrt6+3\sqrt2", True),
    (r"$\angle B E A_{1}=90$,$\angle A E B_{1}=90$", "90,90", True),
    (r"$\angle B E A_{1}=90$,$\angle A E B_{1}=90$", r"90^\circ, 90^\circ", True),
    (r"$\angle B E A_{1}=90$,$\angle A E B_{1}=90$", r"\angle BEA_1=90^\circ, \angle AEB_1=90^\circ", True),
    ("(1)(3)(4)", "(1)(3)(4)", True),
    ("(1)(3)(4)", "1,3,4", True),
    ("(1)(3)(4)", "(1),(3),(4)", True),
    ("(1)(3)(4)", "12", False),
    ("(1)(3)(4)", "(1)(3)", False),
    ("I,II,III,IV", "I, II, III, IV", True),
    ("I,II,III,IV", "I,II,III", False),
    (r"\{2,3,5\}", "2,3,5", True),
    ("{2,3,5}", r"\{5,3,2\}", True),
    (r"\{x|-2\leq x < 1\}", "[-2,1)", True),
    (r"\{x|-2\leq x < 1\}", "[-2,1]", False),
    (r"(-\infty,-3)", "x<-3", True),
    (r"\frac{1}{4}\overrightarrow{a} + \frac{1}{2}\overrightarrow{b}", r"\frac14\vec a+\frac12\vec b", True),
    (r"6\frac23", r"\frac{20}{3}", True),
    (r"6\frac23", "4", False),
    (r"$2\frac58$", "2.625", True),
    ("x-4", "x - 4", True),
    (r"$r=1+\sqrt{\frac{q}{s}}$", r"1+\sqrt{q/s}", True),
    (r"$C=\frac{def}{de+df+ef}$", r"\frac{def}{de+ef+df}", True),
    ("0.05 and 0.6", "0.05, 0.6", True),
    ("e^{-1}", r"\frac1e", True),
    ("-i", r"-\mathrm{i}", True),
    ("$5am$", "5am", True),
    ("$5am$", "5", False),
    ("2s", "2", False),
    ("$y=-2x+5$", "2x+y-5=0", True),
    ("12", r"12\text{ apples}", True),
    ("12", "12.", True),
    ("12", r"\text{Answer: }12", True),
    ("12", r"\text{The answer is }12", True),
    ("(10^{4}, 10^{3}, 10^{10})", "(10000,1000,10^{10})", True),
    ("10,11,12,13,14,-2,-1,0,1,2", "-2,-1,0,1,2,10,11,12,13,14", True),
    (r"$\frac{4 \cdot 999^{4}}{27}$", r"\frac{4\times 999^4}{27}", True),
    (r"$2021 \cdot 505 \cdot 337$", "343945185", False),
    (r"(\frac12,3)", "(0.5,3)", True),
    ("$(3,0),(-3,1)$", "(-3,1),(3,0)", True),
    (r"$90^{\circ}$,$60^{\circ}$", "60,90", True),
    (r"$7-\sqrt{5} \mathrm{i}$", r"7-\sqrt5 i", True),
    (r"\frac{\sin \frac{1}{e}}{2 e}", r"\frac{1}{2e}\sin(1/e)", True),
    (r"\frac{8}{3} \ln 3", r"\frac{8\ln3}{3}", True),
    (r"\frac{\log 2}{\log 2-\log 3}", r"\frac{\ln 2}{\ln(2/3)}", True),
    (r"$2,-\log _{10} 250$", r"2, -\log_{10}250", True),
    (r"$\frac{2}{7} \sqrt{53}$", r"\frac{2\sqrt{53}}{7}", True),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}", True),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}", False),
    ("x^3+3x-6", "p(x)=x^3+3x-6", True),
    (r"\text{(C)}", "C", True),
    (r"\text{(C)}", r"\text{C}", True),
    (r"\text{(C)}", "(C)", True),
    (r"(-\infty, 0]", r"(\infty, 0]", False),  # no set of numbers
    (r"(\infty, 0]", r"(-\infty, 0]", False),
    (r"[a, \infty)", r"[a,+\infty)", True),
    (r"[2a, b)", "[a+a, b)", True),
    (r"[2a, b)", "[2a, b]", False),
    (r"[2a, b)", "[2a, c)", False),
]


@pytest.mark.parametrize(("gold", "answer", "expected"), TABLE)
def test_verdict(gold: str, answer: str, expected: bool):
    assert compare(gold, answer).correct is expected


@pytest.mark.thorough
def test_hand_judged_cases():
    """Every row of `grading_cases.txt`: a reference, and answers to it."""
    lines = (Path(__file__).parent / "grading_cases.txt").read_text(encoding="utf-8").splitlines()
    gold, wrong, count = "", [], 0
    for line in lines[1:]:
        mark, _, text = line.partition(" ")
        if mark == "=":
            gold = text
        elif mark:
            count += 1
            verdict = compare(gold, text)
            if verdict.correct != (mark == "+"):
                wrong.append((mark, gold, text, verdict.reason))
    assert wrong == []
    assert count > 1000


LETTERS = [
    "{}",
    "({})",
    "{}.",
    "{})",
    r"\text{{{}}}",
    r"\text{{({})}}",
    r"\textbf{{({})}}",
    r"\mathrm{{{}}}",
    r"\bf {}",
]
LETTERS += [
    r"\boldsymbol{{{}}}",
    r"\text{{Option {}}}",
    "选{}",
    "故选：{}",
    "{}选项",
    "（{}）",
    "**{}**",
    r"\boxed{{{}}}",
]
LETTERS += [r"\operatorname{{{}}}", r"\text{{The answer is {}}}", "[{}]", r"\{{{}\}}", r"\color{{red}}{{{}}}"]


@pytest.mark.parametrize("spelling", LETTERS)
def test_letters_in_all_spellings(spelling: str):
    for gold in "AEK":
        for letter in "AEK":
            assert compare(gold, spelling.format(letter)).correct is (gold == letter)


def test_option_texts_and_letters():
    options = {"A": r"$\frac{3}{5}$", "B": r"$\frac{9}{25}$", "C": r"$\frac{25}{9}$", "D": "没有"}
    right = [r"\frac{25}{9}", "25/9", r"C \frac{25}{9}", r"\frac{25}{9} (C)", r"C、\frac{25}{9}", r"\text{C) }2\frac79"]
    wrong = [
        r"\frac{9}{25}",
        r"B. \frac{25}{9}",
        r"C. \frac{9}{25}",
        "C or D",
        r"\text{not C}",
        "c^2",
        "CC",
        "2.78",
        "没有",
    ]
    assert [answer for answer in right if not compare("C", answer, options).correct] == []
    assert [answer for answer in wrong if compare("C", answer, options).correct] == []


def test_options_of_one_value_are_told_apart():
    options = {"A": "$f(1)=0$", "B": "$f(2)=0$", "C": "$f(4)=0$"}
    assert compare("B", "f(2)=0", options).correct
    assert not compare("B", "f(4)=0", options).correct
    assert not compare("B", "0", options).correct


@pytest.mark.parametrize(
    "answer", ["ABD", "D, B, A", "A、B、D", "(A)(B)(D)", r"\{A,B,D\}", r"\text{A, B and D}", "故选：ABD"]
)
def test_several_options(answer: str):
    assert compare("A B D", answer).correct
    assert not compare("AB", answer).correct
    assert not compare("ABCD", answer).correct


def test_a_percentage_that_the_question_asks_for_needs_no_sign():
    assert compare("4.2", r"4.2\%", question="By what percentage did it grow?").correct
    assert not compare("4.2", r"4.2\%", question="How much did it grow?").correct
    assert not compare("28%", "28").correct


def test_options_are_read_from_the_question():
    question = "What is 2 + 3? (F) 4 (G) 5 (H) 6 (J) 7 (K) 8"
    assert compare("G", "5", question=question).correct
    assert not compare("G", "6", question=question).correct
    assert compare("K", r"\text{(K) } 8", question=question).correct


def test_damaged_references_and_answers_raise_nothing_and_end_soon(shared: Path):
    """Golds of the nine benchmarks with characters lost, doubled, swapped or replaced."""
    golds = [p.gold for name in paper_benchmarks() for p in load_benchmark(name, shared / "benchmarks") if p.gold]
    rng = random.Random(0)
    alphabet = [*"\\{}()[]^_$%|,;:=<>+-*/!'\" 0123456789abcxyzCi∞²\x00\ud800", r"\frac", r"\sqrt", r"\pm", r"\and"]
    slowest = 0.0
    for _ in range(600):
        gold = rng.choice([gold for gold in golds[:500] if len(gold) > 3])
        answer = list(gold)
        for _ in range(rng.randint(1, 4)):
            position = rng.randrange(len(answer))
            answer[position : position + rng.randint(0, 2)] = rng.choices(alphabet, k=rng.randint(0, 2)) or [""]
        start = time.perf_counter()
        verdicts = [compare(gold, "".join(answer)).correct, compare("".join(answer), gold).correct]
        slowest = max(slowest, time.perf_counter() - start)
        assert all(verdict in (True, False) for verdict in verdicts)
    assert slowest < 10


def test_functions_that_are_real_in_few_places_are_compared_there():
    """At most points both are complex, and principal values differ by their sign."""
    one = r"\ln(\sin(\sqrt{12x}))"
    assert compare(one, r"\frac12\ln(\sin(\sqrt{12x})^2)").correct
    assert not compare(one, r"\frac13\ln(\sin(\sqrt{12x})^2)").correct
    assert not compare("ix", "-ix").correct
