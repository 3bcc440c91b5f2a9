"""One exhibit of every kind, with text that is hostile to HTML, LaTeX and CSV."""

from math import nan

from circuitseer_trl.drawing.exhibits import (
    Bars,
    DotPlot,
    DotRow,
    Exhibit,
    HeadMap,
    Histogram,
    Lines,
    Matrix,
    Number,
    Scatter,
    Table,
    Tokens,
)

HOSTILE = '<script>alert(1)</script> & 50% of $x_1$, "a|b" \x1b[31m\u202e~^#{\\end} -1'


def all_kinds() -> list[Exhibit]:
    return [
        Table(
            "results",
            "Results",
            ["method", "Pass@1", "remark"],
            [
                ["random", Number(0.611, "61.1 [50.8, 70.5]"), HOSTILE],
                ["top", Number(0.656, "65.6 [55.3, 74.6]", "+4.5", strong=True), ""],
                ["low", Number(None, "-", "-4.5"), "nothing was measured"],
            ],
            note="Percent right.",
            text_columns=["remark"],
        ),
        DotPlot(
            "by-method",
            "By method",
            [
                ("gsm8k", [DotRow("random", 61.1, (50.8, 70.5), (60.0, 62.2), "61.1 [50.8, 70.5]", 0)]),
                ("the paper", [DotRow(HOSTILE, 40.0, None, (), "40.0", 1, hollow=True), DotRow("none", None)]),
            ],
            unit="%",
        ),
        Matrix("overlap", "Overlap", ["random", "top"], [[1.0, -0.2], [-0.2, nan]], [["100%", "8%"], ["8%", "-"]]),
        HeadMap("heads", "Heads", [[0.02, -0.01], [nan, 0.0]], [(0, 0)], [[0.001, 0.002], [0.0, 0.003]]),
        Scatter("length", "Length", {"pool": [(1.0, 2.0), (100.0, nan), (10.0, 3.0)], "b": []}, "tokens", "score"),
        Lines("loss", "Loss", [("random", 0, [(1, 2.0), (2, 1.5)]), ("random", 0, [(1, 2.1)])], "step", "loss"),
        Histogram(
            "words", "Words", [0, 10, 20], {"pool": [0.25, 0.75]}, "words", means={"pool": 12.5}, medians={"pool": 15}
        ),
        Tokens("tokens", "Tokens", ["What", " is", HOSTILE], [2.5, 0.5, nan], "attention received"),
        Bars("sources", "Sources", ["algebra", HOSTILE], {"pool": [60.0, 40.0], "top": [None, 100.0]}, "%"),
    ]
