"""Does an answer mean the same as the reference? The rules, by the type of the reference.

It runs only in the grading processes. The rules are about mathematics. If a text uses a command that they do not know,
Math-Verify decides on the normalised pair (`grading.symbolic`).
"""

import re

from circuitseer_trl.grading.choices import compare_choice, gold_letters, gold_option, options_in
from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.families import parse_family
from circuitseer_trl.grading.lists import compare_lists
from circuitseer_trl.grading.nodes import Node, TooCostlyError
from circuitseer_trl.grading.normalization import normalize
from circuitseer_trl.grading.phrases import same_phrase
from circuitseer_trl.grading.real_sets import parse_real_set
from circuitseer_trl.grading.relations import Judgement
from circuitseer_trl.grading.single import compact
from circuitseer_trl.grading.structure import strip_brackets
from circuitseer_trl.grading.symbolic import math_verify_equal
from circuitseer_trl.grading.tokens import KNOWN, ParseError, UnknownCommandError
from circuitseer_trl.grading.values import equal_expressions

MAX_CHARACTERS = 2000
_PERCENT_QUESTION = re.compile(r"percent|%|百分", re.IGNORECASE)
# What Math-Verify evaluates and the rules here do not.
_ALGEBRA = {"sum", "prod", "int", "iint", "lim", "to", "max", "min", "gcd", "lcm", "bmod", "partial"}
_ALGEBRA |= {"matrix", "endmatrix", "cr"}
_GROUPED = re.compile(r"\s*\$?\s*\d{1,3}(?:,\d{3})+\s*\$?\s*")


def compare(gold: str, answer: str, choices: dict[str, str] | None = None, question: str | None = None) -> Judgement:
    """Compares one answer with one reference.

    Args:
        gold: Reference. No answer is right for an empty one.
        answer: Content of the box.
        choices: Option texts by letter, for a reference that is a letter.
        question: The problem, which may name options or ask for a percentage.
    """
    if not gold.strip():
        return Judgement(False, "empty_gold")
    if len(gold) > MAX_CHARACTERS or len(answer) > MAX_CHARACTERS:
        return Judgement(gold.strip() == answer.strip(), "too_long")
    letters = gold_letters(gold)
    if letters:
        options = dict(choices or {}) or (options_in(question) if question else {})
        if len(letters) == 1 and (text := gold_option(gold)):
            options |= dict.fromkeys(letters, text)
        same = compare_choice(letters, answer, options, lambda one, other: compare(one, other).correct)
        return Judgement(same, "choice")
    gold_text, answer_text = normalize(gold), normalize(answer)
    if not gold_text:
        return Judgement(False, "empty_gold")
    if not answer_text:
        return Judgement(False, "no_answer")
    try:
        verdict = _compare_texts(gold_text, answer_text, question)
    except RecursionError:
        return Judgement(False, "too_deep")
    if not verdict.correct and _GROUPED.fullmatch(gold) and re.search(r"[,;]|\\and", answer_text):
        # 24,112 may be two answers as well as one number.
        verdict = compare_lists(normalize(gold.replace(",", " , ")), answer_text)
    return verdict


def _compare_texts(gold: str, answer: str, question: str | None) -> Judgement:
    if compact(gold) == compact(answer):
        return Judgement(True, "same_text")
    try:
        special = _compare_special(gold, answer)
    except (ParseError, TooCostlyError):
        special = None
    if special is not None:
        return special
    if gold.count("%") != answer.count("%") and question and _PERCENT_QUESTION.search(question):
        gold, answer = gold.replace("%", ""), answer.replace("%", "")
    answer = (
        re.sub(r'^"(?:(?:the )?(?:final )?answer(?: is)?:?|答案[是为]?)"\s*', "", answer, flags=re.IGNORECASE) or answer
    )
    answer = re.sub(r'^"(?:yes|so|hence|thus|therefore)"\s*,\s*', "", answer, flags=re.IGNORECASE)
    answer = re.sub(r'^"(?:exactly|approximately|about)"\s*', "", answer, flags=re.IGNORECASE) or answer
    if re.fullmatch(r"-?\d+\.\d+", gold) and re.fullmatch(r"-?\d+,\d+", answer):
        answer = answer.replace(",", ".")  # a decimal comma
    try:
        return compare_lists(gold, answer)
    except TooCostlyError:
        return Judgement(False, "too_costly")
    except UnknownCommandError:
        if '"' in gold and not re.search(r"\d", gold):
            return Judgement(same_phrase(gold, answer), "text")
        unknown = set(re.findall(r"\\([A-Za-z]+)", gold + answer)) - KNOWN
        if not unknown <= _ALGEBRA:
            return Judgement(False, "not_understood")
        return Judgement(math_verify_equal(gold, answer), "math_verify")
    except ParseError:
        return Judgement('"' in gold and same_phrase(gold, answer), "text" if '"' in gold else "not_understood")


def _compare_special(gold: str, answer: str) -> Judgement | None:
    """References that look like expressions and are none: words, times, numbered statements, ratios, set-builders."""
    if re.fullmatch(r'(?:"[^"\d]*"|[\s,.]|\\(?:and|or)(?![A-Za-z]))+', gold) and '"' in gold:
        if same_phrase(gold, answer):
            return Judgement(True, "text")
        if "," not in gold and "\\" not in gold and len(re.findall('"', gold)) == 2 and re.search("[,\\\\]", answer):
            return Judgement(False, "text")
    times = [_minutes(text) for text in (gold, answer)]
    if times[0] is not None and re.search("[ap]m", re.sub(r'[\s".]', "", gold.casefold())):
        return Judgement(times[0] == times[1], "time")
    if re.fullmatch(r"(?:\(\d\)\s*){2,}", gold):
        only_numbers = re.fullmatch(r'(?:[\s,(){}"\\]|and)*\d(?:[\s,(){}"\\]|and|(?<=[\s,(){}"\\d])\d)*', answer)
        return Judgement(
            bool(only_numbers) and set(re.findall(r"\d", gold)) == set(re.findall(r"\d", answer)), "statements"
        )
    ratios = [[parse_expression(part) for part in text.split(":")] for text in (gold, answer) if text.count(":") > 1]
    if len(ratios) == 2 and len(ratios[0]) == len(ratios[1]):
        (first, *others), (their_first, *theirs) = ratios
        pairs = zip(others, theirs, strict=True)
        crossed = ((Node("product", (a, their_first)), Node("product", (b, first))) for a, b in pairs)
        return Judgement(all(equal_expressions(one, other) for one, other in crossed), "ratio")
    builders = [_set_builder(text) for text in (gold, answer)]
    readings = [all(read(text) is not None for text in (gold, answer)) for read in (parse_real_set, parse_family)]
    if any(builders) and not any(readings):
        # Their conditions are compared as they are written: Math-Verify reads {x | x = 3k} as 3.
        return Judgement(builders[0] == builders[1], "set_builder")
    return None


def _minutes(text: str) -> int | None:
    """A time of day in minutes; one without am or pm is a 24-hour clock's."""
    match = re.fullmatch(r"(\d{1,2}):(\d\d)([ap]m)?", re.sub(r'[\s".{}\\!]', "", text.casefold()))
    if match is None:
        return None
    hours = int(match[1]) % 12 + 12 * (match[3] == "pm") if match[3] else int(match[1])
    return 60 * hours + int(match[2])


def _set_builder(text: str) -> str | None:
    """A set-builder without spaces; `None` for anything else."""
    inner = strip_brackets(text, r"\{", r"\}")
    return re.sub(r"\s+", "", inner) if inner is not None and re.search(r"[|:]", inner) else None
