"""Does an answer mean the same as the reference? The rules, by the type of the reference.

It runs only in the grading processes. The rules are about mathematics. If a text uses a command that they do not know,
Math-Verify decides on the normalised pair (`grading.symbolic`).
"""

import re
from collections.abc import Callable

from circuitseer_trl.grading.asking import Asked, asked_in
from circuitseer_trl.grading.choices import compare_choice, gold_letters, gold_option, options_in
from circuitseer_trl.grading.congruences import without_moduli
from circuitseer_trl.grading.constants import parse_functions, same_functions_up_to_constants
from circuitseer_trl.grading.expressions import parse_expression
from circuitseer_trl.grading.lists import compare_lists
from circuitseer_trl.grading.nodes import Node, TooCostlyError
from circuitseer_trl.grading.normalization import normalize
from circuitseer_trl.grading.phrases import same_phrase
from circuitseer_trl.grading.reading import Reading, read
from circuitseer_trl.grading.relations import Judgement
from circuitseer_trl.grading.structure import strip_brackets
from circuitseer_trl.grading.symbolic import math_verify_equal
from circuitseer_trl.grading.tokens import KNOWN, ParseError, UnknownCommandError
from circuitseer_trl.grading.units import is_measured, split_unit
from circuitseer_trl.grading.values import equal_expressions

MAX_CHARACTERS = 2000
# What Math-Verify evaluates and the rules here do not.
_ALGEBRA = {"sum", "prod", "int", "iint", "lim", "to", "max", "min", "gcd", "lcm", "bmod", "partial"}
_ALGEBRA |= {"matrix", "endmatrix", "cr"}
_GROUPED = re.compile(r"\$?\s*\d{1,3}(?:,\d{3})+\s*\$?")
# What is said before an answer: "the answer is", "解集为", "so".
_SAID_BEFORE = re.compile(
    r'^(?:[A-Za-z]\s*"的[^"不非没无未]{0,8}[为是]:?"|"(?:(?:the )?(?:final )?(?:answer|solution(?: set)?|result)(?: is| are)?:?'
    r'|(?:yes|so|hence|thus|therefore|that is)(?="\s*,)'
    r"|共有?|exactly|approximately|about|(?:不等式|[^\"不非没无未])*(?:答案|解集|结果|取值范围|通解|方程)(?:[是为]|等于)?:?"
    r"|(?:即|故|则|所以|因此|综上)(?:(?:不等式|[^\"不非没无未])*[是为])?:?"
    r'|(?:不等式|(?![不非没无未])[\u3400-\u9fff]){0,12}[为是]:?)")\s*[,:：]?\s*(?=[^\s,.]|\.\d)',
    re.IGNORECASE,
)

_NAMED_LATER = re.compile(r'[,;]\s*"[^"]*[\u3400-\u9fff]"\s*[=:]?\s*[^\s",;]')

Rule = Callable[[Reading, Reading, Asked], bool | None]


def text(gold: Reading, answer: Reading, asked: Asked) -> bool | None:
    """A reference of words alone: what they mean counts.

    Right: `\\text{no, it is not}` for `\\text{No}`. Right: `\\varnothing` for `\\text{no solution}`.
    Wrong: `\\text{No}, 3` for `\\text{No}`.
    """
    if '"' not in gold.text or not re.fullmatch(r'(?:"[^"\d]*"|[\s,.]|\\(?:and|or)(?![A-Za-z]))+', gold.text):
        return None
    if same_phrase(gold.text, answer.text):
        return True
    alone = "," not in gold.text and "\\" not in gold.text and gold.text.count('"') == 2
    return False if alone and re.search("[,\\\\]", answer.text) else None


def time(gold: Reading, answer: Reading, asked: Asked) -> bool | None:
    """A time of day with am or pm.

    Right: `13:58` for `1:58 pm`. Wrong: `1:58 am` for `1:58 pm`.
    """
    minutes = _minutes(gold.text)
    if minutes is None or not re.search("[ap]m", re.sub(r'[\s".]', "", gold.text.casefold())):
        return None
    return minutes == _minutes(answer.text)


def _minutes(text: str) -> int | None:
    """A time of day in minutes; one without am or pm is a 24-hour clock's."""
    match = re.fullmatch(r"(\d{1,2}):(\d\d)([ap]m)?", re.sub(r'[\s".{}\\!]', "", text.casefold()))
    if match is None:
        return None
    hours = int(match[1]) % 12 + 12 * (match[3] == "pm") if match[3] else int(match[1])
    return 60 * hours + int(match[2])


def statements(gold: Reading, answer: Reading, asked: Asked) -> bool | None:
    """Numbers of statements, in any order.

    Right: `4, 1, 3` for `(1)(3)(4)`. Wrong: `(1)(3)` for `(1)(3)(4)`.
    """
    if not re.fullmatch(r"(?:\(\d\)\s*){2,}", gold.text):
        return None
    only_numbers = re.fullmatch(r'(?:[\s,(){}"\\]|and)*\d(?:[\s,(){}"\\]|and|(?<=[\s,(){}"\\d])\d)*', answer.text)
    return bool(only_numbers) and set(re.findall(r"\d", gold.text)) == set(re.findall(r"\d", answer.text))


def ratio(gold: Reading, answer: Reading, asked: Asked) -> bool | None:
    """A ratio of three or more.

    Right: `2:4:6` for `1:2:3`. Wrong: `1:3:2` for `1:2:3`.
    """
    if gold.text.count(":") < 2 or gold.text.count(":") != answer.text.count(":"):
        return None
    (first, *others), (their_first, *theirs) = (
        [parse_expression(part) for part in each.text.split(":")] for each in (gold, answer)
    )
    crossed = (
        (Node("product", (a, their_first)), Node("product", (b, first))) for a, b in zip(others, theirs, strict=True)
    )
    return all(equal_expressions(one, other) for one, other in crossed)


def set_builder(gold: Reading, answer: Reading, asked: Asked) -> bool | None:
    """A set-builder that is no set of reals and no family: only its text can be compared.

    Wrong: `\\{(x,y) \\mid x-y=1\\}` for `\\{(x,y)|x+y=1\\}`. Wrong: `3` for `\\{(x,y)|x+y=1\\}`.
    """
    builders = [_set_builder(each.text) for each in (gold, answer)]
    if not any(builders):
        return None
    if any(
        gold_view is not None and view is not None
        for gold_view, view in ((gold.real_set, answer.real_set), (gold.family, answer.family))
    ):
        return None
    return builders[0] == builders[1]


def _set_builder(text: str) -> str | None:
    """A set-builder without spaces; `None` for anything else."""
    inner = strip_brackets(text, r"\{", r"\}")
    return re.sub(r"\s+", "", inner) if inner is not None and re.search(r"[|:]", inner) else None


def constants(gold: Reading, answer: Reading, asked: Asked) -> bool | None:
    """Functions with arbitrary constants: the same functions, whatever the names and the basis.

    Right: `\\frac{x^2+2}{2}+K` for `\\frac{x^2}{2}+C`. Right: `C_1e^{2x}+C_2e^x` for `C_1e^x+C_2e^{2x}`.
    Wrong: `x^2+C` for `\\frac{x^2}{2}+C`.
    """
    ours = parse_functions(gold.text, of_constants=asked.constants)
    if ours is None:
        return None
    theirs = parse_functions(answer.text, of_constants=asked.constants, known=ours.variables)
    return None if theirs is None else same_functions_up_to_constants(ours, theirs)


RULES: list[Rule] = [text, time, statements, ratio, set_builder, constants]


def compare(gold: str, answer: str, choices: dict[str, str] | None = None, question: str | None = None) -> Judgement:
    """Compares one answer with one reference.

    Args:
        gold: Reference. No answer is right for an empty one.
        answer: Content of the box.
        choices: Option texts by letter, for a reference that is a letter.
        question: The problem, which may name options, blanks and their order, or ask for a percentage.
    """
    if not gold.strip():
        return Judgement(False, "empty_gold")
    if len(gold) > MAX_CHARACTERS or len(answer) > MAX_CHARACTERS:
        return Judgement(gold.strip() == answer.strip(), "too_long")
    letters = gold_letters(gold)
    if letters:
        options = dict(choices or {}) or (options_in(question) if question else {})
        if len(letters) == 1 and (option := gold_option(gold)):
            options |= dict.fromkeys(letters, option)
        same = compare_choice(letters, answer, options, lambda one, other: compare(one, other).correct)
        return Judgement(same, "choice")
    gold_text, answer_text = normalize(gold), normalize(answer)
    if not gold_text:
        return Judgement(False, "empty_gold")
    if not answer_text:
        return Judgement(False, "no_answer")
    asked = asked_in(question)
    try:
        verdict = _compare_texts(gold_text, answer_text, asked)
        if not verdict.correct and (split := _ungrouped(gold, answer)) is not None:
            verdict = _compare_texts(*split, asked)
    except RecursionError:
        return Judgement(False, "too_deep")
    return verdict


def _without_said(text: str) -> str:
    """The text without what is said before it. In "the mean is 5, the variance is 2" the words are names."""
    return text if _NAMED_LATER.search(text) else _SAID_BEFORE.sub("", text)


def _with_unit(gold: Reading, asked: Asked) -> Reading:
    """A bare reference with the unit that the question asks for, where it is one: 5 of "how many metres" is 5 metres."""
    units = {unit for word in asked.units if is_measured(unit := split_unit(f'1 "{word}"')[1])}
    if len(units) != 1 or '"' in gold.text:
        return gold
    word = next(word for word in asked.units if split_unit(f'1 "{word}"')[1] in units)
    return read(f'{gold.text} "{word}"')


def _ungrouped(gold: str, answer: str) -> tuple[str, str] | None:
    """Both texts with 24,112 as two answers, where the other one has several; in brackets it is no number to begin with."""
    ours, theirs = (_GROUPED.fullmatch(text.strip()) for text in (gold, answer))
    if ours and re.search(r"[,;]|and|or|和|或", answer) and "(" not in answer and not theirs:
        return normalize(gold.replace(",", " , ")), normalize(answer)
    if theirs and "," in gold and not ours:
        return normalize(gold), normalize(answer.replace(",", " , "))
    return None


def _compare_texts(gold_text: str, answer_text: str, asked: Asked) -> Judgement:
    gold, answer = map(read, without_moduli(gold_text, answer_text))
    if gold.compact == answer.compact:
        return Judgement(True, "same_text")
    gold, answer = (read(_without_said(each.text)).without_system for each in (gold, answer))
    if gold.compact == answer.compact:
        return Judgement(True, "same_text")
    if answer.unit and not gold.unit and len(gold.pieces) == 1:
        gold = _with_unit(gold, asked)
    for rule in RULES:
        try:
            if (decided := rule(gold, answer, asked)) is not None:
                return Judgement(decided, rule.__name__)
        except (ParseError, TooCostlyError):
            continue
    if asked.percent and gold.text.count("%") != answer.text.count("%"):
        gold, answer = (read(each.text.replace("%", "")) for each in (gold, answer))
    if re.fullmatch(r"-?\d+\.\d+", gold.text) and re.fullmatch(r"-?\d+,\d+", answer.text):
        answer = read(answer.text.replace(",", "."))  # a decimal comma
    try:
        return compare_lists(gold, answer, asked)
    except TooCostlyError:
        return Judgement(False, "too_costly")
    except UnknownCommandError:
        if gold.is_words:
            return Judgement(same_phrase(gold.text, answer.text), "text")
        unknown = set(re.findall(r"\\([A-Za-z]+)", gold.text + answer.text)) - KNOWN
        if not unknown <= _ALGEBRA:
            return Judgement(False, "not_understood")
        try:
            equal = math_verify_equal(gold.text, answer.text)
        except TooCostlyError:
            return Judgement(False, "too_costly")
        return Judgement(False, "not_understood") if equal is None else Judgement(equal, "math_verify")
    except ParseError:
        if '"' in gold.text:
            return Judgement(same_phrase(gold.text, answer.text), "text")
        return Judgement(False, "not_understood")
