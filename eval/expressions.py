"""Reads mathematical expressions and tells whether two of them are equal: exactly for rationals, else at many points.

Nothing here evaluates text as Python, and every step is bounded, so that no input costs much.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import mpmath

_DIGITS = 40
_TOLERANCE = mpmath.mpf(10) ** -25
_MAX_BITS = 400_000  # of an exact number; 2^100000 and 2004! are well below
_MAX_MAGNITUDE = 20_000_000  # bits of the largest floating-point number; its own size does not depend on it
_MAX_TOKENS = 600
_MAX_DEPTH = 60


class ParseError(ValueError):
    """The text is no expression that is understood here."""


class TooCostlyError(ValueError):
    """The value has too many digits."""


@dataclass(frozen=True)
class Node:
    """An expression: an operation on its arguments, a number, or a symbol."""

    kind: str
    args: tuple["Node", ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""


_TOKEN = re.compile(r'\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|\\[{}|]|"[^"]*"|[A-Za-z]|[-+*/^_{}()\[\]|!\':%]')
_FUNCTIONS: dict[str, Callable[..., mpmath.mpf]] = {
    "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan, "cot": mpmath.cot, "sec": mpmath.sec, "csc": mpmath.csc,
    "arcsin": mpmath.asin, "arccos": mpmath.acos, "arctan": mpmath.atan, "arccot": mpmath.acot, "sinh": mpmath.sinh,
    "cosh": mpmath.cosh, "tanh": mpmath.tanh, "ln": mpmath.log, "log": mpmath.log, "exp": mpmath.exp,
    "lg": mpmath.log10,
}  # fmt: skip
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
_SYMBOL_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar emptyset"
)
_SYMBOLS = set(_SYMBOL_NAMES.split())
_STOPS = {"+", "-", ")", "]", "}", "|", "/", "*", ":", r"\}", r"\cdot", r"\times", r"\div", r"\rfloor", r"\rceil", "%"}


def number(value: int | Fraction) -> Node:
    return Node("number", value=Fraction(value))


class _Parser:
    def __init__(self, text: str) -> None:
        position, self.tokens = 0, []
        while position < len(text):
            if text[position].isspace():
                position += 1
                continue
            match = _TOKEN.match(text, position)
            if match is None:
                raise ParseError(f"unexpected {text[position]!r}")
            self.tokens.append(match.group())
            position = match.end()
        if len(self.tokens) > _MAX_TOKENS:
            raise ParseError("too long")
        self.position = self.depth = 0
        self.bars = 0

    @property
    def next(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def peek(self, ahead: int = 1) -> str:
        return self.tokens[self.position + ahead] if self.position + ahead < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.next
        if not token or (expected is not None and token != expected):
            raise ParseError(f"expected {expected!r}, got {token!r}")
        self.position += 1
        return token

    def whole(self) -> Node:
        node = self.sum()
        if self.next:
            raise ParseError(f"unexpected {self.next!r}")
        return node

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise ParseError("too deep")
        terms = [self.signed()]
        while self.next in ("+", "-"):
            terms.append(self.signed())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Node("sum", tuple(terms))

    def signed(self) -> Node:
        negative = False
        while self.next in ("+", "-"):
            negative ^= self.take() == "-"
        term = self.term()
        return Node("product", (number(-1), term)) if negative else term

    def term(self) -> Node:
        factors = [self.power()]
        while self.next and self.next not in ("+", "-", ")", "]", "}", r"\}", r"\rfloor", r"\rceil"):
            if self.next == "|" and self.bars:
                break
            if self.next in (r"\cdot", r"\times", "*"):
                self.take()
                factors.append(self.signed_power())
            elif self.next in ("/", r"\div", ":"):
                self.take()
                factors.append(Node("power", (self.signed_power(), number(-1))))
            elif self.next == "%":
                self.take()
                factors.append(number(Fraction(1, 100)))
            else:
                if self.next[0].isdigit() and self.tokens[self.position - 1][0].isdigit():
                    if self.peek() == "/" and self.peek(2).isdigit() and self.tokens[self.position - 1].isdigit():
                        whole = factors.pop()  # 1 4/5
                        numerator, _, denominator = self.take(), self.take(), self.take()
                        if int(denominator) == 0:
                            raise ParseError("division by zero")
                        factors.append(Node("sum", (whole, number(Fraction(int(numerator), int(denominator))))))
                        continue
                    raise ParseError("two numbers beside each other")
                factors.append(self.power())
        return factors[0] if len(factors) == 1 else Node("product", tuple(factors))

    def signed_power(self) -> Node:
        if self.next in ("+", "-"):
            negative = self.take() == "-"
            factor = self.signed_power()
            return Node("product", (number(-1), factor)) if negative else factor
        return self.power()

    def power(self) -> Node:
        base = self.atom()
        while self.next in ("^", "!", "'"):
            if self.take() == "^":
                if self.next == "{" and self.peek() == r"\circ":
                    self.take(), self.take(), self.take("}")
                    continue  # degrees have no unit here
                base = Node("power", (base, self.script()))
            else:
                base = Node("factorial", (base,))
        return base

    def script(self) -> Node:
        """A power's exponent, a root's or fraction's argument: a group, or one token."""
        if self.next == "{":
            return self.group("{", "}")
        if self.next in ("-", "+"):
            return self.signed_power()
        token = self.next
        if token and token[0].isdigit() and len(token) > 1:
            # TeX takes one character: \frac12 is a half.
            self.tokens[self.position : self.position + 1] = [token[0], token[1:]]
            return Node("number", value=Fraction(int(self.take())))
        if token in (r"\frac", r"\sqrt") or token[:1] != "\\" or token[1:] in _SYMBOLS or token == r"\pi":
            return self.atom()
        raise ParseError(f"unexpected {token!r}")

    def group(self, opening: str, closing: str) -> Node:
        self.take(opening)
        bars, self.bars = self.bars, 0
        node = self.sum()
        self.take(closing)
        self.bars = bars
        return node

    def subscript(self) -> str:
        self.take("_")
        if self.next != "{":
            return self.take()
        parts: list[str] = []
        depth = 0
        while True:
            token = self.take()
            depth += (token == "{") - (token == "}")
            if depth == 0:
                return "".join(parts).replace("base", "").strip()
            if token not in ("{", "}", "(", ")"):
                parts.append(token.strip('"'))

    def atom(self) -> Node:
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            if len(token) > 4000:  # Python reads no longer ones
                raise TooCostlyError("a number of very many digits")
            if self.next == "_":
                return Node("symbol", name=f"{token}_{self.subscript()}")  # a number in another base equals only itself
            value = number(Fraction(token))
            if token.isdigit() and self.next == r"\frac":
                return self.mixed(value)
            return value
        if token == "(" or token == "[":
            self.position -= 1
            return self.group(token, ")" if token == "(" else "]")
        if token == "{":
            self.position -= 1
            return self.group("{", "}")
        if token == "|":
            self.bars += 1
            node = self.sum()
            self.take("|")
            self.bars -= 1
            return Node("abs", (node,))
        if token == r"\lfloor" or token == r"\lceil":
            node = self.sum()
            self.take(r"\rfloor" if token == r"\lfloor" else r"\rceil")
            return Node(token[2:], (node,))
        if token == r"\frac":
            numerator, denominator = self.script(), self.script()
            return Node("product", (numerator, Node("power", (denominator, number(-1)))))
        if token == r"\binom":
            return Node("binom", (self.script(), self.script()))
        if token == r"\sqrt":
            return self.root()
        if token == r"\pi":
            return Node("pi")
        if token[1:] in _FUNCTIONS and token[0] == "\\":
            return self.function(token[1:])
        if token[0] == '"':
            return Node("symbol", name=token.strip('"').casefold())
        if token[0] == "\\" and token[1:] not in _SYMBOLS:
            raise ParseError(f"unknown {token}")
        if not (token[0].isalpha() or token[0] == "\\"):
            raise ParseError(f"unexpected {token!r}")
        return self.symbol(token)

    def symbol(self, name: str) -> Node:
        if self.next == "_":
            subscript = self.subscript()
            if name == "C" and self.next == "^":  # the combinations of European and Chinese textbooks
                self.take()
                return Node("binom", (_Parser(subscript).whole(), self.script()))
            return Node("symbol", name=f"{name}_{subscript}")
        while self.next == "'":
            name += self.take()
        return Node({"e": "e", "i": "i"}.get(name, "symbol"), name=name)

    def mixed(self, whole: Node) -> Node:
        start = self.position
        fraction = self.atom()
        inner = self.tokens[start + 1 : self.position]
        if all(token.isdigit() or token in "{}" for token in inner):
            return Node("sum", (whole, fraction))
        return Node("product", (whole, fraction))

    def root(self) -> Node:
        degree = number(2)
        if self.next == "[":
            degree = self.group("[", "]")
        radicand = self.group("(", ")") if self.next == "(" else self.script()
        return Node("root", (radicand, degree))

    def function(self, name: str) -> Node:
        base, exponent = None, None
        while self.next in ("_", "^"):
            if self.next == "_":
                base = _Parser(self.subscript()).whole()
            else:
                self.take()
                exponent = self.script()
        if exponent is not None and exponent.kind == "product" and name in _INVERSE and exact(exponent) == -1:
            name, exponent = _INVERSE[name], None
        node = Node("function", (self.argument(),), name=name)
        if base is not None:
            node = Node("product", (node, Node("power", (Node("function", (base,), name=name), number(-1)))))
        return Node("power", (node, exponent)) if exponent is not None else node

    def argument(self) -> Node:
        if self.next in ("(", "[", "{"):
            return self.atom()
        if self.next in ("+", "-"):
            return self.signed_power()
        factors = [self.power()]
        while self.next and self.next not in _STOPS and self.next != "(" and self.next[1:] not in _FUNCTIONS:
            factors.append(self.power())
        return factors[0] if len(factors) == 1 else Node("product", tuple(factors))


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Node:
    """The expression in normalised text; `ParseError` where it is none."""
    try:
        return _Parser(text).whole()
    except RecursionError as error:
        raise ParseError("too deep") from error


def symbols(node: Node) -> set[str]:
    return {node.name} if node.kind == "symbol" else {name for arg in node.args for name in symbols(arg)}


def exact(node: Node) -> Fraction | None:
    """The value as a fraction, or `None` if it is irrational, not a number, or has too many digits."""
    match node.kind:
        case "number":
            return node.value
        case "sum" | "product":
            total = Fraction(0 if node.kind == "sum" else 1)
            for arg in node.args:
                value = exact(arg)
                if value is None:
                    return None
                total = total + value if node.kind == "sum" else total * value
                if total.numerator.bit_length() + total.denominator.bit_length() > _MAX_BITS:
                    return None
            return total
        case "power":
            base, exponent = exact(node.args[0]), exact(node.args[1])
            if base is None or exponent is None or exponent.denominator != 1 or (base == 0 and exponent <= 0):
                return None
            size = max(base.numerator.bit_length(), base.denominator.bit_length())
            if abs(base) != 1 and size * abs(exponent.numerator) > _MAX_BITS:
                return None
            return base ** (exponent.numerator if abs(base) != 1 else exponent.numerator % 2)
        case "factorial":
            value = exact(node.args[0])
            if value is None or value.denominator != 1 or not 0 <= value <= 20_000:
                return None
            return Fraction(math.factorial(value.numerator))
        case "root":
            return _exact_root(node)
        case "abs":
            value = exact(node.args[0])
            return None if value is None else abs(value)
        case "floor" | "ceil":
            value = exact(node.args[0])
            return None if value is None else Fraction(value.__floor__() if node.kind == "floor" else value.__ceil__())
    return None


def _exact_root(node: Node) -> Fraction | None:
    radicand, degree = exact(node.args[0]), exact(node.args[1])
    if radicand is None or degree != 2 or radicand < 0 or radicand.numerator.bit_length() > 10_000:
        return None
    root = Fraction(math.isqrt(radicand.numerator), math.isqrt(radicand.denominator))
    return root if root * root == radicand else None


def _bounded(value: mpmath.mpf) -> mpmath.mpf:
    if not mpmath.isfinite(value):
        raise ZeroDivisionError
    if value != 0 and abs(mpmath.mag(value)) > _MAX_MAGNITUDE:
        raise TooCostlyError("the value has too many digits")
    return value


def evaluate(node: Node, values: dict[str, mpmath.mpf]) -> mpmath.mpf:
    """The value to forty digits, with the symbols' values given."""
    match node.kind:
        case "number":
            return mpmath.mpf(node.value.numerator) / node.value.denominator
        case "symbol":
            return values[node.name]
        case "pi":
            return +mpmath.pi
        case "e":
            return +mpmath.e
        case "i":
            return mpmath.mpc(0, 1)
    args = [evaluate(arg, values) for arg in node.args]
    match node.kind:
        case "sum":
            return _bounded(mpmath.fsum(args))
        case "product":
            return _bounded(mpmath.fprod(args))
        case "power":
            base, exponent = args
            if base != 0 and abs(exponent) * max(1, abs(mpmath.mag(base))) > _MAX_MAGNITUDE:
                raise TooCostlyError("the power has too many digits")
            return _bounded(mpmath.power(base, exponent))
        case "root":
            radicand, degree = args
            # Textbooks take the real root of a negative number where the degree is odd.
            if (
                mpmath.im(radicand) == 0
                and mpmath.re(radicand) < 0
                and degree == int(mpmath.re(degree))
                and degree % 2 == 1
            ):
                return -_bounded(mpmath.power(-radicand, 1 / degree))
            return _bounded(mpmath.power(radicand, 1 / degree))
        case "factorial":
            if abs(args[0]) > 1_000_000:
                raise TooCostlyError("the factorial has too many digits")
            return _bounded(mpmath.factorial(args[0]))
        case "binom":
            if max(map(abs, args)) > 1_000_000:
                raise TooCostlyError("the binomial has too many digits")
            return _bounded(mpmath.binomial(*args))
        case "abs":
            return abs(args[0])
        case "floor":
            return mpmath.floor(args[0])
        case "ceil":
            return mpmath.ceil(args[0])
        case "function":
            if abs(args[0]) > 10_000 and node.name not in ("ln", "log", "lg"):
                raise TooCostlyError("the function's argument is too large")
            return _bounded(_FUNCTIONS[node.name](args[0]))
    raise AssertionError(node.kind)


def close(one: mpmath.mpf, other: mpmath.mpf) -> bool:
    """Whether two values agree to 25 digits."""
    difference, size = abs(one - other), max(abs(one), abs(other))
    return difference <= _TOLERANCE * size or size < _TOLERANCE


def _points(names: list[str], signed: bool) -> list[dict[str, mpmath.mpf]]:
    """Four assignments of irregular values; fixed, so that a verdict is the same every time."""
    points = []
    for row in range(4):
        values = {}
        for column, name in enumerate(names):
            value = 1 + 2 * mpmath.frac(mpmath.sqrt(2) * (row + 1) * 1.7 + mpmath.sqrt(3) * (column + 1) * 2.3)
            values[name] = -value if signed and (row + column) % 2 == 0 else value
        points.append(values)
    return points


def values_at_points(nodes: list[Node]) -> list[tuple[mpmath.mpf, ...]]:
    """Values of all nodes at common points; a point where one of them has none is left out."""
    names = sorted(set[str]().union(*map(symbols, nodes)))
    rows = []
    with mpmath.workdps(_DIGITS):
        for point in _points(names, signed=False) + (_points(names, signed=True) if names else []):
            try:
                rows.append(tuple(evaluate(node, point) for node in nodes))
            except (ZeroDivisionError, OverflowError, ValueError) as error:
                if isinstance(error, TooCostlyError):
                    raise
    return rows


def equal_expressions(one: Node, other: Node) -> bool:
    """Whether two expressions have one value, wherever both have a real one."""
    if one == other:
        return True
    exact_values = exact(one), exact(other)
    if None not in exact_values:
        return exact_values[0] == exact_values[1]
    rows = values_at_points([one, other])
    real = [row for row in rows if all(mpmath.im(value) == 0 for value in row)]
    with mpmath.workdps(_DIGITS):
        chosen = real if len(real) >= 3 or len(real) == len(rows) else rows
        return bool(chosen) and all(close(a, b) for a, b in chosen)


def proportional(one: Node, other: Node, *, positive: bool = False) -> bool:
    """Whether one expression is a constant, not 0, times the other: then both are zero in the same places."""
    rows = values_at_points([one, other])
    with mpmath.workdps(_DIGITS):
        ratios = [a / b for a, b in rows if abs(b) > _TOLERANCE]
        if len(ratios) < max(1, len(rows) - 1) or any(abs(ratio) < _TOLERANCE for ratio in ratios):
            return False
        return all(close(ratio, ratios[0]) for ratio in ratios) and (not positive or mpmath.re(ratios[0]) > 0)
