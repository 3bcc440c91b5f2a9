"""How is a value of a measure written? In percent, or in the measure's own unit."""

from dataclasses import dataclass

from circuitseer_trl.evaluation.paired import MEASURES


@dataclass(frozen=True)
class MeasureForm:
    """How values of a measure are written.

    Attributes:
        name: The measure's name.
        unit: Unit of a value on an axis; differences are in `difference_unit`.
        factor: What a stored value is multiplied with.
        digits: Digits after the point.
        less_is_better: Whether a lower value is a better one.
    """

    name: str
    unit: str = "%"
    difference_unit: str = "points"
    factor: float = 100.0
    digits: int = 1
    less_is_better: bool = False

    def value(self, value: float) -> str:
        return f"{self.factor * value:.{self.digits}f}"

    def difference(self, value: float) -> str:
        return f"{self.factor * value:+.{self.digits}f}"

    def interval(self, ends: tuple[float, float], signed: bool = False) -> str:
        low, high = (self.difference(end) if signed else self.value(end) for end in ends)
        return f"[{low}, {high}]"

    def better(self, difference: float) -> bool:
        return difference < 0 if self.less_is_better else difference > 0


def form_of(measure: str) -> MeasureForm:
    if measure == "held_out_loss":
        return MeasureForm(MEASURES[measure], "nats per token", "nats per token", 1.0, 4, less_is_better=True)
    return MeasureForm(MEASURES[measure])
