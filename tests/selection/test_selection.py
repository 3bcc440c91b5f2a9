"""From a pool to the selected rows: every method, the plugin face, and what is refused before any work."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from trl import SFTConfig, SFTTrainer

from circuitseer_trl.artifacts import read_json, read_table
from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.circuits.heads import undetected_heads
from circuitseer_trl.circuits.received import attention_received
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scoring.circuitseer import CircuitSeerScorer
from circuitseer_trl.scoring.score_figures import score_figures
from circuitseer_trl.selection.cost import estimate
from circuitseer_trl.selection.methods import METHODS
from circuitseer_trl.selection.plugin import CircuitSeerDataSelector
from circuitseer_trl.selection.steps import SelectionSteps
from circuitseer_trl.testing import check_scorer
from tests.helpers.method_inputs import compute_scores, needed_args, select_rows

SYSTEM = "Think."
QUICK = ("random", "circuitseer")  # methods that `make quick` looks at


def thorough(method: str) -> Any:
    return pytest.param(method, marks=pytest.mark.thorough)


def config(folder: Path, model: str, **values: object) -> SelectionConfig:
    defaults = {"reference_model": model, "probe_size": 6, "head_ratio": 0.25, "budget_ratio": 0.5}
    return SelectionConfig(output_dir=str(folder), **(defaults | values))  # type: ignore[arg-type]


def test_circuitseer_scores_are_the_variance_of_attention_received(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    table = compute_scores(config(tmp_path, tiny_model), SYSTEM, pool).table
    heads = [tuple(head) for head in read_json(tmp_path / "heads.json")["selected"]]
    reference = Reference(tiny_model)
    for index, example in enumerate(pool):
        ids = reference.tokenizer(example.problem)["input_ids"]
        [alpha] = attention_received(reference.model(for_scores=True), [ids], heads)
        row = table.slice(index, 1).to_pylist()[0]
        assert row["uid"] == example.uid
        assert row["num_tokens"] == len(ids)
        assert row["status"] == "ok"
        assert row["score"] == pytest.approx(np.mean((alpha - 1) ** 2), rel=1e-4)
        assert row["sink_share"] == pytest.approx(alpha[0] / len(ids), rel=1e-4)
        assert row["score_without_sink"] == pytest.approx(np.var(alpha[1:]), rel=1e-4)


@pytest.mark.parametrize("method", [name if name in QUICK else thorough(name) for name in METHODS])
def test_every_scorer_keeps_the_contract(tmp_path: Path, tiny_model: str, pool_file: str, method: str):
    pool = load_pool(pool_file, category_column="topic")
    arguments = needed_args(method, pool, tiny_model, tmp_path / "inputs")
    options = config(tmp_path, tiny_model, method=method, method_args=arguments)
    steps = SelectionSteps.from_config(options, ChatSettings(SYSTEM))
    rows = check_scorer(steps.parts.scorer, pool, steps.reference, steps.heads(pool))
    written = compute_scores(options, SYSTEM, pool).table
    assert written["score"].to_pylist() == [row.get("score") for row in rows]
    assert written["row"].to_pylist() == list(range(12))


@pytest.mark.thorough
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_selects_the_budget(tmp_path: Path, tiny_model: str, pool_file: str, method: str):
    pool = load_pool(pool_file, category_column="topic")
    arguments = needed_args(method, pool, tiny_model, tmp_path / "inputs")
    options = config(tmp_path, tiny_model, method=method, method_args=arguments)
    selection = select_rows(options, SYSTEM, pool)
    card = read_json(tmp_path / "selection.json")
    assert len(selection) == card["num_selected"]
    assert selection.weights.sum() == card["num_with_repeats"] == 6
    assert card["method"] == method
    assert card["sampling"] == METHODS[method].sampling
    written = read_table(tmp_path / "selection.parquet")
    assert written.column_names == ["row", "uid", "order", "score", "weight", "inclusion_probability"]
    assert written["uid"].to_pylist() == selection.uids


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny_model: str, pool_file: str) -> Path:
    """A finished selection with the defaults of these tests; not to be changed."""
    folder = tmp_path_factory.mktemp("plain")
    select_rows(config(folder, tiny_model), SYSTEM, load_pool(pool_file))
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize(
    "values",
    [
        {"head_set": "all"},
        {"head_set": "random"},
        {"sampling": "soft_inverse"},
        {"sampling": "bottom_k"},
        {"sampling": "top_k"},
        {"score_on": "solution"},
        {"score_format": "chat"},
        {"statistic": "entropy", "sink_tokens": 1},
        {"sink_tokens": 1},
    ],
)
def test_ablations_are_other_parameters(
    tmp_path: Path, plain: Path, tiny_model: str, pool_file: str, values: dict[str, object]
):
    select_rows(config(tmp_path, tiny_model, **values), SYSTEM, load_pool(pool_file))
    cards = [read_json(folder / "selection.json") for folder in (plain, tmp_path)]
    assert cards[0]["fingerprint"] != cards[1]["fingerprint"]
    if "sampling" not in values:
        scores = [read_table(folder / "scores")["score"].to_pylist() for folder in (plain, tmp_path)]
        assert scores[0] != scores[1]


def test_heads_of_an_earlier_run_give_its_scores(tmp_path: Path, tiny_model: str, other_model: str, pool_file: str):
    pool = load_pool(pool_file)
    found = compute_scores(config(tmp_path / "found", tiny_model), SYSTEM, pool)
    heads_file = str(tmp_path / "found" / "heads.json")
    given = compute_scores(config(tmp_path / "given", tiny_model, heads_file=heads_file), SYSTEM, pool)
    assert given.table.equals(found.table)
    assert not (tmp_path / "given" / "importance").exists()
    with pytest.raises(ValueError, match="These heads were found in"):
        compute_scores(config(tmp_path / "other", other_model, heads_file=heads_file), SYSTEM, pool)


def test_scores_in_float64_are_those_of_float32_more_exactly(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    single, double = (
        compute_scores(config(tmp_path / dtype, tiny_model, head_set="all", reference_dtype=dtype), SYSTEM, pool)
        for dtype in ("float32", "float64")
    )
    assert (single.card["model"]["dtype"], double.card["model"]["dtype"]) == ("float32", "float64")
    assert single.scores.tolist() != double.scores.tolist()
    assert single.scores == pytest.approx(double.scores, rel=1e-4)


def test_top_k_takes_the_highest_scores(tmp_path: Path, tiny_model: str, pool_file: str):
    selection = select_rows(config(tmp_path, tiny_model, sampling="top_k"), SYSTEM, load_pool(pool_file))
    scores = read_table(tmp_path / "scores")["score"].to_numpy()
    assert selection.scores.tolist() == sorted(scores, reverse=True)[:6]


@pytest.mark.thorough
def test_a_killed_run_goes_on_and_gives_the_same_files(tmp_path: Path, plain: Path, tiny_model: str, pool_file: str):
    shutil.copytree(plain, tmp_path / "killed")
    for lost in (
        "importance/part-000000001.parquet",
        "heads.json",
        "scores/part-000000000.parquet",
        "selection.parquet",
    ):
        (tmp_path / "killed" / lost).unlink()
    select_rows(config(tmp_path / "killed", tiny_model), SYSTEM, load_pool(pool_file))
    for path in plain.rglob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(plain)).read_bytes(), path


def test_plugin_returns_rows_that_trl_can_train_on(tmp_path: Path, tiny_model: str, pool_file: str):
    dataset = datasets.load_dataset("json", data_files=pool_file, split="train")
    selector = CircuitSeerDataSelector(tiny_model, budget_ratio=0.5, seed=1, probe_size=3, system_prompt=SYSTEM)
    chosen = selector.select(dataset, output_dir=tmp_path)
    assert len(chosen) == 6
    assert selector.selection is not None
    rows = sorted(selector.selection.rows.tolist())
    assert chosen["problem"] == [dataset[row]["problem"] for row in rows]
    assert chosen[0]["prompt"] == [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": chosen[0]["problem"]},
    ]
    assert chosen[0]["completion"] == [{"role": "assistant", "content": chosen[0]["solution"]}]
    assert selector.state()["attributes"]["card"]["num_selected"] == 6
    without_folder = CircuitSeerDataSelector(tiny_model, budget_ratio=0.5, seed=1, probe_size=3, system_prompt=SYSTEM)
    assert without_folder.select(dataset)["problem"] == chosen["problem"]
    assert len(dataset) == 12


def test_plugin_leaves_conversational_columns_alone(tiny_model: str):
    turns = [
        [{"role": "user", "content": f"What is {n} + 1?"}, {"role": "assistant", "content": f"\\boxed{{{n + 1}}}"}]
        for n in range(10)
    ]
    dataset = datasets.Dataset.from_dict({"messages": turns})
    selector = CircuitSeerDataSelector(
        method="random", budget_ratio=0.3, prompt_column="messages", completion_column="messages"
    )
    chosen = selector.select(dataset)
    assert chosen.column_names == ["messages"]
    assert len(chosen) == 3


@pytest.mark.thorough
def test_resuming_on_other_rows_is_refused(tmp_path: Path, tiny_model: str, pool_file: str):
    dataset = datasets.load_dataset("json", data_files=pool_file, split="train")

    def train(seed: int, steps: int, resume: bool, **more: bool) -> None:
        selector = CircuitSeerDataSelector(method="random", budget_ratio=0.5, seed=seed)
        args = SFTConfig(
            output_dir=str(tmp_path / "model"),
            max_steps=steps,
            save_steps=1,
            use_cpu=True,
            bf16=False,
            report_to="none",
            **more,
        )
        selected = selector.select(dataset, output_dir=tmp_path / f"seed-{seed}")
        trainer = SFTTrainer(model=tiny_model, args=args, train_dataset=selected, callbacks=[selector])
        trainer.train(resume_from_checkpoint=resume)

    train(1, steps=1, resume=False)
    train(1, steps=2, resume=True)
    with pytest.raises(ValueError, match="trained on another selection"):
        train(2, steps=3, resume=True)
    with pytest.raises(ValueError, match=r"this selector would lose its selection\. Leave it out"):
        train(1, steps=3, resume=True, restore_callback_states_from_checkpoint=True)


def test_bad_requests_are_answered_before_any_work(tmp_path: Path, tiny_model: str, pool_file: str):
    pool = load_pool(pool_file)
    with pytest.raises(
        ValueError, match=r"There is no method 'magic'. Methods are circuitseer, circuitseer_contrast, random"
    ):
        CircuitSeerDataSelector(tiny_model, method="magic")
    with pytest.raises(ValueError, match=r"no method 'max_los'\. Did you mean `max_loss`"):
        CircuitSeerDataSelector(tiny_model, method="max_los")
    with pytest.raises(ValueError, match="set `reference_model`"):  # before there is a pool
        CircuitSeerDataSelector()
    with pytest.raises(ValueError, match="`probe_format` is a key of the recipe"):
        CircuitSeerDataSelector(tiny_model, method="ifd", method_args={"probe_format": "plain"})
    with pytest.raises(ValueError, match="selects nothing"):
        CircuitSeerDataSelector(method="full")
    with pytest.raises(ValueError, match="`dataset_name` is what `select` is called with"):
        CircuitSeerDataSelector(tiny_model, dataset_name="gsm8k")
    with pytest.raises(TypeError, match=r"Unknown options \['budjet'\]"):
        CircuitSeerDataSelector(tiny_model, budjet=1)
    with pytest.raises(ValueError, match=r"`budget_ratio` must be a number in \(0, 1\], got 0"):
        CircuitSeerDataSelector(tiny_model, budget_ratio=0)
    with pytest.raises(ValueError, match="set `reference_model`"):
        select_rows(SelectionConfig(output_dir=str(tmp_path)), SYSTEM, pool)
    with pytest.raises(ValueError, match="Cannot choose 13 examples: the pool has only 12 usable rows"):
        select_rows(config(tmp_path, tiny_model, budget_size=13), SYSTEM, pool)
    with pytest.raises(ValueError, match="less than one row"):
        select_rows(config(tmp_path, tiny_model, budget_ratio=0.01), SYSTEM, pool)
    (tmp_path / "weightless").mkdir()
    (tmp_path / "weightless" / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        select_rows(config(tmp_path, str(tmp_path / "weightless")), SYSTEM, pool)
    with pytest.raises(FileNotFoundError, match="There is no model folder"):
        select_rows(config(tmp_path, str(tmp_path / "none")), SYSTEM, pool)
    assert not (tmp_path / "importance").exists()


def test_what_no_row_can_get_a_score_with_is_found_before_the_heads(
    tmp_path: Path, tiny_model: str, pool_file: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("circuitseer_trl.selection.steps.detect_heads", lambda *given: pytest.fail("Heads are found."))
    pool, tokenizer = load_pool(pool_file), Reference(tiny_model).tokenizer
    longest = max(len(tokenizer(example.problem)["input_ids"]) for example in pool)
    for keys in ({"sink_tokens": longest}, {"sink_tokens": longest - 1, "reference_max_length": longest - 1}):
        steps = SelectionSteps.from_config(config(tmp_path, tiny_model, **keys), ChatSettings(""))
        for work in (steps.select, steps.score, lambda pool, steps=steps: estimate(steps, pool)):
            with pytest.raises(
                ValueError, match=rf"`sink_tokens` is {keys['sink_tokens']}, and no problem of the pool"
            ):
                work(pool)
    some = SelectionSteps.from_config(config(tmp_path, tiny_model, sink_tokens=longest - 1), ChatSettings(""))
    some.check(pool)
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages[-1]['role'] }}")
    chat = config(tmp_path, str(tmp_path / "model"), score_format="chat", probe_format="plain")
    with pytest.raises(ValueError, match="does not write the problem"):
        SelectionSteps.from_config(chat, ChatSettings("")).score(pool)


def test_a_model_with_nan_weights_gives_an_error_and_no_selection(tmp_path: Path, tiny_model: str, pool_file: str):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in Path(tiny_model).iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.layers.0.self_attn.q_proj.weight"].fill_(torch.nan)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="finite"):
        select_rows(config(tmp_path / "run", str(broken), head_set="all"), SYSTEM, load_pool(pool_file))
    with pytest.raises(ValueError, match=r"not finite .* in model.layers.0.self_attn.q_proj.weight"):
        select_rows(config(tmp_path / "run2", str(broken)), SYSTEM, load_pool(pool_file))
    assert not list(tmp_path.glob("run*/selection.parquet"))


def test_one_bad_row_is_marked_and_keeps_nobody_from_a_score(tmp_path: Path, tiny_model: str, pool_file: str):
    pool, reference = load_pool(pool_file), Reference(tiny_model)
    heads = undetected_heads(reference, "all")
    scorer = CircuitSeerScorer().bind(pool, reference, heads, tmp_path)
    expected = scorer.score_batch(list(pool))
    rare = reference.tokenizer("Ω")["input_ids"][-1]
    reference.model(for_scores=True).get_input_embeddings().weight[rare] = torch.nan
    bad = dataclasses.replace(pool[3], problem=pool[3].problem + " Ω")
    rows = scorer.score_batch([*list(pool)[:3], bad, *list(pool)[4:]])
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["error"] + ["ok"] * 8
    assert "score" not in rows[3]
    for index in (0, 1, 2, *range(4, 12)):
        assert rows[index]["score"] == pytest.approx(expected[index]["score"], rel=2e-5)


def test_too_many_bad_rows_are_refused():
    uids = [str(i) for i in range(100)]
    rest = {name: np.ones(100) for name in ("score", "num_tokens", "sink_share")}
    score_figures([pa.table({"uid": uids, "status": ["error"] + ["ok"] * 99} | rest)], 100).check()
    two = pa.table({"uid": uids, "status": ["error"] * 2 + ["ok"] * 98} | rest)
    for tables in ([two], [two.slice(0, 1), two.slice(1)]):
        with pytest.raises(ValueError, match=r"2 of 100 rows have no finite score, for instance \['0', '1'\]"):
            score_figures(tables, 100).check()
