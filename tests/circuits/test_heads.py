"""Head selection: rounding, ties, stability, the files it writes, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.circuits.head_ranking import num_selected, selection_stability, top_heads
from circuitseer_trl.circuits.heads import HeadSet, find_heads, undetected_heads
from circuitseer_trl.circuits.probe import Probe, hardest
from circuitseer_trl.circuits.sweep import head_loss_increases
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.losses import response_losses
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.modeling.stored_losses import pool_losses
from circuitseer_trl.pool.build import load_pool


def test_share_of_heads_is_rounded_half_up():
    assert num_selected(270, 0.05) == 14  # 13.5
    assert num_selected(336, 0.05) == 17  # 16.8: Qwen2.5-Math-1.5B
    assert num_selected(8, 0.05) == 1


def test_ties_go_to_the_lower_layer_then_head():
    assert top_heads(np.array([[1.0, 2.0], [2.0, 0.0]]), 3) == [(0, 1), (1, 0), (0, 0)]


def test_stability_is_certain_where_heads_never_change_places():
    increases = np.tile([3.0, 1.0, 2.0], (5, 1))
    assert selection_stability(increases, 2, np.zeros(len(increases))).tolist() == [1, 0, 1]
    noisy = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert selection_stability(noisy, 1, np.zeros(len(noisy)), draws=4000)[0] == pytest.approx(
        0.75, abs=0.03
    )  # both, or first twice, or a tie


def test_files_and_numbers_of_a_whole_run(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model, system_prompt="Think.")
    heads = find_heads(pool, reference, tmp_path, Probe(size=5), head_ratio=0.25)
    card = read_json(tmp_path / "heads.json")
    assert np.array(card["importance"]).shape == np.array(card["standard_error"]).shape == (2, 4)
    assert HeadSet.read(tmp_path / "heads.json").selected == heads.selected
    assert card["num_probe"] == 5
    assert card["mode"] == "exact"

    # The probe is the five rows of highest loss, by a plain loop over the pool.
    encoded = reference.encode(list(pool))
    losses = [response_losses(reference.model(), [item])[0] for item in encoded]
    order = np.argsort(-np.array(losses), kind="stable")[:5].tolist()
    assert read_table(tmp_path / "probe.parquet")["uid"].to_pylist() == [pool.uids[index] for index in order]

    # Importance is the mean over the probe of each example's sweep.
    sweeps = [head_loss_increases(reference.model(), encoded[index]).increase for index in order]
    assert heads.importance == pytest.approx(np.mean(sweeps, axis=0), abs=1e-12)
    assert np.array(card["standard_error"]) == pytest.approx(np.std(sweeps, axis=0, ddof=1) / 5**0.5, abs=1e-12)
    assert heads.selected == top_heads(np.mean(sweeps, axis=0), 2)
    matrix = read_table(tmp_path / "importance.parquet")
    assert matrix.column_names == ["uid", "layer", "head", "loss_increase", "base_loss"]
    assert matrix["loss_increase"].to_numpy().reshape(5, 2, 4) == pytest.approx(np.array(sweeps), abs=1e-12)


def test_a_second_run_computes_nothing_and_changes_no_byte(tmp_path: Path, tiny_model: str, pool_file: str):
    def run() -> dict[Path, tuple[bytes, int]]:
        find_heads(load_pool(pool_file), Reference(tiny_model), tmp_path, Probe(size=3))
        shards = [*tmp_path.glob("losses/*"), *tmp_path.glob("importance/*"), tmp_path / "heads.json"]
        assert len(shards) == 1 + 3 + 1
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in shards}

    assert run() == run()


def test_probe_size_of_the_pool_takes_the_whole_pool(tmp_path: Path, tiny_model: str, pool_file: str):
    heads = find_heads(load_pool(pool_file), Reference(tiny_model), tmp_path, Probe(size=12))
    assert heads.card["num_probe"] == 12
    assert not (tmp_path / "losses").exists()


@pytest.mark.thorough
def test_random_probe_needs_no_losses_and_follows_its_seed(tmp_path: Path, tiny_model: str, pool_file: str):
    def probe(folder: str, seed: int) -> list[str]:
        find_heads(load_pool(pool_file), Reference(tiny_model), tmp_path / folder, Probe("random", 4, seed=seed))
        assert not (tmp_path / folder / "losses").exists()
        return read_table(tmp_path / folder / "probe.parquet")["uid"].to_pylist()

    assert probe("a", 0) == probe("b", 0) != probe("c", 1)


def test_candidates_are_a_random_part_of_the_pool(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)

    def probe(folder: str, seed: int, candidates: int | None = 6) -> list[str]:
        heads = find_heads(pool, reference, tmp_path / folder, Probe(size=3, candidates=candidates, seed=seed))
        assert heads.card["probe"].get("candidates") == (6 if candidates == 6 else None)
        return read_table(tmp_path / folder / "probe.parquet")["uid"].to_pylist()

    whole = probe("whole", 0, None)
    assert probe("as many as the pool", 0, 12) == whole
    first, second = probe("a", 0), probe("b", 1)
    assert first != second
    assert not (tmp_path / "a" / "losses").exists()
    # The three hardest of the six that were drawn, by the losses of the whole pool.
    everything = read_table(tmp_path / "whole" / "losses")
    losses = dict(zip(everything["uid"].to_pylist(), everything["loss_nats"].to_pylist(), strict=True))
    drawn = read_table(tmp_path / "a" / "candidates" / "losses")["uid"].to_pylist()
    assert len(drawn) == 6
    assert first == sorted(drawn, key=lambda uid: -losses[uid])[:3]


def test_bad_numbers_of_candidates_are_refused():
    with pytest.raises(ValueError, match="`probe_candidates` must be a whole number of at least 300, got 299"):
        SelectionConfig("x", probe_candidates=299)
    with pytest.raises(ValueError, match="is for `probe_strategy: max_loss`"):
        SelectionConfig("x", probe_candidates=500, probe_strategy="random")


def test_truncated_rows_are_marked_and_hardly_answered_ones_left_out(tmp_path: Path, tiny_model: str, pool_file: str):
    reference = Reference(tiny_model, max_length=52, prompt_format="plain", system_prompt="")
    table = pool_losses(load_pool(pool_file), reference, tmp_path)
    cut = [index for index, truncated in enumerate(table["truncated"].to_pylist()) if truncated]
    assert cut
    for index in hardest(table, 12).tolist():
        assert index not in cut or table["num_completion_tokens"][index].as_py() >= 16


def test_heads_of_another_model_are_refused(tmp_path: Path, tiny_model: str, other_model: str, pool_file: str):
    heads = find_heads(load_pool(pool_file), Reference(tiny_model), tmp_path, Probe(size=2))
    heads.check_model(Reference(tiny_model))
    with pytest.raises(ValueError, match=r"found in .* but the reference model is"):
        heads.check_model(Reference(other_model))


def test_changed_inputs_are_refused_with_both_fingerprints(
    tmp_path: Path, tiny_model: str, other_model: str, pool_file: str
):
    find_heads(load_pool(pool_file), Reference(tiny_model), tmp_path, Probe(size=2))
    with pytest.raises(
        ValueError, match=r"results of other inputs \(fingerprint \w{16} there, \w{16} now\)\. Changed: model"
    ):
        find_heads(load_pool(pool_file), Reference(other_model), tmp_path, Probe(size=2))


def test_undetected_heads(tiny_model: str):
    reference = Reference(tiny_model)
    assert len(undetected_heads(reference, "all").selected) == 8
    first, second = (undetected_heads(reference, "random", size=3, seed=seed).selected for seed in (0, 1))
    assert len(set(first)) == 3
    assert first == undetected_heads(reference, "random", size=3, seed=0).selected != second


def test_a_heads_file_that_is_missing_or_broken_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="find-heads` writes it"):
        HeadSet.read(tmp_path / "heads.json")
    (tmp_path / "heads.json").write_text('{"selected": [[0,')
    with pytest.raises(ValueError, match=r"heads\.json is not JSON that can be read"):
        HeadSet.read(tmp_path / "heads.json")


@pytest.mark.thorough
def test_a_row_that_breaks_the_model_is_left_out_and_told(tmp_path: Path, tiny_model: str):
    rows = [{"problem": f"What is {row} + 1?", "solution": f"It is {row + 1}."} for row in range(101)]
    rows[0]["problem"] += " Ω"
    file = tmp_path / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pool = load_pool(str(file))
    reference = Reference(tiny_model, prompt_format="plain")
    reference.model().get_input_embeddings().weight[reference.tokenizer("Ω")["input_ids"][-1]] = torch.nan
    losses = pool_losses(pool, reference, tmp_path / "losses")
    assert np.flatnonzero(~np.isfinite(losses["loss_nats"].to_numpy())).tolist() == [0]
    assert 0 not in hardest(losses, 100)
    heads = find_heads(pool, reference, tmp_path / "broken", Probe(size=101), head_ratio=0.25)
    assert heads.card["probe"]["not_finite"] == [pool[0].uid]
    assert heads.card["num_probe"] == 100
    whole = find_heads(
        pool.subset(np.arange(1, 101)),
        Reference(tiny_model, prompt_format="plain"),
        tmp_path / "whole",
        Probe(size=100),
        head_ratio=0.25,
    )
    np.testing.assert_allclose(heads.importance, whole.importance, rtol=0, atol=1e-6)
    assert heads.selected == whole.selected
    with pytest.raises(ValueError, match="losses of 1 of 12 rows are not finite"):
        find_heads(pool.subset(np.arange(12)), reference, tmp_path / "few", Probe(size=12), head_ratio=0.25)
