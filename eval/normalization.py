"""Brings answers into one spelling: unicode, LaTeX's many spaces and styles, thousands separators, words."""

import re
import unicodedata

_UNICODE = {
    "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "∗": "*", "÷": "/", "∕": "/", "⁄": "/", "−": "-",
    "–": "-", "—": "-", "‐": "-", "‑": "-", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ",
    "⩾": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "°": r"^{\circ}",
    "º": r"^{\circ}", "±": r"\pm ", "∓": r"\mp ", "、": ",", "。": ".", "∶": ":", "′": "'", "ℝ": r"\mathbb{R}",
    "ℤ": r"\mathbb{Z}", "，": ",", "【": "[", "】": "]", "｛": r"\{", "｝": r"\}", "〔": "(", "〕": ")",
    "⟨": "(", "⟩": ")",
}  # fmt: skip
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi "
    "psi omega"
)
_UNICODE |= {
    unicodedata.lookup(f"GREEK SMALL LETTER {'LAMDA' if name == 'lambda' else name.upper()}"): f"\\{name} "
    for name in _GREEK.split()
}
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-")

_FUNCTION_NAMES = (
    "arcsin arccos arctan arccot sinh cosh tanh sin cos tan cot sec csc ln log lg exp sqrt frac max min gcd lcm"
)
FUNCTIONS = _FUNCTION_NAMES.split()
_BARE = re.compile(rf"(?<![\\A-Za-z])({'|'.join([*FUNCTIONS, 'pi', 'infty', 'cup', *_GREEK.split()])})(?![A-Za-z])")
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mbox|hbox|textup|mathrm|mathsf|mathit|mathtt|operatorname\*?|rm|bf)\s*\{([^{}]*)\}"
)
_STYLE = re.compile(
    r"\\(?:mathbf|mathbb|mathcal|mathscr|boldsymbol|bm|pmb|vec|overrightarrow|overline|bar|hat|widehat|boxed|fbox|ensuremath)\s*\{([^{}]*)\}"
)
_SPACES = re.compile(
    r"\\[,;:! >]|\\(?:quad|qquad|thinspace|enspace|hspace\{[^{}]*\}|phantom\{[^{}]*\})(?![A-Za-z])|~|&nbsp;|\s"
)
_DROPPED = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|rm|bf|it|mathop|mathord|mathrm)(?![A-Za-z])\s*|\$|\\[()\[\]](?!\])"
)
_RENAMED = [
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:leqslant|leq|leqq)(?![A-Za-z])"), r"\\le"),
    (re.compile(r"\\(?:geqslant|geq|geqq)(?![A-Za-z])"), r"\\ge"),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:lbrace)(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\(?:mid|vert|lvert|rvert)(?![A-Za-z])"), "|"),
    (re.compile(r"\\(?:lparen)(?![A-Za-z])"), "("),
    (re.compile(r"\\(?:rparen)(?![A-Za-z])"), ")"),
    (re.compile(r"\\(?:lbrack)(?![A-Za-z])"), "["),
    (re.compile(r"\\(?:rbrack)(?![A-Za-z])"), "]"),
    (re.compile(r"\\(?:varnothing)(?![A-Za-z])"), r"\\emptyset"),
    (re.compile(r"\\(?:ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\var(epsilon|theta|phi|rho|sigma|pi)(?![A-Za-z])"), r"\\\1"),
    (re.compile(r"\\(?:degree|textdegree|deg)(?![A-Za-z])"), r"^{\\circ}"),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?"), r"^{\\circ}"),
    (re.compile(r"\\%|\\text\{\s*%\s*\}"), "%"),
    (re.compile(r"\\(?:lnot|neg)(?![A-Za-z])"), "¬"),
    (re.compile(r"(?<![\\A-Za-z])[Pp]ercent(?:age)?\b"), "%"),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"\*\*"), "^"),
]


def fold_unicode(text: str) -> str:
    """One character for each of its many forms; characters that are not seen are gone."""
    if text.isascii():
        return text
    out = []
    for character in text:
        if character in _UNICODE:
            out.append(_UNICODE[character])
        elif (folded := character.translate(_SUPERSCRIPT)) != character:
            out.append(f"^{{{folded}}}")
        elif (folded := character.translate(_SUBSCRIPT)) != character:
            out.append(f"_{{{folded}}}")
        elif unicodedata.category(character) == "Nd":
            out.append(str(unicodedata.decimal(character)))
        elif unicodedata.category(character) == "No" and "⁄" in unicodedata.normalize("NFKC", character):
            out.append(r"\frac{{{}}}{{{}}}".format(*unicodedata.normalize("NFKC", character).split("⁄")))
        elif unicodedata.category(character) != "Cf":
            out.append("".join(_UNICODE.get(c, c) for c in unicodedata.normalize("NFKC", character)))
    folded = "".join(out).replace("}^{", "") if "⁰" in text else "".join(out)
    folded = re.sub(r"(?<=[0-9])\}\^\{(?=[0-9+-])", "", folded)
    return re.sub(r"√\s*(\d+|[A-Za-z]|\([^()]*\)|\{[^{}]*\})", lambda m: rf"\sqrt{{{m[1].strip('(){}')}}}", folded)


def _quote(match: re.Match[str]) -> str:
    """Text of one letter is that letter; longer text is kept apart as a word, or it would be a product of letters."""
    text = match[1].strip()
    if text in ("and", "or", "And", "Or"):
        return f" \\{text.lower()} "
    if len(text) <= 1 or re.fullmatch(r"[\d.,%+\-*/=<>()\[\]^|\s\\{}]+", text):
        return f" {match[1]} "
    bare = text.replace('"', "")
    if bare.casefold() in ("percent", "percentage", "per cent"):
        return " % "
    if bare in FUNCTIONS:
        return f"\\{bare} "
    return f' "{bare}" '


def _repeating_decimal(match: re.Match[str]) -> str:
    whole, fixed, period = match[1] or "0", match[2], match[3]
    numerator = int(whole + fixed + period) - int(whole + fixed)
    return rf"\frac{{{numerator}}}{{{'9' * len(period)}{'0' * len(fixed)}}}"


_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")


def _join_thousands(match: re.Match[str]) -> str:
    """120,000 is one number, but (12,102) is a pair."""
    before = match.string[: match.start()]
    opened = sum(before.count(each) for each in ("(", "[", r"\{")) - sum(
        before.count(each) for each in (")", "]", r"\}")
    )
    return match.group() if opened > 0 else match.group().replace(",", "")


def normalize(text: str) -> str:
    """The text with one spelling for each symbol, without styles and spare spaces; words stand in double quotes."""
    text = fold_unicode(text).replace('"', "").replace("\x0crac", r"\frac").replace("\x08", r"\b")
    text = re.sub(r"\t(?=ext\b|imes\b|heta\b|an\b|frac\b)", r"\\t", text)
    text = re.sub(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{?(\d+)\}?", _repeating_decimal, text)
    # Rows of a matrix end with two backslashes; elsewhere the second one is an escape too many.
    text = re.sub(r"\\\\(?:\[[^\]]*\])?", r"\\cr ", text) if r"\begin" in text else text.replace("\\\\", "\\")
    text = re.sub(r"(?<=\d)\s*(?:\{,\}|,\s*\\!|\\!\s*,|\{,\s*\\!\}|\\,)\s*(?=\d{3}(?!\d))", "", text)
    text = text.replace(r"\$", "").replace(r"\#", "").replace(r"\&", "&")
    for _ in range(4):
        before = text
        text = _TEXT.sub(_quote, text)
        # A single symbol loses its braces, so that a subscript finds it.
        text = _STYLE.sub(
            lambda m: f" {m[1]} " if re.fullmatch(r"\s*(\\?[A-Za-z]+|\d)\s*", m[1]) else f"{{{m[1]}}}", text
        )
        if text == before:
            break
    text = re.sub(r"\\(?:vec|bar|hat|mathbf|boldsymbol)\s+([A-Za-z])(?![A-Za-z])", r"\1", text)
    text = _DROPPED.sub(" ", text)
    for pattern, replacement in _RENAMED:
        text = pattern.sub(replacement, text)
    text = re.sub(r"\\begin\{(?:\w*matrix|array)\}(?:\{[^{}]*\})?", r"\\matrix ", text)
    text = re.sub(r"\\end\{(?:\w*matrix|array)\}", r"\\endmatrix ", text)
    parts = re.split(r'("[^"]*")', text)
    for number in range(0, len(parts), 2):
        part = _SPACES.sub(" ", parts[number])
        part = re.sub(r"(?<![\\A-Za-z])(and|or)(?![A-Za-z])|[和或]", r" \\and ", part)
        part = re.sub(r"(?<=\d)[eE]([+-]?\d+)(?![\d.])", r"\\times 10^{\1}", part)
        part = re.sub(r"\((\w+)\)\s*_", r"\1_", part)  # (52)_8
        part = _BARE.sub(r"\\\1", part)
        # Four letters in a row are a word that someone wrote, not a product.
        part = re.sub(r"(?<![\\A-Za-z_])(?!_)([A-Za-z]{4,})(?![A-Za-z])", r' "\1" ', part)
        parts[number] = re.sub(r"[\u3400-\u9fff]+", lambda m: f' "{m[0]}" ', part)
    text = re.sub(r"\\or\b", r"\\and", "".join(parts))
    text = _THOUSANDS.sub(_join_thousands, text)
    text = re.sub(r"(?<![\d.])(\d{1,3})((?: \d{3})+)(?!\d)", lambda m: m[1] + m[2].replace(" ", ""), text)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"(?<!\\)[.;,:]+$", "", text).strip()
