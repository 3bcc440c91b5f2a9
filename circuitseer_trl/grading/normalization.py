"""How are answers brought into one spelling? Unicode, LaTeX's many spaces and styles, thousands separators, words."""

import re
import unicodedata

from circuitseer_trl.grading.chinese import chinese_signs
from circuitseer_trl.grading.extraction import without_boxes
from circuitseer_trl.grading.tokens import FUNCTIONS as PARSED_FUNCTIONS

_UNICODE = {
    "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "∗": "*", "÷": "/", "∕": "/", "⁄": "/", "−": "-",
    "–": "-", "—": "-", "‐": "-", "‑": "-", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ",
    "⩾": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "°": r"^{\circ}",
    "º": r"^{\circ}", "˚": r"^{\circ}", "∘": r"^{\circ}", "…": r"\dots ", "⋯": r"\dots ", "∖": r"\setminus ",
    "±": r"\pm ", "∓": r"\mp ", "、": ",", "。": ".", "∶": ":", "′": "'", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}",
    "，": ",", "【": "[", "】": "]", "｛": r"\{", "｝": r"\}", "〔": "(", "〕": ")", "⟨": "(", "⟩": ")", "⌊": r"\lfloor ",
    "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "→": r"\to ", "∣": "|", "‖": "|", "≈": r"\approx ",
    "≡": r"\equiv ", "¬": r"\neg ", "∠": r"\angle ", "△": r"\triangle ", "⊥": r"\perp ", "∥": r"\parallel ",
    "¢": " cents ", "€": "", "£": "", "￥": "", "¥": "",
}  # fmt: skip
_UNICODE |= {chr(0x2460 + number): f"({number + 1})" for number in range(20)}  # circled numbers
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi "
    "psi omega"
)
_UNICODE |= {
    unicodedata.lookup(f"GREEK SMALL LETTER {'LAMDA' if name == 'lambda' else name.upper()}"): f"\\{name} "
    for name in _GREEK.split()
}
_SUPERSCRIPTS, _SUBSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿˣ", "₀₁₂₃₄₅₆₇₈₉₊₋ₙ"
_SUPERSCRIPT = str.maketrans(_SUPERSCRIPTS, "0123456789+-()nx")
_SUBSCRIPT = str.maketrans(_SUBSCRIPTS, "0123456789+-n")
_ROOT = re.compile(r"([√∛∜])\s*(\d+(?:\.\d+)?|[A-Za-z]|\([^()]*\)|\{[^{}]*\})")
_DEGREES = {"√": "", "∛": "[3]", "∜": "[4]"}

FUNCTIONS = [*PARSED_FUNCTIONS, "sqrt", "frac", "max", "min", "gcd", "lcm"]
_BARE_NAMES = [*sorted(FUNCTIONS, key=len, reverse=True), "pi", "infty", "cup", *_GREEK.split()]
_BARE = re.compile(rf"(?<![\\A-Za-z])({'|'.join(_BARE_NAMES)})(?![A-Za-z])")
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mbox|hbox|textup|mathrm|mathsf|mathit|mathtt|operatorname\*?|rm|bf)\s*\{((?:[^{}]|\{[^{}\\]*\})*)\}"
)
_UNIT_VECTOR = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|hat|vec|overrightarrow)\s*\{?\s*\\?([ijk])(?:math)?\s*\}?(?![A-Za-z])"
)
_STYLE = re.compile(
    r"\\(?:mathbf|mathbb|mathcal|mathscr|boldsymbol|bm|pmb|vec|overrightarrow|overline|underline|bar|hat|widehat|boxed|fbox|ensuremath)\s*\{([^{}]*)\}"
)
_SPACES = re.compile(
    r"\\[,;:! >/]|\\(?:quad|qquad|thinspace|enspace|hspace\{[^{}]*\}|phantom\{[^{}]*\})(?![A-Za-z])|~|&nbsp;|\s"
)
_DROPPED = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|rm|bf|it|mathop|mathord|mathrm|middle|normalsize|[lL]arge|LARGE|[hH]uge)(?![A-Za-z])\s*|\$|\\[()\[\]](?!\])"
)
_COMMANDS = {
    "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "leqslant": r"\le", "leq": r"\le", "leqq": r"\le",
    "geqslant": r"\ge", "geq": r"\ge", "geqq": r"\ge", "neq": r"\ne", "lt": "<", "gt": ">", "lbrace": r"\{",
    "rbrace": r"\}", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "lparen": "(", "rparen": ")", "lbrack": "[",
    "rbrack": "]", "langle": "(", "rangle": ")", "varnothing": r"\emptyset", "ast": "*", "varepsilon": r"\epsilon",
    "vartheta": r"\theta", "varphi": r"\phi", "varrho": r"\rho", "varsigma": r"\sigma", "varpi": r"\pi",
    "degree": r"^{\circ}", "textdegree": r"^{\circ}", "deg": r"^{\circ}", "lnot": "¬", "neg": "¬",
    "backslash": r"\setminus", "smallsetminus": r"\setminus", "colon": ":",
} | dict.fromkeys(("ldots", "cdots", "dotsc", "dotsb"), r"\dots")  # fmt: skip
_COMMAND = re.compile(rf"\\({'|'.join(_COMMANDS)})(?![A-Za-z])")
_RENAMED = [
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))"), r"^{\\circ}"),
    (re.compile(r"\\%|\\text\{\s*%\s*\}"), "%"),
    (re.compile(r"(?<![\\A-Za-z])(?:[Pp]ercent(?:age)?|pct)\b"), "%"),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"(?<!\d)!="), r"\\ne "),
    (re.compile(r"\.\.\.+"), r"\\dots"),
    (re.compile(r"\{:\}"), ":"),
    (re.compile(r"\^\s*\{?\s*\\prime\s*\}?"), "'"),
    (re.compile(r"(?<=\d)\^\s*\{?[oO]\}?(?![A-Za-z0-9])"), r"^{\\circ}"),
    (re.compile(r"(?<=[)\]])\s*U\s*(?=[(\[])"), r"\\cup "),
    (re.compile(r"//|\\\|"), r"\\parallel "),
    (re.compile(r"\*\*"), "^"),
]


def fold_unicode(text: str) -> str:
    """Replaces the many forms of a character by one, and removes characters that are not visible."""
    if text.isascii():
        return text
    text = re.sub(f"[{_SUPERSCRIPTS}]+", lambda m: f"^{{{m[0].translate(_SUPERSCRIPT)}}}", text)
    text = re.sub(f"[{_SUBSCRIPTS}]+", lambda m: f"_{{{m[0].translate(_SUBSCRIPT)}}}", text)
    out = []
    for character in text:
        if character in _UNICODE:
            out.append(_UNICODE[character])
        elif (category := unicodedata.category(character)) == "Nd":
            out.append(str(unicodedata.decimal(character)))
        elif category == "No" and "⁄" in unicodedata.normalize("NFKC", character):
            out.append(r"\frac{{{}}}{{{}}}".format(*unicodedata.normalize("NFKC", character).split("⁄")))
        elif category != "Cf":
            out.append("".join(_UNICODE.get(c, c) for c in unicodedata.normalize("NFKC", character)))
    return _ROOT.sub(lambda m: rf"\sqrt{_DEGREES[m[1]]}{{{m[2].strip('(){}')}}}", "".join(out))


_WORD_SIGNS = {
    "and": r"\and", "or": r"\or", "or else": r"\or", "infinity": r"\infty", "positive infinity": r"\infty",
    "negative infinity": r"-\infty", "empty set": r"\emptyset", "the empty set": r"\emptyset", "percent": "%",
    "percentage": "%", "per cent": "%", "pct": "%", "to": ":", "pi": r"\pi",
    "plus or minus": r"\pm", "union": r"\cup", "negative": "-", "minus": "-", "base": "_",
}  # fmt: skip
_NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
_CHINESE_NUMBERS = "零一二三四五六七八九十"
_NUMBERS = {word: str(value) for words in (_NUMBER_WORDS, _CHINESE_NUMBERS) for value, word in enumerate(words)}
_UNIT_LETTERS = frozenset("mgshLNJW")


def _quote(match: re.Match[str]) -> str:
    """Text of one letter is that letter; longer text is kept apart as words, or it would be a product of letters."""
    text = match[1].strip()
    if (
        len(text) == 1
        and text in _UNIT_LETTERS
        and re.search(r"[\d})]\s*(?:\\[,;: ]|~)?\s*$", match.string[: match.start()])
    ):
        return f' "{text}" '  # 5\text{ m}
    if len(text) <= 1 or re.fullmatch(r"[\d.,%+\-*/=<>()\[\]^|\s\\{}:]+", text):
        return f" {match[1]} "
    if counted := re.fullmatch(r"(-?\d[\d.,/:]*)\s+([A-Za-z][^\d]*)", text):
        return f" {counted[1]} {_word(counted[2])}"  # 12 people
    if counted := re.fullmatch(r"([\u3400-\u9fff]+)\s*(-?\d[\d.,/]*)\s*([\u3400-\u9fff]*)", text):
        return f"{_word(counted[1])} {counted[2]} {_word(counted[3]) if counted[3] else ''}"  # 共有3种
    if based := re.fullmatch(r"(\w+)\s*\(?\s*(?:in )?base[\s-]*(\w+)\s*\)?", text):
        return f" {based[1]}_{{{based[2]}}} "
    if re.search(r",|;|、|\b(?:and|or)\b", text):
        # A list within a text: each of its parts is one.
        parts = re.split(r"(\s*[,;、]\s*(?:(?:and|or)\b)?|\s*\b(?:and|or)\b)\s*", text)
        return "".join(
            _separator(p) if n % 2 else (_word(p) if len(p.strip()) > 1 else f" {p} ") for n, p in enumerate(parts)
        )
    return _word(text)


def _separator(text: str) -> str:
    return r" \or " if "or" in text else r" \and " if "and" in text else " , "


def _word(text: str) -> str:
    bare = text.replace('"', "").strip()
    if re.fullmatch(r"[\d.,%+\-*/=<>()\[\]^|\s\\{}:]*", bare):
        return f" {bare} "
    sign = _WORD_SIGNS.get(bare.casefold().strip(" .:"))
    if sign is not None:
        return f" {sign} "
    if bare in FUNCTIONS:
        return f"\\{bare} "
    return f' "{bare}" '


def _endless_decimal(match: re.Match[str]) -> str:
    """0.333... and 0.1666... with their period marked, if what is written shows one."""
    whole, digits = match[1] or "0", match[2]
    for length in range(1, len(digits) // 2 + 1):
        period = digits[-length:]
        count = 0
        while digits[: len(digits) - count * length].endswith(period):
            count += 1
        if count * length >= 3:
            fixed = digits[: len(digits) - count * length]
            return rf"{whole}.{fixed}\overline{{{period}}}"
    return match.group()


def _repeating_decimal(match: re.Match[str]) -> str:
    whole, fixed, period = match[1] or "0", match[2], match[3]
    numerator = int(whole + fixed + period) - int(whole + fixed)
    return rf"\frac{{{numerator}}}{{{'9' * len(period)}{'0' * len(fixed)}}}"


_SHORT_WORDS = re.compile(r"(?<![\\A-Za-z])(for|all|the|not|yes|odd|any|if|is|no|are)(?![A-Za-z])", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")


def _join_thousands(match: re.Match[str]) -> str:
    """120,000 is one number, but (12,102) is a pair."""
    before = match.string[: match.start()]
    opened = sum(before.count(each) for each in ("(", "[", r"\{")) - sum(
        before.count(each) for each in (")", "]", r"\}")
    )
    return match.group() if opened > 0 else match.group().replace(",", "")


def _currency(match: re.Match[str]) -> str:
    """€5 and 5€ as five euros."""
    sign = match[1] or match[4]
    return rf"{match[2] or match[3]} \text{{{'euros' if sign == '€' else 'pounds'}}}"


_LINES = r'\\begin\{\s*"?(?:aligned|gathered|split)"?\s*\}(.*)\\end\{\s*"?(?:aligned|gathered|split)"?\s*\}'


def _of_lines(text: str) -> str:
    """Lines of one environment: of cases after a brace; else a chain that goes on in its next line, or a list."""
    text = re.sub(rf"\\\{{\s*{_LINES}", r"\\{\\begin{matrix}\1\\end{matrix}", text, flags=re.DOTALL)
    lines = re.fullmatch(rf"\s*{_LINES}\s*", text, re.DOTALL)
    if lines is None:
        return text
    chained = re.sub(r"\\cr\s*&?\s*(?==)", " ", lines[1])
    return re.sub(r"&(?=\s*(?:[=<>]|\\[lg]e))", "", chained).replace(r"\cr", " , ")


def normalize(text: str) -> str:
    """The text with one spelling for each symbol, without styles and spare spaces; words stand in double quotes."""
    text = text if text.isascii() else chinese_signs(text)
    text = re.sub(r"([€£])\s*(-?\d[\d.,]*)|(\d)\s*([€£])", _currency, text)
    text = re.sub(r"\s{2,}", " ", fold_unicode(without_boxes(text)).replace('"', "").replace("`", "")).strip()
    text = re.sub(r"^\s*\*\*([^*]+)\*\*[.\s]*$", r"\1", text)  # Markdown's bold
    if re.fullmatch(r"\{\s*'\w+':.*\}", text):  # a Python dictionary of blanks
        text = re.sub(r"'(\w+)':\s*'([^']*)'", lambda m: f"{m[1]}={m[2]}".replace("\\\\", "\\"), text[1:-1])
    text = text.replace("\x0crac", r"\frac").replace("\x08", r"\b")
    text = re.sub(r"\\(?:text)?color\s*\{\w+\}|\\(?:checkmark|hline)(?![A-Za-z])|[✓✔]", " ", text)
    text = text.replace(r"\left<", "(").replace(r"\right>", ")")
    text = re.sub(r"\t(?=ext\b|imes\b|heta\b|an\b|frac\b)", r"\\t", text)
    text = re.sub(r"(?<!\d)(\d*)\.(\d+)\s*(?:\.\.\.+|\\[lc]?dots[cb]?(?![A-Za-z]))", _endless_decimal, text)
    text = re.sub(r"(?<!\d)(\d+)\.(\d*)\((\d+)\)(?![\d^])", r"\1.\2\\overline{\3}", text)  # 4.(6)
    text = re.sub(r"\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?", r"\\overline{\1\2\3}", text)
    text = re.sub(r"(?<!\d)(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{?(\d+)\}?", _repeating_decimal, text)
    # Rows of a matrix end with two backslashes; elsewhere the second one is an escape too many.
    text = re.sub(r"\\\\(?:\[[^\]]*\])?", r"\\cr ", text) if r"\begin" in text else text.replace("\\\\", "\\")
    text = re.sub(r"(?<=\d)\s*(?:\{,\}|,\s*\\!|\\!\s*,|\{,\s*\\!\}|\\,)\s*(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(^|[\s{~])\\\$\s*(-?[\d.,{}\\!]*\d)(?=\s*(?:$|\$|\\[)\]]))", r"\1\2 \\text{dollars}", text)
    # Assignments with only space between them: x=3 \quad y=4
    text = re.sub(r"(?<==)([^=&]*?)\\q?quad\s*(?=[A-Za-z]\w*\s*=)", r"\1 , ", text)
    text = text.replace(r"\$", "").replace(r"\#", "").replace(r"\&", "&")
    if len(set(_UNIT_VECTOR.findall(text))) > 1:
        text = _UNIT_VECTOR.sub(r' "unit \1" ', text)
    for _ in range(4):
        before = text
        text = _TEXT.sub(_quote, text)
        # A single symbol loses its braces, so that a subscript finds it.
        text = _STYLE.sub(
            lambda m: f" {m[1]} " if re.fullmatch(r"\s*(\\?[A-Za-z]+|\d)\s*", m[1]) else f"{{{m[1]}}}", text
        )
        if text == before:
            break
    text = re.sub(r"\\(?:vec|bar|hat|mathbf|mathbb|mathrm|mathcal|boldsymbol)\s+([A-Za-z])(?![A-Za-z])", r"\1", text)
    text = _DROPPED.sub(" ", text)
    text = _COMMAND.sub(lambda m: _COMMANDS[m[1]], text)
    for pattern, replacement in _RENAMED:
        text = pattern.sub(replacement, text)
    text = _of_lines(text)
    text = re.sub(r"\\(?:begin|end)\{vmatrix\}", r"\\determinant ", text)
    text = re.sub(
        r"\\(begin|end)\{[rd]?cases\}", lambda m: r"\{\begin{matrix}" if m[1] == "begin" else r"\end{matrix}", text
    )
    text = re.sub(r"\\begin\{(?:\w*matrix|array)\}(?:\{[^{}]*\})?", r"\\matrix ", text)
    text = re.sub(r"\\end\{(?:\w*matrix|array)\}", r"\\endmatrix ", text)
    parts = re.split(r'("[^"]*")', text)
    for number in range(0, len(parts), 2):
        part = _SPACES.sub(" ", parts[number])
        part = re.sub(
            r"(?<![\\A-Za-z])and(?![A-Za-z])|[和与]|(?<![\u3400-\u9fff])(?:且|及|以及)(?![\u3400-\u9fff])",
            r" \\and ",
            part,
        )
        part = re.sub(r"(?<![\\A-Za-z])or(?![A-Za-z])|(?<=[\d)}\]])or(?=[A-Za-z(\\\d])|或", r" \\or ", part)
        part = _SHORT_WORDS.sub(r' "\1" ', part)
        part = re.sub(r"(?<=\d)[eE]([+-]?\d+)(?![\d.])", r"\\times 10^{\1}", part)
        part = re.sub(r"\((\w+)\)\s*_", r"\1_", part)  # (52)_8
        part = _BARE.sub(r"\\\1", part)
        # Four letters in a row are a word that someone wrote, not a product.
        part = re.sub(r"(?<![\\A-Za-z_])(?!_)([A-Za-z]{4,})(?![A-Za-z])", r' "\1" ', part)
        parts[number] = re.sub(r"[\u3400-\u9fff]+", lambda m: f' "{m[0]}" ', part)
    text = re.sub(r'(?<=[^\W\d_])"\s+"(?=[^\W\d_])', " ", "".join(parts))  # words side by side are one phrase
    if (word := re.fullmatch(r'\s*"?([a-z]+|[一-十零])"?\s*', text.casefold())) and word[1] in _NUMBERS:
        return _NUMBERS[word[1]]
    text = re.sub(r'\(?\s*"\(?base"?\s*\(?(\w+)\)?"?\s*\)?$', r"_{\1}", text)
    text = _THOUSANDS.sub(_join_thousands, text)
    text = re.sub(r"(?<![\d.])(\d{1,3})((?: \d{3})+)(?!\d)", lambda m: m[1] + m[2].replace(" ", ""), text)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"(?:(?<!\\)[.;,:]+|\\)$", "", text).strip()
