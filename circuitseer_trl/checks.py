"""Does a key have a value that it can have?"""

import math
from datetime import date
from typing import Any, get_args


def check_choice(name: str, value: Any, choices: Any) -> None:
    """Raises if `value` is not one of the values of the `Literal` `choices`."""
    if value not in get_args(choices):
        raise ValueError(f"`{name}` must be one of {', '.join(get_args(choices))}, got {value!r}.")


def check_count(name: str, value: Any, smallest: int = 1) -> None:
    """Raises if `value` is not a whole number of at least `smallest`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
        raise ValueError(f"`{name}` must be a whole number of at least {smallest}, got {value!r}.")


def check_seed(name: str, value: Any, bits: int = 64) -> None:
    """Raises if `value` is not a whole number from 0 that fits in so many bits."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**bits:
        raise ValueError(f"`{name}` must be a whole number from 0 to {2**bits - 1}, got {value!r}.")


def is_number(value: Any) -> bool:
    """Whether `value` is a number. NaN and the infinities are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def check_number(name: str, value: Any, lowest: float = -math.inf, highest: float = math.inf) -> None:
    """Raises if `value` is not a number, or not in [lowest, highest]."""
    if not is_number(value) or not lowest <= value <= highest:
        at_least = f" of at least {lowest:g}" if lowest > -math.inf else ""
        bounds = f" in [{lowest:g}, {highest:g}]" if highest < math.inf else at_least
        raise ValueError(f"`{name}` must be a number{bounds}, got {value!r}.")


def check_positive(name: str, value: Any) -> None:
    """Raises if `value` is not a number above 0."""
    if not is_number(value) or not value > 0:
        raise ValueError(f"`{name}` must be a number above 0, got {value!r}.")


def check_share(name: str, value: Any) -> None:
    """Raises if `value` is not a number in (0, 1]."""
    if not is_number(value) or not 0 < value <= 1:
        raise ValueError(f"`{name}` must be a number in (0, 1], got {value!r}.")


def check_flag(name: str, value: Any) -> None:
    """Raises if `value` is neither true nor false."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be true or false, got {value!r}.")


def check_date(name: str, value: Any) -> str:
    """Returns a date as text, such as 2024-07-26. Raises if `value` is no date."""
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise ValueError(f"`{name}` must be a date such as 2024-07-26, got {value!r}.") from None
