"""Held-out rows: losses and exact matches against the model's own logits, one row at a time, and how they are stored."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from circuitseer_trl.artifacts import read_json
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.held_out_rows import read_held_out
from circuitseer_trl.evaluation.run import evaluate
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.losses import response_losses
from circuitseer_trl.modeling.predictions import response_predictions
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Example
from tests.conftest import PROBLEMS


@pytest.fixture
def config(tmp_path: Path, tiny_model: str) -> EvaluationConfig:
    rows = [{"question": problem, "worked": text} for problem, text in PROBLEMS]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "quiz").mkdir()
    (tmp_path / "quiz" / "test.jsonl").write_text('{"problem": "1 + 1?", "answer": "2"}\n')
    columns: dict[str, Any] = {"prompt_column": "question", "completion_column": "worked"}
    return EvaluationConfig(
        **{"model_name_or_path": tiny_model, "output_dir": str(tmp_path / "out"), "dtype": "float32"},
        **{"benchmarks": ["quiz"], "benchmarks_dir": str(tmp_path), "num_samples": 0, "max_new_tokens": 4},
        held_out={"dataset_name": str(tmp_path / "rows.jsonl"), **columns},
    )


def one_row_at_a_time(model: Any, encoded: EncodedExample) -> tuple[float, bool]:
    ids = torch.tensor([encoded.input_ids])
    logits = model(ids).logits[0].double()
    losses, hits = [], []
    for place in range(encoded.num_prompt_tokens, len(encoded.input_ids)):
        of_token = logits[place - 1]
        losses.append((torch.logsumexp(of_token, 0) - of_token[ids[0, place]]).item())
        hits.append(int(of_token.argmax()) == int(ids[0, place]))
    return sum(losses) / len(losses), all(hits)


def test_predictions_are_those_of_the_models_own_logits(tiny_model: str):
    reference = Reference(tiny_model, dtype="float32")
    examples = [Example(n, str(n), problem, text) for n, (problem, text) in enumerate(PROBLEMS)]
    encoded = reference.encode(examples)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    # A row that greedy decoding gives: the model's own continuation of a prompt.
    prompt = torch.tensor([encoded[0].input_ids[: encoded[0].num_prompt_tokens]])
    for _ in range(5):
        prompt = torch.cat([prompt, model(prompt).logits[:, -1:].argmax(-1)], dim=1)
    encoded.append(EncodedExample("own", tuple(prompt[0].tolist()), encoded[0].num_prompt_tokens, False))
    expected = [one_row_at_a_time(model, each) for each in encoded]
    assert [exact for _, exact in expected] == [False] * len(PROBLEMS) + [True]
    for max_batch_tokens in (1, 200, 8192):
        found = response_predictions(reference.model(), encoded, max_batch_tokens)
        assert [each.exact for each in found] == [exact for _, exact in expected]
        assert [each.loss_nats for each in found] == pytest.approx([loss for loss, _ in expected], abs=1e-6)
        assert [each.loss_nats for each in found] == response_losses(reference.model(), encoded, max_batch_tokens)


def test_an_evaluation_has_them_and_their_rows(config: EvaluationConfig):
    evaluate(config)
    results = read_json(Path(config.output_dir) / "results.json")
    found = results["held_out"]
    values = read_held_out(Path(config.output_dir), results)
    assert (found["num_rows"], found["num_too_long"], found["exact_match"]) == (len(PROBLEMS), 0, 0.0)
    assert sum(values["held_out_loss"].values()) / len(PROBLEMS) == pytest.approx(found["loss_nats"], abs=1e-12)
    assert set(values["held_out_exact"].values()) == {0.0}
    low, high = found["loss_nats_interval"]
    assert low < found["loss_nats"] < high
    assert found["exact_match_interval"][1] > 0.1  # Wilson's has a width where none is right
    results["held_out"]["loss_nats"] += 0.01
    with pytest.raises(ValueError, match="are not of one evaluation"):
        read_held_out(Path(config.output_dir), results)


def test_a_second_run_computes_nothing(config: EvaluationConfig, monkeypatch: pytest.MonkeyPatch):
    evaluate(config)
    before = read_json(Path(config.output_dir) / "results.json")["held_out"]

    def refuse(*_: object) -> None:
        raise AssertionError("it is computed again")

    monkeypatch.setattr("circuitseer_trl.evaluation.held_out.response_predictions", refuse)
    evaluate(config)
    assert read_json(Path(config.output_dir) / "results.json")["held_out"] == before


@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        ("rows.jsonl", "`held_out` must be a mapping with `dataset_name`"),
        ({"prompt_column": "x"}, "`held_out` must be a mapping with `dataset_name`"),
        ({"dataset_name": "rows", "prompt": "x"}, "`held_out` has no key `prompt`"),
        ({"dataset_name": "none.jsonl"}, "There is no dataset file none.jsonl"),
    ],
)
def test_mistakes_are_named(held_out: Any, message: str):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        EvaluationConfig(
            model_name_or_path="m", output_dir="x", benchmarks=["math500"], held_out=held_out
        ).check_files()


def test_a_replay_has_no_model(tmp_path: Path, config: EvaluationConfig):
    keys = {"model_name_or_path": "m", "output_dir": "x", "benchmarks": ["math500"], "backend": "replay"}
    with pytest.raises(ValueError, match="`held_out` needs the model"):
        EvaluationConfig(**keys, replay_from=str(tmp_path), held_out=config.held_out)
