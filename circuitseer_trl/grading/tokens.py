"""The words of mathematical expressions, and their meanings."""

import re

_MAX_TOKENS = 600


class ParseError(ValueError):
    """The text cannot be parsed as an expression."""


class UnknownCommandError(ParseError):
    """The text may be an expression, but uses a command that is not known here."""


TOKEN = re.compile(r'\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|\\[{}|]|"[^"]*"|[A-Za-z]|[-+*/^_{}()\[\]|!\':%,]')
# Other names of a function, and its own.
_ALIASES = {
    "tg": "tan", "ctg": "cot", "cosec": "csc", "arctg": "arctan", "arcctg": "arccot", "asin": "arcsin",
    "acos": "arccos", "atan": "arctan", "arsinh": "arcsinh", "arcosh": "arccosh", "artanh": "arctanh",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip
_FUNCTION_NAMES = (
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh arcsinh arccosh arctanh ln log exp lg"
)
FUNCTIONS = {name: name for name in _FUNCTION_NAMES.split()} | _ALIASES
INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
_SYMBOL_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar emptyset infty"
)
SYMBOLS = set(_SYMBOL_NAMES.split())
CLOSING = {")", "]", "}", r"\}", r"\rfloor", r"\rceil", r"\over", r"\choose", ","}
STOPS = CLOSING | {"+", "-", "|", "/", "*", ":", r"\cdot", r"\times", r"\div", "%"}
_COMMANDS = (
    "frac sqrt pi binom dbinom tbinom lfloor rfloor lceil rceil cdot times div circ imath jmath dots over choose"
)
KNOWN = SYMBOLS | set(FUNCTIONS) | set(_COMMANDS.split()) | {"and", "or", "pm", "mp", "le", "ge", "ne", "cup"}
_BASE_NAMES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
BASES = {name: str(value) for value, name in enumerate(_BASE_NAMES.split())}


def tokens(text: str) -> list[str]:
    """The tokens of an expression."""
    position, found = 0, []
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        match = TOKEN.match(text, position)
        if match is None:
            raise ParseError(f"unexpected {text[position]!r}")
        found.append(match.group())
        position = match.end()
    if len(found) > _MAX_TOKENS:
        raise ParseError("too long")
    return found
