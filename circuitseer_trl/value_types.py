"""Does a value of a YAML file have the type of its key? The parser converts text, but takes other values as they come."""

import types
from contextlib import suppress
from typing import Any, Literal, Union, get_args, get_origin

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def fits(value: Any, kind: Any) -> bool:
    """Whether a value can be one of an annotation. A text is one of a number's if it can be read as one, such as 1e-5."""
    origin = get_origin(kind) or kind
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in get_args(kind))
    if origin is type(None):
        return value is None
    if origin is str or origin is Literal:
        return isinstance(value, str)
    if origin in (int, float) and isinstance(value, str):
        with suppress(ValueError):
            origin(value)
            return True
        return False
    if origin is bool:
        return isinstance(value, bool | str)  # the parser reads words such as `yes`
    if origin in (int, float):
        return isinstance(value, int if origin is int else int | float) and not isinstance(value, bool)
    if origin is list:  # one item may stand for a list of it
        return isinstance(value, list | str | dict)
    if origin is dict:
        return isinstance(value, dict)
    return not isinstance(value, list | dict)  # an enumeration, whose words the parser knows


def describe(kind: Any) -> str:
    """The words for an annotation, such as `a number, or null`."""
    if get_origin(kind) in (Union, types.UnionType):
        return ", or ".join(dict.fromkeys(describe(each) for each in get_args(kind)))
    origin = get_origin(kind) or kind
    return "null" if origin is type(None) else _WORDS.get(origin, "text")


def check_type(key: str, value: Any, kind: Any, where: str) -> None:
    """Raises if a value cannot be one of an annotation."""
    if fits(value, kind):
        return
    shown = repr(value) if len(repr(value)) < 80 else f"{repr(value)[:80]}..."
    advice = " Write it in quotes." if isinstance(value, bool | int | float) and fits("", kind) else ""
    raise ValueError(f"`{key}` in {where} must be {describe(kind)}, got {shown}.{advice}")
