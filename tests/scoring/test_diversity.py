"""Diversity: rows spread over the categories of a column, or over clusters of like problems."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scoring.category import cluster
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from tests.helpers.method_inputs import SYSTEM, config, select_rows

pytestmark = pytest.mark.thorough


def test_diversity_takes_as_many_of_every_topic(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file, category_column="topic")
    # Seven stories, four sums, one prime: water-filling gives the prime's rest to the others.
    select_rows(config(tmp_path, tiny_model, "diversity", budget_size=7), SYSTEM, pool)
    categories = read_json(tmp_path / "selection.json")["categories"]
    assert {name: counts["selected"] for name, counts in categories.items()} == {"prime": 1, "story": 3, "sum": 3}


def test_diversity_needs_categories_or_the_extra(tmp_path: Path, tiny_model: str, pool_file: str):
    with pytest.raises(ValueError, match=r"This pool has no categories\. Set `category_column`, or `method_args"):
        select_rows(config(tmp_path, tiny_model, "diversity"), SYSTEM, load_pool(pool_file))
    with pytest.raises(ValueError, match=r"needs the column 'category'.*Set `category_column`"):
        select_rows(config(tmp_path, tiny_model, "random", sampling="stratified"), SYSTEM, load_pool(pool_file))


def test_an_extra_that_is_missing_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("circuitseer_trl.extras.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'circuitseer-trl\[diversity\]'"):
        CircuitSeerDataSelector(method="diversity", method_args={"num_clusters": 3})


def test_clusters_take_the_place_of_a_column(
    tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch
):
    """Around the two calls of the extra's libraries, which are stood in for."""
    monkeypatch.setattr("circuitseer_trl.extras.find_spec", lambda name: name)
    monkeypatch.setattr(
        "circuitseer_trl.scoring.category.embed", lambda texts, model: np.array([[len(text) > 40] for text in texts])
    )
    monkeypatch.setattr(
        "circuitseer_trl.scoring.category.cluster", lambda vectors, number, seed: vectors[:, 0].astype(int).tolist()
    )
    pool = load_pool(pool_file)
    settings = config(tmp_path, tiny_model, "diversity", budget_size=4, method_args={"num_clusters": 2})
    chosen = select_rows(settings, SYSTEM, pool)
    assert sum(len(pool[row].problem) > 40 for row in chosen.rows.tolist()) == 2
    settings = config(tmp_path / "many", tiny_model, "diversity", method_args={"num_clusters": 13})
    with pytest.raises(ValueError, match="has only 12 usable rows"):
        select_rows(settings, SYSTEM, pool)


def test_an_embedder_that_was_changed_in_its_folder_is_another_one(
    tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("circuitseer_trl.extras.find_spec", lambda name: name)
    monkeypatch.setattr("circuitseer_trl.scoring.category.embed", lambda texts, model: np.zeros((len(texts), 1)))
    monkeypatch.setattr("circuitseer_trl.scoring.category.cluster", lambda vectors, number, seed: [0] * len(vectors))
    (tmp_path / "embedder").mkdir()
    (tmp_path / "embedder" / "model.safetensors").write_text("a")
    arguments = {"num_clusters": 2, "embedding_model": str(tmp_path / "embedder")}
    settings = config(tmp_path / "run", tiny_model, "diversity", budget_size=4, method_args=arguments)
    select_rows(settings, SYSTEM, load_pool(pool_file))
    select_rows(settings, SYSTEM, load_pool(pool_file))
    (tmp_path / "embedder" / "model.safetensors").write_text("b")
    with pytest.raises(ValueError, match=r"holds results of other inputs .* embedding_model_digest: "):
        select_rows(settings, SYSTEM, load_pool(pool_file))


def embedding_model(folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A random encoder of two layers, in the form of the models that sentence-transformers loads."""
    library = pytest.importorskip("sentence_transformers")
    torch.manual_seed(0)
    plain = copy.deepcopy(tokenizer)
    plain.chat_template = None
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    BertModel(BertConfig(vocab_size=len(plain), **sizes, pad_token_id=plain.pad_token_id)).save_pretrained(
        folder / "encoder"
    )
    plain.save_pretrained(folder / "encoder")
    library.SentenceTransformer(str(folder / "encoder"), device="cpu").save(str(folder / "embedder"))
    return folder / "embedder"


def test_clusters_with_the_extras_own_libraries(
    tmp_path: Path, tiny_model: str, pool_file: str, tokenizer: PreTrainedTokenizerFast
):
    """Embeddings are mean hidden states of unit length; the budget is spread over the clusters that k-means makes of them."""
    pytest.importorskip("sklearn")
    pool, arguments = (
        load_pool(pool_file),
        {"num_clusters": 3, "embedding_model": str(embedding_model(tmp_path, tokenizer))},
    )
    chosen = select_rows(
        config(tmp_path / "run", tiny_model, "diversity", budget_size=6, method_args=arguments), SYSTEM, pool
    )

    vectors = np.array(read_table(tmp_path / "run" / "embeddings")["vector"].to_pylist())
    encoder = BertModel.from_pretrained(tmp_path / "encoder").eval()
    for example, vector in zip(pool, vectors, strict=True):
        with torch.no_grad():
            mean = encoder(torch.tensor([tokenizer(example.problem)["input_ids"]])).last_hidden_state[0].mean(0).numpy()
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-4)

    names = read_table(tmp_path / "run" / "scores")["category"].to_pylist()
    assert len(set(names)) == 3
    centres = {name: vectors[[other == name for other in names]].mean(0) for name in set(names)}
    for name, vector in zip(
        names, vectors, strict=True
    ):  # what k-means ends with: each in the cluster of the nearest centre
        assert min(centres, key=lambda other: ((vector - centres[other]) ** 2).sum()) == name
    selected = [names[row] for row in chosen.rows.tolist()]
    room = {name: names.count(name) for name in set(names)}
    for name in room:
        assert selected.count(name) == room[name] or selected.count(name) >= 2  # equal, as far as the clusters reach


def test_clusters_of_far_apart_points_are_their_groups():
    pytest.importorskip("sklearn")
    points = np.repeat(np.array([[0.0, 0], [9, 0], [0, 9]]), 4, axis=0) + np.random.default_rng(0).normal(
        0, 0.1, (12, 2)
    )
    labels = cluster(points, 3, seed=0)
    assert [len(set(labels[start : start + 4])) for start in (0, 4, 8)] == [1, 1, 1]
    assert len(set(labels)) == 3
