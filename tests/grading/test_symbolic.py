"""What Math-Verify says depends on the answer and the reference alone, and not on the answers before."""

from circuitseer_trl.grading.equivalence import compare
from circuitseer_trl.grading.symbolic import math_verify_equal


def test_what_calculates_with_infinity_is_not_given_to_sympy():
    from sympy.core.cache import clear_cache
    from sympy.core.random import seed

    verdicts = set()
    for number in range(30):  # sympy alone finds these two equal for about one state of its random numbers in fifteen
        clear_cache()
        seed(number)
        verdicts.add(math_verify_equal(r"\sum_{k=1}^{9} k", r"\frac{\frac{\frac{inf}{2}}{2}}{2}"))
    assert verdicts == {None}


def test_infinity_is_a_bound_or_the_whole_answer():
    cases = [
        (r"\sum_{k=1}^{9} k", r"\frac{\infty}{8}", False, "not_understood"),
        (r"\sum_{k=1}^{9} k", r"45+0\cdot inf", False, "not_understood"),
        (r"\sum_{k=1}^{9} k", r"\infty", False, "math_verify"),
        (r"\lim_{x\to0} \frac{1}{x^2}", r"\infty", True, "math_verify"),
        (r"\lim_{x\to-\infty} x", r"-\infty", True, "math_verify"),
        (r"\sum_{k=1}^{\infty} \frac{1}{2^k}", "1", True, "math_verify"),
        (r"\sum_{k=-\infty}^{0} 2^k", "2", True, "math_verify"),
    ]
    judged = [compare(gold, answer) for gold, answer, *_ in cases]
    assert [(each.correct, each.reason) for each in judged] == [(right, reason) for *_, right, reason in cases]
