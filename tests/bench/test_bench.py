"""The bench runs, its peers agree with each other, and its files hold what it prints."""

from pathlib import Path

import pytest

from bench.run import main
from circuitseer_trl.artifacts import read_json
from tests.helpers.pages import read_page


@pytest.mark.thorough
def test_a_small_bench(tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]):
    sizes = ["--tokens", "24", "--num_texts", "4", "--growth", "8", "16", "--repeats", "1", "--processes", "1"]
    main(["--model", tiny_model, "--output_dir", str(tmp_path), *sizes])
    record = read_json(tmp_path / "bench.json")
    for timing in record["heads"]:
        assert timing["max_error"] < (
            0.1 if "bfloat16" in timing["method"] else 1e-2 if "1e-4" in timing["method"] else 1e-5
        )
        assert timing["ratio"] > 0
    assert [timing["max_error"] < 1e-5 for timing in record["scores"] + record["losses"]] == [True] * 4
    tokens, heads, probes, processes = record["growth"]
    assert (tokens["values"], processes["values"]) == ([8, 16], [1])
    for growth in (tokens, heads, probes):
        assert len(growth["seconds"]["ours"]) == len(growth["seconds"]["transformers"]) == len(growth["values"])
    page = read_page((tmp_path / "bench.html").read_text(encoding="utf-8"))
    assert page.count("figure") == 3 + 3  # three groups of bars; of the growths the launches have a single size
    printed = capsys.readouterr().out
    assert "ours, float32" in printed
    assert "Written to" in printed


def test_peers_on_some_heads_say_so(tmp_path: Path, tiny_model: str):
    sizes = ["--tokens", "16", "--num_texts", "2", "--growth", "--repeats", "1", "--peer_heads", "3"]
    main(["--model", tiny_model, "--output_dir", str(tmp_path), *sizes])
    parts = {item["method"]: item["extrapolated_from"] for item in read_json(tmp_path / "bench.json")["heads"]}
    assert parts["transformers, eager, a forward a head"] == 3
    assert parts["ours, float32"] is None
