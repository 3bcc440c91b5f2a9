"""Which unit has an answer? Units are compared if both answers have one, and ignored if only one has."""

import re
from collections import Counter
from fractions import Fraction

_NAMES = {
    "centimeter": "cm", "centimetre": "cm", "millimeter": "mm", "millimetre": "mm", "meter": "m", "metre": "m",
    "kilometer": "km", "kilometre": "km", "inch": "in", "inche": "in", "foot": "ft", "feet": "ft", "mile": "mi",
    "yard": "yd", "gram": "g", "kilogram": "kg", "liter": "l", "litre": "l", "milliliter": "ml", "millilitre": "ml",
    "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h", "mph": "mi / h", "kph": "km / h",
    "degree": "deg", "radian": "rad", "dollar": "dollar", "usd": "dollar", "cent": "cent", "eur": "euro",
    "square": "sq", "cubic": "cu", "平方": "sq", "立方": "cu", "平方厘米": "sq cm", "立方厘米": "cu cm",
    "平方米": "sq m", "立方米": "cu m", "厘米": "cm", "毫米": "mm", "千米": "km", "公里": "km", "米": "m", "秒": "s",
    "分钟": "min", "小时": "h", "克": "g", "千克": "kg", "吨": "t", "升": "l", "毫升": "ml", "元": "yuan", "度": "deg",
}  # fmt: skip
# Words that count: 3 million is another number than 3.
SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "百": 10**2, "千": 10**3, "万": 10**4, "百万": 10**6, "千万": 10**7, "亿": 10**8, "万亿": 10**12,
}  # fmt: skip
_KINDS: dict[str, dict[str, int | str]] = {
    "length": {
        **{"mm": 1, "cm": 10, "dm": 100, "m": 1000, "km": 1_000_000},
        **{"in": "25.4", "ft": "304.8", "yd": "914.4", "mi": "1609344"},
    },
    "time": {"s": 1, "min": 60, "h": 3600, "day": 86_400, "week": 604_800},
    "mass": {"mg": 1, "g": 1000, "kg": 1_000_000, "t": 1_000_000_000},
    "dollars": {"cent": 1, "dollar": 100},
    "angle": {"deg": 1},
    "arc": {"rad": 1},
}
# How many of its kind's smallest unit each holds, and the power of the kind: a litre is a volume.
_SIZES = {name: (kind, 1, Fraction(size)) for kind, sizes in _KINDS.items() for name, size in sizes.items()}
_SIZES |= {"l": ("length", 3, Fraction(10**6)), "ml": ("length", 3, Fraction(1000))}
_BARE = (
    r"(?:cm|mm|km|kg|mg|ml|min|hrs?|sec|deg|mph|km/h|m/s|in(?=\s*\^)|m(?=\s*\^\s*\{?\s*[23])|inch(?:es)?|feet"
    r"|dollars?|cents?|units?)"
)
_POWER = r"\s*(?:\^\s*\{?\s*(?P<power>\d)\s*\}?)?\s*"
_END = re.compile(
    rf'(?:\s*(?P<quoted>"[^"]*")|(?<=[\d\s)}}\]])(?P<bare>{_BARE})(?![A-Za-z])|(?P<han>[\u3400-\u9fff]+)){_POWER}$'
)
_NO_UNIT = re.compile(
    r"\b(?:not?|is|are|wrong|if|no|none|am|pm|or|than|when|where|for|impossible|undefined)\b", re.IGNORECASE
)


def _canonical(text: str, power: str | None) -> str:
    """A unit as its factors and their powers in one spelling: `km*h^-1` for "kilometres per hour"."""
    text = text.casefold().replace(" per ", "/").replace(r"\cdot", " ")
    factors: Counter[str] = Counter()
    sign, pending, last = 1, 1, ""
    for word in re.findall(r"[a-z]+|/|[\u3400-\u9fff]+|-?\d", text):
        if word == "/":
            sign = -1
        elif word[-1].isdigit():
            factors[last] *= int(word)
        else:
            singular = word if word in _NAMES else word.removesuffix("s") if len(word) > 2 else word
            for name in _NAMES.get(singular, singular).split():
                if name in ("sq", "cu"):
                    pending = 2 if name == "sq" else 3
                elif name[0] == "/":
                    sign = -1
                elif name != "unit":
                    factors[name] += sign * pending
                    last, pending = name, 1
    if power and last:
        factors[last] *= int(power)
    factors.pop("", None)
    return _spelled(factors)


def _spelled(factors: Counter[str]) -> str:
    return "*".join(f"{name}^{power}" for name, power in sorted(factors.items()) if power)


def _factors(unit: str) -> Counter[str]:
    return Counter({name: int(power) for name, _, power in (each.partition("^") for each in unit.split("*") if each)})


def split_unit(text: str) -> tuple[str, str]:
    """Splits a text into its value and its unit in one spelling; the unit is empty if there is none, or only a general one."""
    core, unit = text.strip(), ""
    for _ in range(3):
        match = _END.search(core)
        if match is None or not re.search(r"[\d\\].*(?<![_^])$", core[: match.start()].rstrip()):
            break
        words = (match["quoted"] or match["bare"] or match["han"]).strip('"').strip()
        scale, _, rest = words.partition(" ")
        if (size := SCALES.get(scale.casefold().removesuffix("s") or scale)) is not None:
            return rf"({core[: match.start()].strip()})\cdot {size}", (
                _together(_canonical(rest, match["power"]), unit) if rest else unit
            )
        if _NO_UNIT.search(words) or len(words.split()) > 4:
            break
        unit = _together(_canonical(words, match["power"]), unit)
        core = core[: match.start()].strip()
    return core, unit


def _together(one: str, other: str) -> str:
    factors = _factors(one)
    factors.update(_factors(other))
    return _spelled(factors)


def is_measured(unit: str) -> bool:
    """Whether the size of each of a unit's factors is known."""
    return bool(unit) and all(name in _SIZES for name in _factors(unit))


def ratio_of_units(one: str, other: str) -> Fraction | None:
    """How many of the other unit one holds, or `None` if they measure different things.

    A unit without its "per hour" is taken for the whole.
    """
    ours, theirs = _factors(one), _factors(other)
    more, fewer = (ours, theirs) if len(ours) > len(theirs) else (theirs, ours)
    if all(power < 0 if name not in fewer else power == fewer[name] for name, power in more.items()):
        return Fraction(1)
    size, kinds = Fraction(1), Counter[str]()
    for factors, sign in ((ours, 1), (theirs, -1)):
        for name, power in factors.items():
            if name not in _SIZES:
                return None
            kind, of_kind, of_one = _SIZES[name]
            kinds[kind] += sign * power * of_kind
            size *= of_one ** (sign * power)
    return None if any(kinds.values()) else size
