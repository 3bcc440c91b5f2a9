"""Near-duplicates and overlaps with benchmarks, against slow and obvious second ways; dropped before any scoring."""

from pathlib import Path

import pytest
import yaml

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.configs import PoolConfig, SelectionConfig
from circuitseer_trl.evaluation.benchmark_files import benchmark_named, paper_benchmarks
from circuitseer_trl.pool.known_texts import KnownNgrams, read_texts
from circuitseer_trl.pool.load import pool_from_config
from circuitseer_trl.pool.near_duplicates import near_duplicates
from circuitseer_trl.pool.sources import read_dataset
from circuitseer_trl.pool.word_ngrams import WORD
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from tests.conftest import ROOT
from tests.helpers.dirty_texts import brute_force_duplicates, grams, some_texts, write_problems
from tests.helpers.method_inputs import select_rows


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_near_duplicates_are_those_of_comparing_all_pairs(similarity: float):
    texts = some_texts(250, seed=3)
    expected = brute_force_duplicates(texts, similarity)
    assert 10 < len(expected) < 240
    assert near_duplicates(texts, similarity) == expected


def overlapping(texts: list[str], others: list[str], size: int) -> dict[int, int]:
    known = KnownNgrams(others, size)
    found = {place: known.first_shared(text) for place, text in enumerate(texts)}
    return {place: other for place, other in found.items() if other is not None}


@pytest.mark.parametrize("size", [1, 4, 13])
def test_overlaps_are_those_of_comparing_all_pairs(size: int):
    texts, others = some_texts(120, seed=1), some_texts(60, seed=1)[30:] + some_texts(30, seed=2)
    expected = {}
    for place, text in enumerate(texts):
        shared = [other for other, known in enumerate(others) if grams(text, size) & grams(known, size)]
        if shared:
            expected[place] = shared[0]
    assert 0 < len(expected) <= 120
    assert overlapping(texts, others, size) == expected


def test_what_a_word_is_by_hand():
    assert WORD.findall("x_{12}+\\frac{a}{b} 设函数f") == ["x", "12", "frac", "a", "b", "设", "函", "数", "f"]
    # Fewer than five words: compared as a whole, whatever the signs between them.
    assert near_duplicates(["What is 2 + 2?", "what is 2, 2", "What is 2?", "", "?"], 0.8) == {1: 0}
    # 6 words, 2 grams each; 1 in common of 3: a similarity of 1/3.
    assert near_duplicates(["a b c d e f", "a b c d e g"], 0.33) == {1: 0}
    assert near_duplicates(["a b c d e f", "a b c d e g"], 0.34) == {}
    # The second is like the first, and the third like the second but not the first: only the second goes.
    chain = ["a b c d e f g h", "b c d e f g h i", "c d e f g h i j"]  # similarity 3/5 of neighbours, 2/6 else
    assert near_duplicates(chain, 0.6) == {1: 0}
    assert overlapping(["one two three"], ["zero one two three four"], 13) == {}
    assert overlapping(["One, two, three!"], ["x", "one two three"], 13) == {0: 1}


def test_dropped_rows_have_a_reason_and_are_counted(tmp_path: Path, dirty: PoolConfig):
    pool = pool_from_config(dirty)
    assert [example.row for example in pool] == list(range(12))
    name = dirty.text_sources()[0]["dataset_name"]
    select_rows(SelectionConfig(str(tmp_path / "run"), method="random", budget_size=3), "", pool)
    rows = read_table(tmp_path / "run" / "dropped.parquet").to_pylist()
    assert [(row["row"], row["reason"], row["detail"]) for row in rows] == [
        (12, "near-duplicate", f"of {pool.uids[0]}"),
        (13, f"overlaps {name}", f"{name} row 1"),
        (14, "no problem", None),
        (15, f"overlaps {name}", f"{name} row 0"),
    ]
    card = read_json(tmp_path / "run" / "selection.json")["pool"]
    assert card["dropped"] == {"near-duplicate": 1, "no problem": 1, f"overlaps {name}": 2}
    assert (card["num_rows"], card["num_usable"]) == (16, 12)
    assert card["cleaning"]["dedup_similarity"] == 0.7
    assert card["cleaning"]["ngram_size"] == 13


def test_of_several_benchmarks_the_first_named_is_the_reason(tmp_path: Path, dirty: PoolConfig):
    other = write_problems(tmp_path / "other.jsonl", ["Something else.", "Find 6 * 8."])
    again = PoolConfig(dirty.dataset_name, decontaminate_against=[other, *(dirty.decontaminate_against or [])])
    rows = {row["row"]: row for row in pool_from_config(again).dropped}
    assert (rows[15]["reason"], rows[15]["detail"]) == (f"overlaps {other}", f"{other} row 1")
    assert rows[13]["detail"] == f"{dirty.text_sources()[0]['dataset_name']} row 1"


def test_cleaning_changes_what_scores_are_made_from(dirty: PoolConfig):
    clean = pool_from_config(dirty)
    raw = pool_from_config(PoolConfig(dirty.dataset_name))
    assert (len(raw), len(clean)) == (15, 12)
    assert raw.fingerprint != clean.fingerprint
    assert "cleaning" not in raw.describe()


def test_what_is_clean_loses_nothing(pool_file: str):
    raw, clean = pool_from_config(PoolConfig(pool_file)), pool_from_config(PoolConfig(pool_file, dedup_similarity=1.0))
    assert clean.fingerprint == raw.fingerprint
    assert clean.describe() == raw.describe() | {"cleaning": clean.cleaning}
    assert clean.dropped_counts() == {}


def test_the_plugin_cleans_too(tmp_path: Path, dirty: PoolConfig):
    options = {"dedup_similarity": 0.7, "decontaminate_against": dirty.decontaminate_against}
    selector = CircuitSeerDataSelector(method="random", budget_ratio=1.0, **options)
    assert len(selector.select(read_dataset(dirty.dataset_name))) == 12


def test_bad_cleaning_is_refused(tmp_path: Path, dirty: PoolConfig):
    for values, message in [
        ({"dedup_similarity": 0}, r"`dedup_similarity` must be a number in \(0, 1\], got 0"),
        ({"ngram_size": 0}, "`ngram_size` must be a whole number of at least 1"),
        ({"decontaminate_against": [3]}, "must be dataset names, files, or mappings with a `dataset_name`, got 3"),
        ({"decontaminate_against": [""]}, "mappings with a `dataset_name`, got ''"),
        ({"decontaminate_against": [{"dataset_name": "a", "split": "x"}]}, "has no key 'split'; keys are dataset_name"),
        ({"decontaminate_against": ["{a"]}, "starts with a brace but is not JSON"),
    ]:
        with pytest.raises(ValueError, match=message):
            PoolConfig("pool", **values)  # type: ignore[arg-type]
    words = ["--dataset_name", "p", "--decontaminate_against", "a", '{"dataset_name": "b", "column": "c"}']
    assert parse_recipe(PoolConfig, args=words).text_sources() == [
        {"dataset_name": "a"},
        {"dataset_name": "b", "column": "c"},
    ]
    with pytest.raises(FileNotFoundError, match="There is no dataset file"):
        pool_from_config(PoolConfig(dirty.dataset_name, decontaminate_against=["./none.jsonl"]))
    with pytest.raises(
        ValueError, match=r"has no column text; its columns are question, solution\. Set `column` to one of them"
    ):
        read_texts({"dataset_name": str(tmp_path / "bench.jsonl"), "column": "text"})
    (tmp_path / "odd.jsonl").write_text('{"problem": "a"}\n{"problem": ["b"]}\n')
    with pytest.raises(
        ValueError, match=r"Row 1 of .*odd\.jsonl has \['b'\] in its column 'problem', which is not text"
    ):
        read_texts({"dataset_name": str(tmp_path / "odd.jsonl")})
    with pytest.raises(ValueError, match=r"is left: all 15 overlap .* Check that the pool is not one of them"):
        pool_from_config(PoolConfig(dirty.dataset_name, decontaminate_against=[dirty.dataset_name]))


def test_a_file_on_the_web_is_read_by_its_address(tmp_path: Path):
    write_problems(tmp_path / "bench.jsonl", ["Far away."])
    assert read_texts({"dataset_name": f"file://{tmp_path}/bench.jsonl"}) == ["Far away."]
    with pytest.raises(ValueError, match=r"Cannot tell what kind of file https://x\.org/a\.txt is"):
        read_dataset("https://x.org/a.txt")


def test_the_recipe_names_the_nine_benchmarks_as_the_evaluation_does():
    recipe = yaml.safe_load((ROOT / "recipes" / "data" / "openr1-math-clean.yaml").read_text())
    listed = [
        (item["dataset_name"], item.get("dataset_config"), item.get("dataset_split", "test"))
        for item in PoolConfig(**recipe).text_sources()
    ]
    expected = []
    for benchmark in map(benchmark_named, paper_benchmarks()):
        file = benchmark.data_files
        if file is None:
            expected += [(benchmark.hub, each, benchmark.split) for each in benchmark.configs or (None,)]
        else:
            web = "://" in file
            expected.append((file if web else f"hf://datasets/{benchmark.hub}/{file}", None, "test"))
    assert listed == expected


@pytest.mark.thorough
def test_real_gsm8k_against_its_test_set_and_the_nine(shared: Path):
    """Counts of 21 November 2026; the one near-duplicate is Josie's headphones, asked again for Amanda."""
    others = [shared / "gsm8k" / "test.jsonl", *sorted((shared / "benchmarks").glob("*/test.jsonl"))]
    assert len(others) == 10
    pool = pool_from_config(
        PoolConfig(
            str(shared / "gsm8k" / "train.jsonl"),
            prompt_column="question",
            completion_column="answer",
            dedup_similarity=0.8,
            decontaminate_against=[str(path) for path in others],
        )
    )
    assert pool.dropped_counts() == {f"overlaps {others[0]}": 4, "near-duplicate": 1}
    [twin] = [row for row in pool.dropped if row["reason"] == "near-duplicate"]
    assert twin["problem"].startswith("Amanda received $50 as a gift")
    [first] = [example for example in pool if f"of {example.uid}" == twin["detail"]]
    assert first.problem.startswith("Josie received $50 as a gift")
