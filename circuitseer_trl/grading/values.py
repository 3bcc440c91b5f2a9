"""Are two expressions equal? Rationals are compared exactly, others at many points and to forty digits."""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import mpmath

from circuitseer_trl.grading.nodes import Node, TooCostlyError, has, in_radians, symbols, with_function

_DIGITS = 40
_TOLERANCE = mpmath.mpf(10) ** -25
_MAX_BITS = 400_000  # of an exact number; 2^100000 and 2004! are well below
_MAX_MAGNITUDE = 20_000_000  # bits of the largest floating-point number; its own size does not depend on it
_MAX_DIGITS = 6000  # to which two constants are compared
_LONG_DECIMAL = 12  # digits from which a decimal is what a calculator shows of a value, and not a rounded answer
_FUNCTIONS: dict[str, Callable[..., mpmath.mpf]] = {
    "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan, "cot": mpmath.cot, "sec": mpmath.sec, "csc": mpmath.csc,
    "arcsin": mpmath.asin, "arccos": mpmath.acos, "arctan": mpmath.atan, "arccot": mpmath.acot, "sinh": mpmath.sinh,
    "cosh": mpmath.cosh, "tanh": mpmath.tanh, "arcsinh": mpmath.asinh, "arccosh": mpmath.acosh,
    "arctanh": mpmath.atanh, "ln": mpmath.log, "log": mpmath.log, "exp": mpmath.exp, "lg": mpmath.log10,
}  # fmt: skip
_INVERSES = ("arctan", "arcsin", "arccos", "arccot")
_WHOLE_ARGUMENTS = ("floor", "ceil", "factorial", "binom")


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
        case "degree":
            return exact(node.args[0])
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


_PRIMES = (10**18 + 3, 10**18 + 9, 2**61 - 1)


def _residue(node: Node, prime: int) -> int | None:
    """The value of a rational number modulo a prime, however many digits it has; None for anything else."""
    match node.kind:
        case "number":
            top, bottom = node.value.numerator % prime, node.value.denominator % prime
            return top * pow(bottom, -1, prime) % prime if bottom else None
        case "sum" | "product":
            total = 0 if node.kind == "sum" else 1
            for arg in node.args:
                residue = _residue(arg, prime)
                if residue is None:
                    return None
                total = (total + residue if node.kind == "sum" else total * residue) % prime
            return total
        case "power":
            base, exponent = _residue(node.args[0], prime), exact(node.args[1])
            if not base or exponent is None or exponent.denominator != 1:
                return None
            return pow(base, exponent.numerator, prime)
        case "factorial":
            value = exact(node)
            return None if value is None else value.numerator % prime
    return None


def _differ_by_residue(one: Node, other: Node) -> bool | None:
    """Whether two rational numbers of too many digits are certainly different; None if they are no such numbers."""
    pairs = [(_residue(one, prime), _residue(other, prime)) for prime in _PRIMES]
    if any(None in pair for pair in pairs):
        return None
    return any(ours != theirs for ours, theirs in pairs)


def _bounded(value: mpmath.mpf) -> mpmath.mpf:
    if not mpmath.isfinite(value):
        raise ZeroDivisionError
    if value != 0 and abs(mpmath.mag(value)) > _MAX_MAGNITUDE:
        raise TooCostlyError("the value has too many digits")
    return value


def evaluate(node: Node, values: dict[str, mpmath.mpf]) -> mpmath.mpf:
    """The value to the working precision, with the symbols' values given."""
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
            return _bounded(_power(base, exponent, node.args[1]))
        case "root":
            radicand, degree = args
            # Textbooks take the real root of a negative number where the degree is odd.
            if _is_negative(radicand) and degree == int(mpmath.re(degree)) and degree % 2 == 1:
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
        case "degree":
            return args[0]
        case "floor":
            return mpmath.floor(args[0] + _TOLERANCE)
        case "ceil":
            return mpmath.ceil(args[0] - _TOLERANCE)
        case "function":
            if abs(args[0]) > 10_000 and node.name not in ("ln", "log", "lg"):
                raise TooCostlyError("the function's argument is too large")
            return _bounded(_FUNCTIONS[node.name](args[0]))
    raise AssertionError(node.kind)


def _is_negative(value: mpmath.mpf) -> bool:
    return mpmath.im(value) == 0 and mpmath.re(value) < 0


def _power(base: mpmath.mpf, exponent: mpmath.mpf, node: Node) -> mpmath.mpf:
    """As with roots, a negative base to a third or to two thirds is the textbook's real number."""
    if _is_negative(base) and mpmath.im(exponent) == 0:
        fraction = exact(node)
        if fraction is not None and fraction.denominator > 1 and fraction.denominator % 2 == 1:
            return mpmath.power(-base, exponent) * (-1 if fraction.numerator % 2 else 1)
    return mpmath.power(base, exponent)


def close(one: mpmath.mpf, other: mpmath.mpf) -> bool:
    """Whether two values agree to 25 digits."""
    difference, size = abs(one - other), max(abs(one), abs(other))
    return difference <= _TOLERANCE * size or size < _TOLERANCE


def _whole_names(node: Node) -> set[str]:
    """Symbols that count something: under floors, in factorials, in exponents of negative numbers."""
    names = set[str]().union(*map(_whole_names, node.args))
    if node.kind in _WHOLE_ARGUMENTS:
        names |= symbols(node)
    if node.kind == "power" and (base := exact(node.args[0])) is not None and base < 0:
        names |= symbols(node.args[1])
    return names


def irregular(row: int, column: int) -> mpmath.mpf:
    """A value between 1 and 3. It is always the same, so that verdicts are reproducible."""
    return 1 + 2 * mpmath.frac(mpmath.sqrt(2) * (row + 1) * 1.7 + mpmath.sqrt(3) * (column + 1) * 2.3)


def _points(names: list[str], whole: set[str], rows: int) -> Iterator[dict[str, mpmath.mpf]]:
    """Assignments of irregular values, positive ones first, then larger and smaller ones; whole numbers for what counts."""
    if whole:
        for row in range(40):
            yield {
                name: mpmath.mpf(1 + (row + (row // 5 + 11) * column) % 40) if name in whole else irregular(row, column)
                for column, name in enumerate(names)
            }
        return
    if not names:
        yield {}
        return
    for scale in (1, 5, mpmath.mpf(1) / 7):  # later rows have larger ratios between the symbols
        for signed in (False, True):
            for row in range(rows if scale >= 1 else rows // 4):
                yield {
                    name: scale
                    * irregular(row, column) ** (1 + min(row // 4, 2))
                    * (-1 if signed and (row + column) % 2 == 0 else 1)
                    for column, name in enumerate(names)
                }


def values_at_points(nodes: list[Node], rows_of_points: int = 4) -> list[tuple[mpmath.mpf, ...]]:
    """Values of all nodes at common points; a point where one of them has none is left out."""
    names = sorted(set[str]().union(*map(symbols, nodes)))
    whole = set[str]().union(*map(_whole_names, nodes))
    rows = []
    with mpmath.workdps(_DIGITS):
        for point in _points(names, whole, rows_of_points):
            try:
                rows.append(tuple(evaluate(node, point) for node in nodes))
            except (ZeroDivisionError, OverflowError, ValueError) as error:
                if isinstance(error, TooCostlyError) and not whole and not rows:
                    raise
    return rows


def equal_expressions(one: Node, other: Node) -> bool:
    """Whether two expressions have the same value at all points where both are real."""
    if one == other:
        return True
    if _equal(one, other) or _rounds(one, other) or _rounds(other, one):
        return True
    if has(one, "degree") != has(other, "degree") and _equal(in_radians(one), in_radians(other)):
        return True
    # A logarithm without a base is the natural one to some, the decimal one to others.
    if has(one, "function", "log") or has(other, "function", "log"):
        return _equal(with_function(one, "log", "lg"), with_function(other, "log", "lg"))
    return False


def _equal(one: Node, other: Node) -> bool:
    exact_values = exact(one), exact(other)
    if None not in exact_values:
        return exact_values[0] == exact_values[1]
    differ = _differ_by_residue(one, other)
    if differ:
        return False
    rows = values_at_points([one, other])
    real = _real(rows)
    if len(real) < 3 and len(real) < len(rows):  # it is real in few places, as a logarithm of a sine may be
        real = _real(values_at_points([one, other], rows_of_points=40))
    with mpmath.workdps(_DIGITS):
        chosen = real if len(real) >= 3 or len(real) == len(rows) else rows
        if not chosen or not all(close(a, b) for a, b in chosen):
            return False
    return differ is False or bool(symbols(one) | symbols(other)) or _close_to_many_digits(one, other)


def _real(rows: list[tuple[mpmath.mpf, ...]]) -> list[tuple[mpmath.mpf, ...]]:
    return [row for row in rows if all(mpmath.im(value) == 0 for value in row)]


def _close_to_many_digits(one: Node, other: Node) -> bool:
    """Whether two constants agree far beyond what a large number hides of a small difference, e^100 + 1 of e^100."""
    with mpmath.workdps(_DIGITS):
        size = max(abs(evaluate(one, {})), abs(evaluate(other, {})))
        digits = 150 + max(0, int(mpmath.mag(size) * 0.302) if size else 0)
    if digits > _MAX_DIGITS:
        raise TooCostlyError("the values have too many digits to be told apart")
    with mpmath.workdps(digits):
        a, b = evaluate(one, {}), evaluate(other, {})
        # Rounding leaves about one unit of the last digit also where the value is 0, as in sin(pi).
        return abs(a - b) <= max(max(abs(a), abs(b)) * mpmath.mpf(10) ** (40 - digits), mpmath.mpf(10) ** (15 - digits))


def _rounds(decimal: Node, other: Node) -> bool:
    """Whether a decimal of many digits is the other value, which has no end, as a calculator shows it."""
    sign = 1
    if decimal.kind == "product" and len(decimal.args) == 2 and exact(decimal.args[0]) == -1:
        sign, decimal = -1, decimal.args[1]
    if decimal.kind != "number" or len(decimal.name.replace(".", "").lstrip("0")) < _LONG_DECIMAL or symbols(other):
        return False
    value, places = exact(other), len(decimal.name.partition(".")[2])
    if value is not None and (10**places * value).denominator == 1:
        return False
    rows = values_at_points([other])
    return bool(rows) and abs(sign * rows[0][0] - evaluate(decimal, {})) < mpmath.mpf(10) ** -places


def proportional(one: Node, other: Node, *, positive: bool = False) -> bool:
    """Whether one expression is a constant, not 0, times the other: then both are zero in the same places."""
    rows = values_at_points([one, other])
    with mpmath.workdps(_DIGITS):
        ratios = [a / b for a, b in rows if abs(b) > _TOLERANCE]
        if len(ratios) < max(1, len(rows) - 1) or any(abs(ratio) < _TOLERANCE for ratio in ratios):
            return False
        return all(close(ratio, ratios[0]) for ratio in ratios) and (not positive or mpmath.re(ratios[0]) > 0)


def same_zeros(one: Node, other: Node) -> bool:
    """Whether two expressions in several symbols are zero at the same points, as far as a few lines show."""
    names = sorted(symbols(one) | symbols(other))
    if len(names) < 2 or symbols(one) != symbols(other):
        return False
    # A curve with an arctangent is one branch of the curve with the tangent: it need only lie on that.
    inverse = [any(has(node, "function", name) for name in _INVERSES) for node in (one, other)]
    pairs = [(one, other)] * (inverse != [False, True]) + [(other, one)] * (inverse != [True, False])
    found = [0] * len(pairs)
    with mpmath.workdps(_DIGITS):
        for row in range(6):
            name = names[row % len(names)]
            fixed = {each: irregular(row, column) * (-1) ** row for column, each in enumerate(names) if each != name}
            for number, (curve, check) in enumerate(pairs):
                for root in zeros_on_line(curve, name, fixed):
                    found[number] += 1
                    try:
                        if abs(evaluate(check, {**fixed, name: root})) > mpmath.mpf(10) ** -15:
                            return False
                    except (ZeroDivisionError, OverflowError, ValueError):
                        return False
    return min(found) > 1


def zeros_on_line(node: Node, name: str, fixed: dict[str, mpmath.mpf]) -> list[mpmath.mpf]:
    """Zeros in one symbol between -6 and 6, with the others fixed; those without a change of sign are not seen."""

    def value(point: mpmath.mpf) -> mpmath.mpf | None:
        try:
            at = evaluate(node, {**fixed, name: point})
        except (ZeroDivisionError, OverflowError, ValueError):
            return None
        return at if mpmath.im(at) == 0 else None

    with mpmath.workdps(15):
        grid = [mpmath.mpf(step) * 12 / 97 - 6 for step in range(98)]
        coarse = [value(point) for point in grid]
    roots = []
    for low, high, left, right in zip(grid, grid[1:], coarse, coarse[1:], strict=False):
        if left is None or right is None or left * right > 0:
            continue
        try:
            root = mpmath.findroot(lambda x: evaluate(node, {**fixed, name: x}), (low, high), solver="anderson")
        except (ZeroDivisionError, OverflowError, ValueError):
            continue
        if mpmath.im(root) == 0 and low <= root <= high:
            roots.append(root)
    return roots
