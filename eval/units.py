"""Takes units off the end of an answer. They are compared where both have one, and ignored where only one has."""

import re

_NAMES = {
    "centimeter": "cm", "centimetre": "cm", "millimeter": "mm", "millimetre": "mm", "meter": "m", "metre": "m",
    "kilometer": "km",
    "kilometre": "km", "inch": "in", "inche": "in", "foot": "ft", "feet": "ft", "mile": "mi", "yard": "yd", "gram": "g",
    "kilogram": "kg", "liter": "l", "litre": "l", "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h",
    "degree": "deg",
    "dollar": "dollar", "usd": "dollar", "cent": "cent", "square": "sq", "cubic": "cu", "unit": "unit", "radian": "rad",
}  # fmt: skip
_BARE = r"(?:cm|mm|km|kg|mg|ml|min|hrs?|sec|deg|mph|km/h|m/s|inches|feet|dollars|cents|units?)"
_END = re.compile(
    rf'\s*(?:(?P<quoted>"[^"]*")|(?<=[\d\s)}}\]])(?P<bare>{_BARE})(?![A-Za-z]))\s*(?:\^\s*\{{?\s*(?P<power>\d)\s*\}}?)?\s*$'
)
_NO_UNIT = re.compile(
    r"\b(?:not?|is|are|wrong|if|no|none|am|pm|or|than|when|where|for|impossible|undefined)\b", re.IGNORECASE
)


def _canonical(text: str, power: str | None) -> str:
    words = []
    for word in re.findall(r"[a-z]+|/|[\u3400-\u9fff]+", text.casefold().replace(" per ", "/")):
        singular = word if word in _NAMES else word.removesuffix("s") if len(word) > 2 else word
        words.append(_NAMES.get(singular, singular))
    power = {"sq": "2", "cu": "3"}.get(words[0], power) if words else power
    words = [word for word in words if word not in ("sq", "cu", "unit")]
    return "".join(words) + (power or "") if words else ""


def split_unit(text: str) -> tuple[str, str]:
    """The value and its unit in one spelling; the unit is empty where there is none, or only a general one."""
    core, unit = text.strip(), ""
    core = (
        re.sub(r"\s*\^\{\\circ\}\s*(?:C|F)?\s*$", "", core) if re.fullmatch(r"[^a-zA-Z]*\^\{\\circ\}", core) else core
    )
    for _ in range(3):
        match = _END.search(core)
        if match is None or not re.search(r"[\d\\]", core[: match.start()]):
            break
        words = (match["quoted"] or match["bare"]).strip('"').strip()
        if _NO_UNIT.search(words) or len(words.split()) > 4:
            break
        unit = _canonical(words, match["power"]) + unit
        core = core[: match.start()].strip()
    return core, "" if unit == "deg" else unit
