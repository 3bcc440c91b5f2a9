"""Is an optional package installed?"""

from importlib.util import find_spec


def require_extra(extra: str, purpose: str, *modules: str) -> None:
    """Raises if modules of an extra are not installed. Call it before any work.

    Args:
        extra: Name of the extra in `pyproject.toml`.
        purpose: The feature that needs the extra, as the subject of the message.
        modules: Names of the modules.
    """
    if missing := [name for name in modules if find_spec(name) is None]:
        raise ImportError(
            f"{purpose} needs {' and '.join(missing)}, which is not installed: pip install 'circuitseer-trl[{extra}]'"
        )
