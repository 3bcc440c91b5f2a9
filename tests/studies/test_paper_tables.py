"""The paper's tables as data: they are whole, and their slips are found again."""

from collections import Counter

from circuitseer_trl.evaluation.benchmark_files import benchmark_named
from circuitseer_trl.studies.paper_tables import NUM_PROBLEMS, paper_figures, paper_slips


def test_tables_are_whole():
    counts = Counter(figure.table for figure in paper_figures())
    assert counts == {1: 4 * 8 * 13, 2: 3 * 10, 3: 3 * 10, 4: 3 * 10, 5: 3 * 10}
    assert len(set(paper_figures())) == sum(counts.values())  # none stands twice


def test_small_tables_repeat_the_first():
    """Tables 2 to 5 compare with the rows `random` and `circuitseer` of table 1."""
    first = {
        (f.method, f.benchmark): f.percent
        for f in paper_figures()
        if f.table == 1 and f.model.endswith("7B-Base") and f.metric == "pass_at_1"
    }
    repeated = [f for f in paper_figures() if f.table > 1 and f.method in ("random", "circuitseer")]
    assert len(repeated) == 4 * 2 * 10
    assert all(figure.percent == first[figure.method, figure.benchmark] for figure in repeated)


def test_slips_are_those_counted_by_hand():
    """Two other readers counted 43 arrows, 3 differences, 4 averages and 3 impossible shares in table 1."""
    counts = Counter((slip.figure.table, slip.kind) for slip in paper_slips())
    assert counts == {
        (1, "sign"): 43,
        (1, "change"): 3,
        (1, "average"): 4,
        (1, "impossible"): 3,
        (2, "impossible"): 1,
        (3, "average"): 1,
        (3, "impossible"): 4,
    }


def test_one_slip_by_hand():
    # IFD on Qwen2.5-Math-7B-Instruct: (25.8 + 22.3 + 68.3 + 87.0 + 47.6 + 46.7 + 71.9 + 80.3 + 67.0) / 9 = 57.43...
    [slip] = [slip for slip in paper_slips() if slip.kind == "average" and slip.figure.method == "ifd"]
    assert slip.figure.percent == 59.7
    assert round(slip.computed, 2) == 57.43


def test_sizes_are_those_of_the_benchmarks():
    assert all(benchmark_named(name).number == number for name, number in NUM_PROBLEMS.items())
