"""How many cases of the trial had which outcome? Tests record it, and pytest prints it at the end."""

from collections import Counter
from typing import Any, get_args

import pytest

from circuitseer_trl.drawing.text_tables import text_table
from tests.trial.outcomes import GOOD, Outcome

KEY = "trial"


def record(request: pytest.FixtureRequest, group: str, outcome: Outcome) -> None:
    """Records an outcome with the test, also from a process of pytest-xdist."""
    request.node.user_properties.append((KEY, (group, outcome)))


def outcome_table(counts: Counter[tuple[str, str]]) -> str:
    kinds = get_args(Outcome)
    groups = list(dict.fromkeys(group for group, _ in sorted(counts)))
    rows: list[list[Any]] = [[group, *(counts[group, kind] for kind in kinds)] for group in groups]
    rows.append(["all", *(sum(row[place] for row in rows) for place in range(1, len(kinds) + 1))])
    shown = [[str(row[0]), str(sum(row[1:])), *map(str, row[1:])] for row in rows]
    return text_table(["", "tried", *kinds], shown)


def print_outcomes(terminalreporter: Any) -> None:
    """Prints the table, if tests of the trial ran. All but the outcomes in `GOOD` must be 0."""
    counts: Counter[tuple[str, str]] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                counts.update(tuple(value) for key, value in report.user_properties if key == KEY)
    if counts:
        terminalreporter.section(f"trial: all but {', '.join(GOOD)} must be 0")
        terminalreporter.write_line(outcome_table(counts))
