"""Reads mathematical expressions. Nothing evaluates text as Python, and every step is bounded."""

import re
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from circuitseer_trl.grading.nodes import Node, TooCostlyError, in_radians, number
from circuitseer_trl.grading.tokens import (
    BASES,
    CLOSING,
    FUNCTIONS,
    INVERSE,
    KNOWN,
    STOPS,
    SYMBOLS,
    ParseError,
    UnknownCommandError,
    tokens,
)

_MAX_DEPTH = 60


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
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
        node = self.fraction()
        if self.next:
            raise ParseError(f"unexpected {self.next!r}")
        if r"\infty" in self.tokens and [each for each in self.tokens if each not in "+-"] != [r"\infty"]:
            raise ParseError("infinity is no number")
        return node

    def fraction(self) -> Node:
        """A sum, or two of them with TeX's old `\\over` or `\\choose` between."""
        node = self.sum()
        if self.next in (r"\over", r"\choose"):
            if self.take() == r"\choose":
                return Node("binom", (node, self.sum()))
            return Node("product", (node, Node("power", (self.sum(), number(-1)))))
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
        while self.next and self.next not in ("+", "-") and self.next not in CLOSING:
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
                factor = self.power()
                if factor.name.endswith("*") and factors[-1].name.endswith("*"):
                    factor = replace(factor, name=factors.pop().name + factor.name)  # matrices do not commute
                factors.append(factor)
        return factors[0] if len(factors) == 1 else Node("product", tuple(factors))

    def signed_power(self) -> Node:
        if self.next in ("+", "-"):
            negative = self.take() == "-"
            factor = self.signed_power()
            return Node("product", (number(-1), factor)) if negative else factor
        return self.power()

    def power(self) -> Node:
        base = self.atom()
        while self.next in ("^", "!"):
            if self.take() == "^":
                if self.next == "{" and self.peek() == r"\circ":
                    self.take(), self.take(), self.take("}")
                    base = self.degrees(base)
                elif base.kind == "symbol" and (self.next == "*" or (self.next == "{" and self.peek() == "*")):
                    for _ in range(1 if self.next == "*" else 3):
                        self.take()
                    base = replace(base, name=base.name + "*")
                else:
                    base = Node("power", (base, self.script(split=False)))
            else:
                base = Node("factorial", (base,))
        return base

    def degrees(self, base: Node) -> Node:
        """Degrees with the minutes and seconds that follow them."""
        parts, size = [base], 1
        while self.next.isdigit() and self.peek() == "'" and size < 3600:
            size *= 60
            parts.append(number(Fraction(int(self.take()), size)))
            while self.next == "'":
                self.take()
        return Node("degree", (Node("sum", tuple(parts)) if len(parts) > 1 else base,))

    def script(self, split: bool = True) -> Node:
        """A power's exponent, a root's or fraction's argument: a group, or one token.

        Args:
            split: Whether to take one of several digits without braces, as TeX does. Otherwise all are taken, as in `2^10`.
        """
        if self.next == "{":
            return self.group("{", "}")
        if self.next in ("-", "+"):
            return self.signed_power()
        token = self.next
        if token and token[0].isdigit() and not split:
            return self.atom()
        if token and token[0].isdigit() and len(token) > 1:
            # TeX takes one character: \frac12 is a half.
            self.tokens[self.position : self.position + 1] = [token[0], token[1:]]
            return Node("number", value=Fraction(int(self.take())))
        if token in (r"\frac", r"\sqrt") or token[:1] != "\\" or token[1:] in SYMBOLS or token == r"\pi":
            return self.atom()
        raise ParseError(f"unexpected {token!r}")

    def group(self, opening: str, closing: str) -> Node:
        self.take(opening)
        bars, self.bars = self.bars, 0
        node = self.fraction()
        self.take(closing)
        self.bars = bars
        return node

    def subscript(self) -> str:
        self.take("_")
        if self.next != "{":
            return self.take().strip('"')
        parts: list[str] = []
        depth = 0
        while True:
            token = self.take()
            depth += (token == "{") - (token == "}")
            if depth == 0:
                return "".join(parts).replace("base", "").strip()
            if token not in ("{", "}", "(", ")", "_"):
                parts.append(token.strip('"'))

    def atom(self) -> Node:
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            if len(token) > 4000:  # Python reads no longer ones
                raise TooCostlyError("a number of very many digits")
            if self.next == "_":
                base = self.subscript().casefold()
                base = BASES.get(base, base)
                if base == "10":
                    return number(Fraction(token))
                return Node("symbol", name=f"{token.lstrip('0')}_{base}")  # in another base it equals only itself
            value = Node("number", value=Fraction(token), name=token if "." in token else "")
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
        if token in (r"\binom", r"\dbinom", r"\tbinom"):
            return Node("binom", (self.script(), self.script()))
        if token == r"\sqrt":
            return self.root()
        if token == r"\pi":
            return Node("pi")
        if token in (r"\imath", r"\jmath"):
            return Node("i", name="i")
        if token == r"\dots":
            return Node("symbol", name="...")
        if token[1:] in FUNCTIONS and token[0] == "\\":
            return self.function(FUNCTIONS[token[1:]])
        if token[0] == '"':
            word = token.strip('"')
            return Node("symbol", name=token.casefold() if len(word) > 1 else word)
        if token == r"\Gamma" and self.next == "(":
            return Node("factorial", (Node("sum", (self.group("(", ")"), number(-1))),))
        if token[0] == "\\" and token[1:] not in SYMBOLS:
            raise UnknownCommandError(f"unknown {token}")
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
        if name == "C" and self.next == "(" and "," in self.tokens[self.position :]:
            start = self.position
            self.take("(")
            upper = self.sum()
            if self.next == ",":
                self.take(",")
                node = Node("binom", (upper, self.sum()))
                self.take(")")
                return node
            self.position = start
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
        radicand = self.group("(", ")") if self.next == "(" else self.script(split=False)
        return Node("root", (radicand, degree))

    def function(self, name: str) -> Node:
        base, exponent = None, None
        while self.next in ("_", "^"):
            if self.next == "_":
                base = _Parser(self.subscript()).whole()
            else:
                self.take()
                exponent = self.script(split=False)
        if exponent == Node("product", (number(-1), number(1))) and name in INVERSE:
            name, exponent = INVERSE[name], None
        node = Node("function", (in_radians(self.argument()),), name=name if base is None else "ln")
        if base is not None:
            node = Node("product", (node, Node("power", (Node("function", (base,), name="ln"), number(-1)))))
        return Node("power", (node, exponent)) if exponent is not None else node

    def argument(self) -> Node:
        if self.next in ("(", "[", "{"):
            return self.atom()
        if self.next in ("+", "-"):
            return self.signed_power()
        factors = [self.power()]
        while self.next and self.next not in STOPS and self.next != "(" and self.next[1:] not in FUNCTIONS:
            factors.append(self.power())
        return factors[0] if len(factors) == 1 else Node("product", tuple(factors))


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Node:
    """The expression in normalised text; `ParseError` where it is none."""
    try:
        return _Parser(text).whole()
    except RecursionError as error:
        raise ParseError("too deep") from error
    except UnknownCommandError:
        raise
    except ParseError as error:
        if any(command[1:] not in KNOWN for command in re.findall(r"\\[A-Za-z]+", text)):
            raise UnknownCommandError(str(error)) from error
        raise
