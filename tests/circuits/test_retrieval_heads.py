"""Retrieval heads: a whole run, its card and its readers, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.circuits import retrieval_heads
from circuitseer_trl.circuits.head_card import criterion_of, read_heads_card, selecting_values, shown_values
from circuitseer_trl.circuits.heads import HeadSet
from circuitseer_trl.circuits.retrieval import RetrievalProbes, head_copies
from circuitseer_trl.circuits.retrieval_heads import find_retrieval_heads
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pages.selection_exhibits import head_maps
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scripts.compare_heads import main as compare_heads_command
from circuitseer_trl.scripts.find_heads import main as find_heads_command
from tests.helpers.tiny_models import save_model

SMALL = RetrievalProbes(size=6, num_shots=1, key_characters=4, max_value_tokens=30, max_tokens=300)


def test_a_whole_run(tmp_path: Path, tiny_model: str, pool_file: str):
    reference, pool = Reference(tiny_model, dtype="float32"), load_pool(pool_file)
    heads = find_retrieval_heads(pool, reference, tmp_path, SMALL, 0.25)
    probes = [SMALL.make(reference.tokenizer, index) for index in range(6)]
    copied = np.array([head_copies(reference.model(), probe).copied_ratio for probe in probes])
    means = copied.mean(axis=0)
    card = read_heads_card(tmp_path / "heads.json")
    assert card["retrieval"]["values"] == pytest.approx(means)
    assert card["retrieval"]["standard_error"] == pytest.approx(copied.std(axis=0, ddof=1) / np.sqrt(6))
    assert (
        heads.selected == sorted(np.ndindex(means.shape), key=lambda head: (-means[head], head))[: len(heads.selected)]
    )
    assert (card["num_probe"], "importance" in card, criterion_of(card)) == (6, False, "retrieval")
    assert "predicts 0% of the tokens" in card["warnings"][-1]
    assert shown_values(card).unit == selecting_values(card).unit == "share copied"
    assert len(read_table(tmp_path / "retrieval.parquet")) == 6 * means.size
    # A run again takes what is there, and its readers take the heads for those of this model.
    assert find_retrieval_heads(pool, reference, tmp_path, SMALL, 0.25).selected == heads.selected
    HeadSet.read(tmp_path / "heads.json").check_model(reference)
    (drawn,) = head_maps("run", {"heads.json": card})
    assert (drawn.values, drawn.unit) == (card["retrieval"]["values"], "share copied")


def test_commands_find_and_compare_them(
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    pool_file: str,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    model = save_model(tmp_path / "model", tokenizer, max_position_embeddings=1200, initializer_range=0.3)
    words = ["--dataset_name", pool_file, "--reference_model", str(model), "--probe_size", "12"]
    find_heads_command([*words, "--criterion", "retrieval", "--output_dir", "copying"])
    printed = capsys.readouterr().out
    assert "1 retrieval head of 8, by 12 texts of keys and values" in printed
    assert "% of an answer" in printed
    assert read_json(Path("copying/heads.json"))["retrieval"]["max_tokens"] == 1200
    find_heads_command([*words, "--output_dir", "loss"])
    compare_heads_command(["copying", "loss"])
    printed = capsys.readouterr().out
    assert "retrieval and importance: rank correlation" in printed
    assert "criterion: retrieval and loss" in printed
    assert "copying, share copied" in printed
    find_heads_command([*words, "--criterion", "retrieval", "--output_dir", "dry", "--dry_run", "true"])
    assert "12 key-value probes of 1,1" in capsys.readouterr().out


def test_heads_that_copy_nothing_are_not_selected(
    tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch
):
    real = retrieval_heads.increase_matrix

    def one_head(*args: object) -> np.ndarray:
        copied = real(*args)
        copied[:, 1:] = 0
        copied[:, 0] = 0.5
        return copied

    monkeypatch.setattr(retrieval_heads, "increase_matrix", one_head)
    with pytest.raises(
        ValueError, match=r"Only 1 heads of .* copy anything on 6 retrieval probes, .* asks for 2. Lower"
    ):
        find_retrieval_heads(load_pool(pool_file), Reference(tiny_model), tmp_path, SMALL, 0.25)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"probe_strategy": "max_loss"}, "probes of its own and takes no rows of the pool"),
        ({"probe_candidates": 400}, "probes of its own and takes no rows of the pool"),
        ({"head_detection": "race"}, "one forward a probe for all heads"),
        (
            {"method": "attention_influence", "criterion": "loss"},
            "needs `criterion: retrieval`, got 'loss'. Set `method: dep",
        ),
        ({"method": "circuitseer_contrast"}, "needs `criterion: contrast`, got 'retrieval'"),
    ],
)
def test_settings_that_do_not_fit(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SelectionConfig(**{"output_dir": "out", "criterion": "retrieval"} | values)
