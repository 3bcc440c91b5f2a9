"""Rows that selections share, by hand."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from circuitseer_trl.selection.overlaps import Overlap, beside, noise_of, overlaps
from tests.conftest import ROOT

OLD_RUN = ROOT / "tests" / "data" / "run_0_1_0"


def card(pool: str = "p", **values: Any) -> dict[str, Any]:
    return {"pool": {"fingerprint": pool, "num_usable": 20}} | values


def test_overlaps_by_hand():
    own, shared = {"noise": {"kind": "own", "seed": 5}}, {"noise": {"kind": "shared", "seed": 42}}
    cards = {
        "a": card(**own),
        "b": card(**own),
        "c": card(**shared),
        "d": card("other"),
        "e": card(seed=42, sampling="soft"),
    }
    chosen = {"a": "xyzw", "b": "xyuvstrq", "c": "kl", "d": "xyzw", "e": "lm"}
    assert overlaps(cards, chosen) == [
        Overlap("a", "b", shared=2, smaller=4, by_chance=4 * 8 / 20, same_noise=True),
        Overlap("a", "c", shared=0, smaller=2, by_chance=pytest.approx(0.4), same_noise=False),
        Overlap("a", "e", shared=0, smaller=2, by_chance=pytest.approx(0.4), same_noise=False),
        Overlap("b", "c", shared=0, smaller=2, by_chance=pytest.approx(0.8), same_noise=False),
        Overlap("b", "e", shared=0, smaller=2, by_chance=pytest.approx(0.8), same_noise=False),
        Overlap("c", "e", shared=1, smaller=2, by_chance=pytest.approx(0.2), same_noise=True),
    ]


def test_noise_of_cards_with_and_without_chance():
    assert noise_of({"noise": None, "seed": 42, "sampling": "soft"}) is None
    assert noise_of({"seed": 42, "sampling": "top_k"}) is None
    assert noise_of({"seed": 42, "sampling": "soft_inverse"}) == 42


def test_selections_beside_a_folder(tmp_path: Path):
    for name in ("circuitseer", "random"):
        shutil.copytree(OLD_RUN / name, tmp_path / name)
        shutil.copytree(OLD_RUN / name, tmp_path / "runs" / name / "selection")
    assert list(beside(tmp_path / "circuitseer")) == ["random"]
    assert list(beside(tmp_path / "new")) == ["circuitseer", "random"]
    assert list(beside(tmp_path / "runs" / "random" / "selection")) == ["circuitseer"]
    (tmp_path / "random" / "selection.json").unlink()
    assert list(beside(tmp_path / "new")) == ["circuitseer"]
