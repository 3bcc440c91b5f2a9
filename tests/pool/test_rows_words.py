"""Words of the pool's rows, against Python's own split."""

import datasets

from circuitseer_trl.pool.build import build_pool


def test_words_are_those_of_a_split():
    rows = [("What is  2 + 2?\n", "It is 4."), ("one", "a\tb\n\nc "), ("ein Wort", "\u00e4 \u4f60\u597d x")]
    pool = build_pool(datasets.Dataset.from_dict({"problem": [p for p, _ in rows], "solution": [s for _, s in rows]}))
    assert pool.figures.words.tolist() == [len(problem.split()) + len(solution.split()) for problem, solution in rows]
