"""How many rows do pairs of selections share, as rows of a table?"""

from collections.abc import Iterable

from circuitseer_trl.selection.overlaps import Overlap

OVERLAP_TITLE = "Rows that two selections share"
OVERLAP_HEADING = ["selections", "rows in both", "independent draws", ""]
SAME_NOISE = "same random numbers"


def overlap_rows(found: Iterable[Overlap]) -> list[list[str]]:
    """The cells of a table with the heading `OVERLAP_HEADING`."""
    return [
        [
            f"{each.left}, {each.right}",
            f"{each.shared} of {each.smaller} ({100 * each.shared / each.smaller:.1f}%)",
            f"{each.by_chance:.1f} ({100 * each.by_chance / each.smaller:.1f}%)",
            SAME_NOISE if each.same_noise else "",
        ]
        for each in found
    ]
