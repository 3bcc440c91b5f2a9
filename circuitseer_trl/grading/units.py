"""Which unit has an answer? Units are compared if both answers have one, and ignored if only one has."""

import re
from fractions import Fraction

_NAMES = {
    "centimeter": "cm", "centimetre": "cm", "millimeter": "mm", "millimetre": "mm", "meter": "m", "metre": "m",
    "kilometer": "km", "kilometre": "km", "inch": "in", "inche": "in", "foot": "ft", "feet": "ft", "mile": "mi",
    "yard": "yd", "gram": "g", "kilogram": "kg", "liter": "l", "litre": "l", "second": "s", "sec": "s",
    "minute": "min", "hour": "h", "hr": "h", "degree": "deg", "dollar": "dollar", "usd": "dollar", "cent": "cent",
    "square": "sq", "cubic": "cu", "unit": "unit", "radian": "rad", "day": "day", "week": "week",
    "平方厘米": "cm2", "立方厘米": "cm3", "平方米": "m2", "立方米": "m3", "厘米": "cm", "毫米": "mm", "千米": "km", "公里": "km",
    "米": "m", "秒": "s", "分钟": "min", "小时": "h", "克": "g", "千克": "kg", "元": "yuan", "度": "deg",
}  # fmt: skip
# Words that count: 3 million is another number than 3.
SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "百": 10**2, "千": 10**3, "万": 10**4, "百万": 10**6, "千万": 10**7, "亿": 10**8, "万亿": 10**12,
}  # fmt: skip
# How many of a kind's smallest unit each holds; squares and cubes follow.
_SIZES = {
    name: (kind, Fraction(size))
    for kind, sizes in {
        "metric": {"mm": 1, "cm": 10, "m": 1000, "km": 1_000_000},
        "imperial": {"in": 1, "ft": 12, "yd": 36, "mi": 63_360},
        "time": {"s": 1, "min": 60, "h": 3600, "day": 86_400, "week": 604_800},
        "mass": {"g": 1, "kg": 1000},
        "money": {"cent": 1, "dollar": 100},
        "angle": {"deg": 1},
        "arc": {"rad": 1},
    }.items()
    for name, size in sizes.items()
}
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
    text = text.casefold().replace(" per ", "/")
    if inner := re.search(r"\^\s*\{?\s*(\d)\s*\}?\s*$|(?<=[a-z])(\d)$", text):  # cm^2 within one text
        text, power = text[: inner.start()], inner[1] or inner[2]
    words = []
    for word in re.findall(r"[a-z]+|/|[\u3400-\u9fff]+|\^\s*\{?\s*-?\d\s*\}?", text):
        singular = word if word in _NAMES else word.removesuffix("s") if len(word) > 2 else word
        words.append(_NAMES.get(singular, re.sub(r"[\s{}]", "", singular)))
    power = {"sq": "2", "cu": "3"}.get(words[0], power) if words else power
    words = [word for word in words if word not in ("sq", "cu", "unit")]
    return "".join(words) + (power or "") if words else ""


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
                _canonical(rest, match["power"]) if rest else ""
            ) + unit
        if _NO_UNIT.search(words) or len(words.split()) > 4:
            break
        unit = _canonical(words, match["power"]) + unit
        core = core[: match.start()].strip()
    return core, unit


def ratio_of_units(one: str, other: str) -> Fraction | None:
    """How many of the other unit one holds, or `None` if they measure different things."""
    if one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/"):
        return Fraction(1)
    (name, power), (their_name, their_power) = (re.fullmatch(r"(.*?)(\d*)", unit).groups() for unit in (one, other))  # type: ignore[union-attr]
    if power != their_power or name not in _SIZES or their_name not in _SIZES:
        return None
    (kind, size), (their_kind, their_size) = _SIZES[name], _SIZES[their_name]
    return (size / their_size) ** int(power or 1) if kind == their_kind else None
