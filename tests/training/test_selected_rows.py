"""What training sees of a row: its text, the part with a loss, its length, and templates that fit or do not."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer, GenerationConfig

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.scripts.train_sft import main
from circuitseer_trl.training.provenance import Provenance
from circuitseer_trl.training.run import make_trainer
from circuitseer_trl.training.selected_rows import measure_lengths, training_rows, whole_pool
from circuitseer_trl.training.target import inspect_target
from tests.helpers.tiny_models import CHATML
from tests.helpers.training_runs import flags, make_model_folder, make_pool, parse

pytestmark = pytest.mark.thorough

SYSTEM = "Be brief."


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("chatml"))


def labels_of(tmp_path: Path, model: Path, system_prompt: str, *more: str) -> tuple[str, str]:
    """The first row as the trainer has it, decoded: all of it, and the part with a loss."""
    _, args, model_config, _ = parse(flags(tmp_path, model, *more))
    target = inspect_target(args, model_config, chat_settings=ChatSettings(system_prompt))
    pool = make_pool(tmp_path)
    rows = training_rows(pool, whole_pool(pool), chat=target.chat, system_prompt=system_prompt)
    trainer = make_trainer(rows, target, args, Provenance(pool, whole_pool(pool)))
    row, decode = trainer.train_dataset[0], trainer.processing_class.decode
    return decode(row["input_ids"]), decode([token for token in row["labels"] if token != -100])


class TestLabels:
    """The loss is on the answer and its end of turn, whatever the format; row 0 is 0 + 0."""

    answer = "We add 0 and 0.\n\\boxed{0}"

    def test_chatml(self, tmp_path, model):
        text, trained = labels_of(tmp_path, model, SYSTEM)
        assert trained == f"{self.answer}<|im_end|>\n"
        head = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is 0 plus 0?<|im_end|>\n"
        assert text == f"{head}<|im_start|>assistant\n{trained}"

    def test_no_system_prompt(self, tmp_path, model):
        text, _ = labels_of(tmp_path, model, "")
        assert text.startswith("<|im_start|>user\nWhat is 0 plus 0?")

    def test_llama3(self, tmp_path):
        text, trained = labels_of(tmp_path, make_model_folder(tmp_path / "model", "llama3"), SYSTEM)
        assert trained == f"{self.answer}<|eot_id|>"
        assert text.startswith("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>")
        assert text.count("<|begin_of_text|>") == 1

    def test_no_template(self, tmp_path):
        text, trained = labels_of(tmp_path, make_model_folder(tmp_path / "model", "plain"), SYSTEM)
        assert trained == f"{self.answer}<|endoftext|>"
        assert text == f"{SYSTEM}\n\nProblem: What is 0 plus 0?\n\nSolution:\n{trained}"

    def test_template_of_another_tokenizer(self, tmp_path, model):
        folder = make_model_folder(tmp_path / "model", "plain")
        text, trained = labels_of(tmp_path, folder, "", "--chat_template_path", str(model))
        assert trained == f"{self.answer}<|im_end|>\n"
        assert text.startswith("<|im_start|>user\nWhat is 0 plus 0?<|im_end|>\n")


@pytest.mark.parametrize("style", ["chatml", "llama3", "plain"])
def test_lengths_are_those_of_the_trainer(tmp_path, style):
    folder = make_model_folder(tmp_path / "model", style)
    _, args, model_config, _ = parse(flags(tmp_path, folder))
    target = inspect_target(args, model_config, chat_settings=ChatSettings(""))
    pool = make_pool(tmp_path)
    rows = training_rows(pool, whole_pool(pool), chat=target.chat)
    prepared = make_trainer(rows, target, args, Provenance(pool, whole_pool(pool))).train_dataset
    lengths = {uid: len(ids) for uid, ids in zip(prepared["uid"], prepared["input_ids"], strict=True)}

    full = measure_lengths(rows, target.ahead, chat=target.chat, max_length=None)
    assert (full.num_tokens, full.longest) == (sum(lengths.values()), max(lengths.values()))
    assert (full.fully_truncated, full.partly_truncated) == ([], [])
    limit = full.longest - 1
    cut = measure_lengths(rows, target.ahead, chat=target.chat, max_length=limit)
    assert set(cut.partly_truncated) == {uid for uid, length in lengths.items() if length > limit}
    nothing = measure_lengths(rows, target.ahead, chat=target.chat, max_length=2)
    assert (set(nothing.fully_truncated), nothing.partly_truncated) == (set(lengths), [])


def test_cut_answers_are_counted(tmp_path, model, caplog):
    main(flags(tmp_path, model, "--max_length", "42", "--max_steps", "1", "--system_prompt", ""))
    result = json.loads((tmp_path / "out" / "training.json").read_text())
    assert result["num_answers_partly_cut"] + result["num_answers_wholly_cut"] > 0
    assert result["num_trained_rows"] == 24 - result["num_answers_wholly_cut"]
    assert "cuts answers" in caplog.text
    with pytest.raises(ValueError, match="no row has a token of its answer"):
        main(flags(tmp_path, model, "--max_length", "4", "--output_dir", str(tmp_path / "other")))


def test_end_of_turn_that_does_not_stop_generation(tmp_path, model, caplog):
    folder = shutil.copytree(model, tmp_path / "model")
    # As Qwen2.5-Math's base model: a chat template, and generation that stops at <|endoftext|> (here token 0).
    changes = {"tokenizer_config": {"eos_token": "<|endoftext|>"}, "config": {"eos_token_id": 0}}
    for name, change in (changes | {"generation_config": {"eos_token_id": 0}}).items():
        file = folder / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    main(flags(tmp_path, folder, "--max_steps", "1"))
    assert "Set `eos_token`" in caplog.text
    caplog.clear()
    main(flags(tmp_path, folder, "--max_steps", "1", "--eos_token", "<|im_end|>", "--output_dir", str(tmp_path / "b")))
    assert "Set `eos_token`" not in caplog.text
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "b")
    assert tokenizer.eos_token == "<|im_end|>"
    assert GenerationConfig.from_pretrained(tmp_path / "b").eos_token_id == [tokenizer.eos_token_id, 0]


def test_plain_format_and_lost_precision_are_said(tmp_path, caplog):
    folder = make_model_folder(tmp_path / "model", "plain")
    main(flags(tmp_path, folder, "--max_steps", "1", "--dtype", "bfloat16"))
    assert "training on plain text" in caplog.text
    assert "no float32 copy" in caplog.text
    assert json.loads((tmp_path / "out" / "training.json").read_text())["format"] == "plain"


def test_template_that_drops_the_reasoning(tmp_path, model):
    """As the templates of R1's distilled models: `content.split('</think>')[-1]`."""
    template = tmp_path / "r1.jinja"
    template.write_text(CHATML.replace("message['content']", "message['content'].split('</think>')[-1]"))
    arguments = flags(tmp_path, model, "--max_steps", "1")
    (tmp_path / "pool.jsonl").write_text(json.dumps({"problem": "1 + 1?", "solution": "<think>\nAdd.\n</think>\n\n2"}))
    with pytest.raises(ValueError, match=r"leaves out the reasoning.*chat_template_path"):
        main([*arguments, "--chat_template_path", str(template)])
    main(arguments)
