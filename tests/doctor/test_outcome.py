"""One row never stops the others, and a number that is not one is never right."""

import pytest

from circuitseer_trl.doctor.outcome import CannotError, Check, Outcome, compared, run_checks


@pytest.mark.parametrize(
    ("value", "at_least", "status"),
    [
        (0.5, False, "ok"),
        (1.0, False, "ok"),
        (1.5, False, "differs"),
        (0.5, True, "differs"),
        (1.5, True, "ok"),
        (float("nan"), False, "differs"),
        (float("nan"), True, "differs"),
        (float("inf"), True, "differs"),
    ],
)
def test_a_value_beside_its_bound(value: float, at_least: bool, status: str):
    outcome = compared("x", value, 1.0, "nats", at_least=at_least)
    assert outcome.status == status
    assert (outcome.value is None) == ("not finite" in outcome.detail)


def test_a_failure_is_a_row_and_the_rest_runs():
    def cannot() -> list[Outcome]:
        raise CannotError("no such device")

    def fails() -> list[Outcome]:
        raise RuntimeError("\nout of memory\nand more lines")

    checks = [
        Check("a", cannot),
        Check("b", fails),
        Check("c", fails, left_out="not asked for"),
        Check("d", lambda: [compared("d1", 0, 1, ""), compared("d2", 2, 1, "")]),
    ]
    begun: list[str] = []
    rows = list(run_checks(checks, lambda check: begun.append(check.name)))
    assert [(row.name, row.status) for row in rows] == [
        ("a", "cannot"),
        ("b", "failed"),
        ("c", "skipped"),
        ("d1", "ok"),
        ("d2", "differs"),
    ]
    assert [row.detail for row in rows[:3]] == ["no such device", "RuntimeError: out of memory", "not asked for"]
    assert begun == ["a", "b", "d"]  # what is left out is not begun
