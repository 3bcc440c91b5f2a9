"""Answers made from a reference by rewritings that keep its value, and by others that change it. Nothing here uses the grader."""

import re
from collections.abc import Iterator
from fractions import Fraction

Answers = Iterator[tuple[str, str]]  # name of the rewriting, answer

_COMPONENT = r"[^(),\[\]]+(?:\([^(),]*\)[^(),\[\]]*)*"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_OTHER = re.compile(
    r"[\u3400-\u9fff（．]|\\text|\\mbox|\$|;|\\quad|begin|\\\{|\bor\b|\band\b|[ap]m$|^(?:\(\d\))+$|sum|int_|[{:]\s*[a-z]\s*[|:]"
)
_RELATION = re.compile(r"[=<>,|%]|\\[lg]e|\\in|[A-Za-z]{4}|_")
_NO_CURVE = re.compile(r"[,<>]|\\le|\\ge|\\in|\\approx|[a-zA-Z]\(\w+\)\s*=|^\s*[a-wA-Z]\w*\s*=")
_END = re.compile(r"(?<!\\left)(?<!\\right)[(\[](?!\s*-\s*(?:\\infty|∞))|(?<!infty)(?<!∞)[)\]](?!\s*\\right)")
VALUES = ("number", "fraction", "expression")

# By type: what keeps the value of @, and what changes it.
KEPT = {
    "any": [r"@.", r"\displaystyle @", r"$@$", r"\boxed{@}", r"\text{The answer is }@", r"\text{答案为 }@"],
    "choice": [r"\text{@}", "(@)", r"\mathbf{@}", r"\text{(@)}", "@.", r"\boxed{@}", "故选：@"],
    "value": [
        "(@)", "0+@", r"1\cdot\left(@\right)", "(@)+3-3", "x = @", r"\frac{2\left(@\right)}{2}",
        r"-\left(-\left(@\right)\right)", r"\left(@\right)^{1}",
    ],
    "number": [r"\sqrt[3]{\left(@\right)^{3}}"],
    "fraction": [r"\sqrt[3]{\left(@\right)^{3}}"],
    "tuple": ["P@"],
    "interval": [r"x\in @"],
}  # fmt: skip
CHANGED = {
    "value": [
        "(@)+1", r"2\left(@\right)+7919", r"\left(@\right)+i", r"\text{not }@", "x > @", r"x \ne @", "@, 7919",
        "(@, 7919)", r"@\text{ or }7919", r"[@, \infty)", r"@+\infty",
    ],
    "number": ["-(@)", r"@\text{ million}", r"@\cdot 100", "@_{17}"],
    "interval": [r"\mathbb{R}\setminus @", "7919"],
}  # fmt: skip


def bare(gold: str) -> str:
    return gold.strip().strip("$").strip()


def kind_of(gold: str) -> str:
    """The type of a reference, from its looks."""
    if re.fullmatch(r"\(?[A-K]\)?|[A-D](?:\s*[A-D])+", gold):
        return "choice"
    if not gold or _OTHER.search(gold):
        return "other"
    if _NUMBER.fullmatch(gold):
        return "number"
    if re.fullmatch(r"\d+_\{?\d+\}?", gold):
        return "base"
    if re.fullmatch(r"-?\\d?frac\{-?\d+\}\{\d+\}", gold):
        return "fraction"
    if re.search(r"infty|∞|\]|^\[|\\cup", gold) and not re.search(r"=|sqrt\[|,.*,.*\(|\\le(?!ft)|\\ge|\\in\s", gold):
        return "interval"
    if re.fullmatch(rf"(?:\\left)?\({_COMPONENT}(?:,{_COMPONENT})+(?:\\right)?\)", gold):
        return "tuple"
    if "," in gold and not re.search(r"[\[(=]", gold) and not re.fullmatch(r"\d{1,3}(,(\\!)?\s*\d{3})+", gold):
        return "list"
    if gold.count("=") == 1 and not _NO_CURVE.search(gold):
        return "equation"
    without_names = re.sub(r"\\(?!geq|leq|le\b|ge\b|in\b)[A-Za-z]+", "", gold)
    return "other" if _RELATION.search(without_names) else "expression"


def _filled(forms: dict[str, list[str]], kind: str, gold: str) -> Answers:
    for form in (*forms.get(kind, []), *(forms["value"] if kind in VALUES else [])):
        yield form, form.replace("@", gold)


def kept(gold: str, in_order: bool) -> Answers:
    """Answers with the value of the reference."""
    gold, kind = bare(gold), kind_of(bare(gold))
    yield from _filled(KEPT, kind, gold)
    if kind == "choice":
        return
    yield from ((form, form.replace("@", gold)) for form in KEPT["any"] if "$" not in gold)
    yield from (("minus", gold.replace("-", "−")), ("spaces", gold.replace("+", " + ").replace("=", " = ")))
    yield from ((name, gold.replace(r"\frac", rf"\{name}")) for name in ("tfrac", "dfrac"))
    if kind != "other":
        sized = re.sub(r"(?<!left)(?<!right)([()])", lambda m: (r"\left" if m[1] == "(" else r"\right") + m[1], gold)
        yield "left", sized
    if kind == "number":
        value = Fraction(gold)
        yield "fraction", rf"\frac{{{3 * value.numerator}}}{{{3 * value.denominator}}}"
        yield "decimal", gold + ("0" if "." in gold else ".0")
    if kind == "fraction":
        top, bottom = map(int, re.findall(r"-?\d+", gold.removeprefix("-")))
        top = -top if gold.startswith("-") else top
        yield from (("slash", f"{top}/{bottom}"), ("division", rf"{top}\div {bottom}"))
        yield "wider", rf"\frac{{{7 * top}}}{{{7 * bottom}}}"
    if kind == "interval":
        yield "plus", re.sub(r"(?<![-+])\\infty", r"+\\infty", gold)
    if kind == "list":
        items = [item.strip() for item in gold.split(",")]
        yield from (("and", r" \text{ and } ".join(items)), ("comma", r",\ ".join(items)))
        if not in_order:
            yield from (("reversed", ", ".join(reversed(items))), ("rotated", ", ".join([*items[1:], items[0]])))
    if kind == "equation":
        left, right = gold.split("=")
        yield from (("sides", f"{right}={left}"), ("zero", f"{left}-({right})=0"), ("more", f"{left}+1={right}+1"))
        yield "twice", rf"2\left({left}\right)=2\left({right}\right)"
    if kind == "base":
        number, base = re.findall(r"\d+", gold)
        yield from (("brace", f"{number}_{{{base}}}"), ("bracket", f"({number})_{base}"))
        yield "words", rf"{number}\text{{ (base {base})}}"


def changed(gold: str, in_order: bool) -> Answers:
    """Answers with another value than the reference."""
    gold, kind = bare(gold), kind_of(bare(gold))
    if kind == "choice":
        letters = re.findall("[A-K]", gold)
        for letter in "ABCD":
            if letter not in letters:
                yield from (
                    ("letter", letter),
                    ("letter", rf"\text{{({letter})}}"),
                    ("more", "".join([*letters, letter])),
                )
        yield from (("not", rf"\text{{not }}{gold}"), ("none", r"\text{none}"))
        if len(letters) > 1:
            yield "dropped", "".join(letters[1:])
    if kind in ("choice", "other"):
        return
    for match in list(re.finditer(r"\d", gold))[:8]:
        for step in (1, 9) if kind != "equation" else (1,):
            digit = str((int(match[0]) + step) % 10)
            if digit != "0" or not gold[: match.start()].endswith("}{"):  # no zero below
                yield "digit", gold[: match.start()] + digit + gold[match.end() :]
    yield from _moved_braces(gold)
    for match in re.finditer(r"(?<=[\w})])\s*([+-])\s*(?=[\w\\(])", gold):
        yield "sign", gold[: match.start()] + ("-" if match[1] == "+" else "+") + gold[match.end() :]
    yield from _filled(CHANGED, kind, gold) if kind != "number" or Fraction(gold) else ()
    if kind == "number":
        if Fraction(gold):
            yield "percent", rf"{gold}\%"
        yield "near", f"{float(Fraction(gold) + Fraction(1, 20000)):.5f}"
    if kind == "base":
        number, base = re.findall(r"\d+", gold)
        yield from (("base", f"{number}_{{{int(base) + 1}}}"), ("base", number), ("base", f"{number}_{{10}}"))
    if kind in ("tuple", "list"):
        yield from _other_items(gold, kind, in_order)
    if kind == "interval" and not re.search("frac|sqrt|left", gold):
        for match in _END.finditer(gold):
            flipped = {"(": "[", "[": "(", ")": "]", "]": ")"}[match[0]]
            yield "end", gold[: match.start()] + flipped + gold[match.end() :]
    if kind == "equation":
        left, right = gold.split("=")
        yield from (
            ("relation", f"{left}<{right}"),
            ("relation", rf"{left}\ge {right}"),
            ("relation", rf"{left}\ne {right}"),
        )
        yield from (("more", f"{left}+1={right}"), ("two", f"{gold}, 7919"))


def _moved_braces(gold: str) -> Answers:
    for match in re.finditer(r"\^\{([^{}]*)\}", gold):
        inner, before, after = match[1].strip(), gold[: match.start()], gold[match.end() :]
        if len(inner) > 1 and not inner.startswith(("-", "\\", "+")) and not re.fullmatch(r"1+", inner):
            yield "brace moved in", f"{before}^{{{inner[0]}}}{inner[1:]}{after}"
        if following := re.match(r"\s*([+-]\s*\d+|[a-z](?![a-z]))", after):
            yield "brace moved out", f"{before}^{{{inner}{following[1]}}}{after[following.end() :]}"
    for match in re.finditer(r"\\sqrt\{([^{}]+)\}\s*([+-]\s*\d+)", gold):
        yield "root", f"{gold[: match.start()]}\\sqrt{{{match[1]}{match[2]}}}{gold[match.end() :]}"


def _other_items(gold: str, kind: str, in_order: bool) -> Answers:
    """An item dropped, added or doubled, and two that have an order swapped."""
    inner = re.sub(r"^(?:\\left)?\(|(?:\\right)?\)$", "", gold) if kind == "tuple" else gold
    items = [item.strip() for item in inner.split(",")]
    around = "({})" if kind == "tuple" else "{}"
    for place in range(len(items)):
        yield "dropped", around.format(", ".join(items[:place] + items[place + 1 :]))
    yield "added", around.format(", ".join([*items, "7919"]))
    if items[0] != items[1] and (kind == "tuple" or in_order):
        yield "swapped", around.format(", ".join([items[1], items[0], *items[2:]]))
    if kind == "list":
        yield "doubled", ", ".join([*items, items[0]])
