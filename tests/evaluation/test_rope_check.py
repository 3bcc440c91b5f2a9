"""Evaluation refuses a model that runs at another RoPE base than it was trained with."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, PreTrainedModel

from circuitseer_trl.evaluation.answering.rope_check import check_rope, effective_base, recorded_base
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import evaluate
from circuitseer_trl.training.rope_scaling import write_legacy_rope
from tests.helpers.tiny_models import build_model, tiny_model


def edit(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(values | changes))


def model_of(folder: Path, **rope: object) -> PreTrainedModel:
    parameters = {"rope_type": "default", "rope_theta": 300000.0} | rope
    build_model(vocab_size=32, hidden_size=256, num_hidden_layers=1, rope_parameters=parameters).save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.mark.parametrize(
    "rope",
    [
        {},
        {"rope_type": "linear", "factor": 4.0},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    ],
    ids=["default", "linear", "llama3"],
)
def test_effective_base_is_that_of_the_frequencies(tmp_path, rope):
    assert effective_base(model_of(tmp_path, **rope)) == pytest.approx(300000, rel=1e-5)


def test_setting_the_config_of_a_loaded_model_changes_nothing(tmp_path):
    model = model_of(tmp_path)
    model.config.rope_parameters["rope_theta"] = 10000.0
    assert effective_base(model) == pytest.approx(300000, rel=1e-5)


@pytest.mark.parametrize("arch", ["gpt2", "gemma3"])
def test_models_without_one_base_are_passed_over(tmp_path, arch):
    model = tiny_model(arch)
    model.save_pretrained(tmp_path)
    assert effective_base(model) is None
    check_rope(str(tmp_path), model)


def test_the_record_of_the_training_comes_first(tmp_path):
    assert recorded_base("Qwen/Qwen2.5-Math-7B") is None
    edit(tmp_path / "config.json", rope_theta=5000.0)
    assert recorded_base(tmp_path) == 5000
    edit(tmp_path / "training.json", settings={"rope": {}})
    assert recorded_base(tmp_path) == 5000
    edit(tmp_path / "training.json", settings={"rope": {"rope_parameters": {"rope_theta": 300000.0}}})
    assert recorded_base(tmp_path) == 300000


def test_evaluation_stops_before_it_generates(tmp_path, tiny_model, monkeypatch):
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    write_legacy_rope(model)
    (tmp_path / "word_problems").mkdir()
    (tmp_path / "word_problems" / "test.jsonl").write_text('{"problem": "What is 1 + 1?", "answer": "2"}\n')
    options = {"benchmarks": ["word_problems"], "benchmarks_dir": str(tmp_path), "max_new_tokens": 2}
    config = EvaluationConfig(model_name_or_path=str(model), output_dir=str(tmp_path / "good"), **options)
    assert evaluate(config) is not None

    # As after `model.config.rope_parameters = ...` and another save: the old key still says what was trained.
    edit(model / "config.json", rope_parameters={"rope_type": "default", "rope_theta": 300000.0})
    monkeypatch.setattr(
        "circuitseer_trl.evaluation.answering.backends.generation.Decoder.generate",
        lambda *args, **kwargs: pytest.fail("it generates"),
    )
    config = EvaluationConfig(model_name_or_path=str(model), output_dir=str(tmp_path / "bad"), **options)
    with pytest.raises(ValueError, match=r"trained with a RoPE base of 10000 .* loads with 300000"):
        evaluate(config)
