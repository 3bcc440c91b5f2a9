"""A model that is cut, incomplete, of another kind, or that does not fit its tokenizer gets one line that names it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.circuits.heads import find_heads
from circuitseer_trl.circuits.probe import Probe
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import prompt_format
from circuitseer_trl.modeling.loading import check_weights, load_model, model_fingerprint
from circuitseer_trl.modeling.model_checks import num_positions
from circuitseer_trl.modeling.model_folders import check_model_folder
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.modeling.stored_losses import pool_losses
from circuitseer_trl.pool.load import load_pool
from circuitseer_trl.scripts import evaluate, train_sft
from circuitseer_trl.training.target import inspect_target
from tests.conftest import PROBLEMS
from tests.helpers.tiny_models import build_tokenizer, save_model
from tests.helpers.training_runs import flags, parse

Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
LAYER = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def folder(tmp_path: Path, tiny_model: str) -> Path:
    """A copy of the tiny model, to break."""
    return shutil.copytree(tiny_model, tmp_path / "model")


def change_weights(folder: Path, change: Change) -> None:
    file = folder / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in change(load_file(file)).items()}, file, {"format": "pt"})


def change_json(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def training_target(tmp_path: Path, folder: Path) -> None:
    _, args, model_config, _ = parse(flags(tmp_path, folder))
    inspect_target(args, model_config, chat_settings=ChatSettings())


def evaluation_prompts(tmp_path: Path, folder: Path) -> None:
    config = EvaluationConfig(str(folder), str(tmp_path / "out"))
    prompt_format(config, config.make_backend())


def split(folder: Path) -> None:
    """Divides the weights over two files with an index."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    places = {name: f"model-0000{1 + (name > names[9])}-of-00002.safetensors" for name in names}
    for file in set(places.values()):
        save_file({name: tensors[name] for name in names if places[name] == file}, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "model.safetensors").unlink()


class TestFiles:
    def test_whole_folders(self, folder):
        check_model_folder(str(folder))
        split(folder)
        check_model_folder(str(folder))
        load_model(str(folder))

    @pytest.mark.parametrize("size", [0, 5, 8, 100, -1])
    def test_a_cut_file_is_named(self, folder, size):
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:size])
        with pytest.raises(ValueError, match=rf"The file of weights {file} is broken: .* Copy, download or save"):
            check_model_folder(str(folder))

    def test_a_file_that_is_too_long_is_named(self, folder):
        with open(folder / "model.safetensors", "ab") as file:
            file.write(b"\0")
        with pytest.raises(ValueError, match=r"its header describes \d+ bytes, and it has \d+"):
            check_model_folder(str(folder))

    def test_bytes_of_another_kind_are_named(self, folder):
        (folder / "model.safetensors").write_bytes((100).to_bytes(8, "little") + b"\xff" * 200)
        with pytest.raises(ValueError, match="its header cannot be read"):
            check_model_folder(str(folder))

    def test_a_file_of_the_index_is_missing(self, folder):
        split(folder)
        (folder / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(FileNotFoundError, match=r"lacks 1 of the 2 files .* such as model-00002-of-00002"):
            check_model_folder(str(folder))

    def test_the_index_is_missing(self, folder):
        split(folder)
        (folder / "model.safetensors.index.json").unlink()
        with pytest.raises(FileNotFoundError, match=r"neither model.safetensors nor model.safetensors.index.json"):
            check_model_folder(str(folder))

    def test_a_broken_configuration_and_an_adapter(self, folder):
        (folder / "config.json").write_text("{")
        with pytest.raises(ValueError, match=r"config.json is not JSON"):
            check_model_folder(str(folder))
        (folder / "adapter_config.json").write_text("{}")
        with pytest.raises(ValueError, match="holds a PEFT adapter"):
            check_model_folder(str(folder))

    def test_an_evaluation_says_so_before_anything_heavy_is_imported(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no model folder"):
            evaluate.main(["--model_name_or_path", str(tmp_path / "none"), "--output_dir", str(tmp_path / "out")])


class TestTensors:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda tensors: {k: v for k, v in tensors.items() if k != LAYER}, rf"lack tensors .*: {LAYER}\. Missing"),
            (lambda tensors: tensors | {"score.weight": torch.ones(2)}, "have unknown tensors .*: score.weight"),
            (lambda tensors: tensors | {LAYER: torch.ones(3, 4)}, rf"1 tensors, such as {LAYER} with \(3, 4\)"),
        ],
    )
    def test_incomplete_weights_are_refused_in_selection_and_training(self, tmp_path, folder, change, message):
        load_model(str(folder))
        change_weights(folder, change)
        with pytest.raises(ValueError, match=message):
            load_model(str(folder))
        with pytest.raises(ValueError, match=message):
            training_target(tmp_path, folder)

    def test_the_message_names_a_few(self, folder):
        change_weights(folder, lambda tensors: {k: v for k, v in tensors.items() if "norm" not in k})
        with pytest.raises(ValueError, match=r"lack tensors .*: 5, such as model.layers.0.input_layernorm.weight, "):
            check_weights(str(folder))

    def test_tied_weights_and_old_buffers_are_no_fault(self, tmp_path):
        model = save_model(tmp_path / "model", build_tokenizer(), tie_word_embeddings=True)
        inverse = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
        change_weights(model, lambda tensors: {k: v for k, v in tensors.items() if k != "lm_head.weight"} | inverse)
        load_model(str(model))
        training_target(tmp_path, model)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_not_finite(self, tmp_path, folder, value, monkeypatch):
        def spoil(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            tensors[LAYER][3, 4] = value
            return tensors

        change_weights(folder, spoil)
        with pytest.raises(ValueError, match=rf"not finite \(NaN or infinite\) in {LAYER}"):
            load_model(str(folder))
        with monkeypatch.context() as context:
            context.setattr(
                "circuitseer_trl.training.run.pool_from_config", lambda *_: pytest.fail("The pool is read.")
            )
            for files in (lambda: None, lambda: split(folder)):
                files()
                with pytest.raises(ValueError, match=rf"not finite \(NaN or infinite\) in {LAYER}"):
                    train_sft.main(flags(tmp_path, folder, "--max_steps", "1"))
        monkeypatch.setattr("circuitseer_trl.training.run.check_finite_files", lambda name: None)  # as of the Hub's
        with pytest.raises(ValueError, match=rf"not finite \(NaN or infinite\) in {LAYER}"):
            train_sft.main(flags(tmp_path, folder, "--max_steps", "1"))


class TestKinds:
    @pytest.mark.parametrize("step", [training_target, evaluation_prompts])
    def test_encoders_and_encoder_decoders_are_refused(self, tmp_path, tokenizer, step):
        sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        models = {
            "an encoder, in which": BertLMHeadModel(BertConfig(**sizes, intermediate_size=64)),
            "an encoder-decoder": T5ForConditionalGeneration(
                T5Config(vocab_size=len(tokenizer), d_model=32, d_ff=64, num_layers=1, num_heads=2, d_kv=16)
            ),
        }
        for kind, model in models.items():
            path = tmp_path / kind.replace(" ", "")
            model.save_pretrained(path)
            tokenizer.save_pretrained(path)
            with pytest.raises(ValueError, match=rf"is a model of type \w+, which is {kind}"):
                step(tmp_path, path)
            with pytest.raises(ValueError, match=rf"is a model of type \w+, which is {kind}"):
                load_model(str(path))

    def test_models_whose_attention_cannot_be_read_are_refused_before_the_losses(self, tmp_path, pool_file, tokenizer):
        sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2}
        models = {
            "has no attention heads": MambaForCausalLM(MambaConfig(**sizes, state_size=4)),
            "ALiBi": BloomForCausalLM(BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=2, n_head=4)),
        }
        for number, (reason, model) in enumerate(models.items()):
            path, out = tmp_path / f"model{number}", tmp_path / f"out{number}"
            model.save_pretrained(path)
            tokenizer.save_pretrained(path)
            with pytest.raises(ValueError, match=rf"{reason}.*such as a Qwen, a Llama"):
                find_heads(load_pool(pool_file), Reference(str(path)), out, Probe(size=2))
            assert not list(out.rglob("*.parquet"))


class TestVocabulary:
    def test_an_embedding_smaller_than_the_vocabulary(self, tmp_path, pool_file):
        model = save_model(tmp_path / "model", build_tokenizer(), vocab_size=300)
        message = r"has the token .* with the id \d+, but the model has only 300 embeddings"
        with pytest.raises(ValueError, match=message):
            pool_losses(load_pool(pool_file), Reference(str(model)), tmp_path / "out")
        for step in (training_target, evaluation_prompts):
            with pytest.raises(ValueError, match=message):
                step(tmp_path, model)

    def test_a_token_of_the_template_without_an_embedding(self, tmp_path, pool_file):
        tokenizer = build_tokenizer("plain")
        model = save_model(tmp_path / "model", tokenizer)
        rows = len(tokenizer)
        tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
        tokenizer.save_pretrained(model)
        load = Reference(str(model))
        assert load.text_format == "plain"  # no text has these tokens
        tokenizer.chat_template = build_tokenizer().chat_template
        tokenizer.save_pretrained(model)
        with pytest.raises(ValueError, match=rf"'<\|im_end\|>' with the id {rows + 1}, but the model has only {rows}"):
            pool_losses(load_pool(pool_file), Reference(str(model)), tmp_path / "out")
        with pytest.raises(ValueError, match=r"'<\|im_end\|>' with the id"):
            evaluation_prompts(tmp_path, model)


class TestFingerprint:
    def fingerprint(self, folder: Path) -> str:
        model_fingerprint.cache_clear()
        return model_fingerprint(str(folder))

    @pytest.mark.parametrize(
        "name",
        [
            "chat_template.jinja",
            "additional_chat_templates/tools.jinja",
            "generation_config.json",
            "vocab.json",
            "merges.txt",
            "special_tokens_map.json",
            "tokenizer.model",
            "config.json",
            "tokenizer.json",
            "model.safetensors",
            "new.kind",
        ],
    )
    def test_files_that_may_change_a_result(self, folder, name):
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        before = self.fingerprint(folder)
        file.write_bytes((file.read_bytes() if file.is_file() else b"") + b" ")
        assert self.fingerprint(folder) != before

    @pytest.mark.parametrize(
        "name",
        [
            "README.md",
            "LICENSE",
            "training.json",
            "trainer_state.json",
            "optimizer.pt",
            "training_args.bin",
            ".gitattributes",
            "checkpoint-3/model.safetensors",
            "generations/gsm8k.jsonl",
            "results.json",
            "events.out.tfevents.1",
        ],
    )
    def test_files_that_change_none(self, folder, name):
        before = self.fingerprint(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
        assert self.fingerprint(folder) == before

    def test_content_does_not_move_between_files(self, folder):
        (folder / "a.json").write_text("12")
        (folder / "b.json").write_text("3")
        before = self.fingerprint(folder)
        (folder / "a.json").write_text("1")
        (folder / "b.json").write_text("23")
        assert self.fingerprint(folder) != before


class TestPositions:
    def test_texts_beyond_the_positions_are_cut_and_marked(self, tmp_path, pool_file, tokenizer):
        """GPT-2's learned positions end at 40; texts of the pool are longer."""
        model = save_model(tmp_path / "model", tokenizer, "gpt2", n_embd=32, n_positions=40)
        reference = Reference(str(model), system_prompt="")
        assert (num_positions(reference.config), reference.max_tokens) == (40, 40)
        table = pool_losses(load_pool(pool_file), reference, tmp_path / "out")
        lengths = pc.add(table["num_prompt_tokens"], table["num_completion_tokens"]).to_pylist()
        turns = [([{"role": "user", "content": problem}], solution) for problem, solution in PROBLEMS]
        texts = [tokenizer.apply_chat_template(t, tokenize=False, add_generation_prompt=True) + s for t, s in turns]
        whole = [len(tokenizer(text)["input_ids"]) for text in texts]
        assert lengths == [min(length, 40) for length in whole]
        assert table["truncated"].to_pylist() == [length > 40 for length in whole]
        assert 0 < sum(table["truncated"].to_pylist()) < len(whole)
        assert Reference(str(model), max_length=30).max_tokens == 30

    def test_training_beyond_learned_positions_is_refused(self, tmp_path, tokenizer):
        model = save_model(tmp_path / "model", tokenizer, "gpt2", n_embd=32, n_positions=40)
        _, args, model_config, _ = parse(flags(tmp_path, model, "--max_length", "41"))
        with pytest.raises(ValueError, match="`max_length` is 41 tokens, but the model has 40 positions"):
            inspect_target(args, model_config, chat_settings=ChatSettings())
