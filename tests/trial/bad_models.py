"""Bad model folders, tokenizers and chat templates, each given to the steps that load it."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.helpers.tiny_models import CHATML
from tests.trial.bad_input import BadInput
from tests.trial.tiny_run import Place

Change = Callable[[Path], object]
STEPS = ("select", "train", "evaluate")


def _edit_json(name: str, changes: dict[str, Any], folder: Path) -> None:
    values = json.loads((folder / name).read_text()) | changes
    (folder / name).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def _config(**changes: Any) -> Change:
    return partial(_edit_json, "config.json", changes)


def _weights(change: Callable[[dict[str, Any]], object]) -> Change:
    def edit(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return edit


def _bytes(name: str, change: Callable[[bytes], bytes]) -> Change:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def _write(name: str, content: str) -> Change:
    return lambda folder: (folder / name).write_text(content)


def _delete(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def _index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    places = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def _other_tokenizer(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"extra{number}": len(vocabulary) + number for number in range(50)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def _pickled(folder: Path) -> None:
    import torch

    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


FIRST = "model.layers.0.self_attn.q_proj.weight"
FOLDERS: dict[str, tuple[Change, str]] = {
    "no config": (_delete("config.json"), "it has no config.json"),
    "config is no JSON": (_write("config.json", "{"), "config.json is not JSON"),
    "config is a list": (_write("config.json", "[]"), "config.json is no model's configuration"),
    "config is empty": (_write("config.json", "{}"), "base"),
    "no weights": (_delete("model.safetensors"), "holds no weights"),
    "only pickled weights": (_pickled, "holds no weights"),
    "weights cut": (_bytes("model.safetensors", lambda content: content[:-100]), "model.safetensors is broken"),
    "weights with a tail": (_bytes("model.safetensors", lambda content: content + b"x"), "model.safetensors is broken"),
    "weights empty": (_write("model.safetensors", ""), "model.safetensors is broken"),
    "weights are text": (_write("model.safetensors", "version https://git-lfs.github.com/spec/v1\n" * 3), "is broken"),
    "a file of weights missing": (_index, "lacks 1 of the 2 files of weights"),
    "a tensor missing": (_weights(lambda tensors: tensors.pop(FIRST)), FIRST),
    "a tensor too many": (_weights(lambda tensors: tensors.update(extra=tensors[FIRST].clone())), "extra"),
    "a NaN": (_weights(lambda tensors: tensors[FIRST].fill_(float("nan"))), "not finite"),
    "an infinity": (_weights(lambda tensors: tensors[FIRST].fill_(float("inf"))), "not finite"),
    "another width": (_config(hidden_size=64), "have other shapes than config.json says"),
    "more layers": (_config(num_hidden_layers=3, layer_types=None), "layers.2"),
    "fewer layers": (_config(num_hidden_layers=1, layer_types=None), "layers.1"),
    "no heads": (_config(num_attention_heads=0), "base"),
    "an encoder": (_config(model_type="bert", architectures=["BertModel"]), "a model of type bert"),
    "an encoder-decoder": (_config(model_type="t5", is_encoder_decoder=True), "a model of type t5"),
    "an unknown type": (_config(model_type="nothing"), "nothing"),
    "an adapter": (_write("adapter_config.json", "{}"), "holds a PEFT adapter"),
    "no tokenizer": (lambda folder: [(folder / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
                     "base"),
    "tokenizer cut": (_bytes("tokenizer.json", lambda content: content[: len(content) // 2]), "base"),
    "tokenizer of a larger model": (_other_tokenizer, "embeddings"),
    "a template that is no template": (_write("chat_template.jinja", "{% for x in %}"), "template"),
    "a template that fails": (_write("chat_template.jinja", "{{ messages[7]['content'] }}"), "template"),
    "a template that refuses": (_write("chat_template.jinja", "{{ raise_exception('no') }}"), "template"),
    "a template without the problem": (_write("chat_template.jinja", CHATML.replace("message['content']", "'x'")),
                                       "template"),
    "a template without the system prompt": (
        _write("chat_template.jinja", CHATML.replace("in messages", "in messages if message['role'] != 'system'")),
        "template",
    ),
    "a template without an assistant's header": (
        _write("chat_template.jinja", CHATML.split("{% if add_generation_prompt")[0]), "template",
    ),
    "an empty template": (_write("chat_template.jinja", ""), "template"),
}  # fmt: skip


def _broken(change: Change, step: str, place: Place) -> list[object]:
    folder = place.folder / "base"
    shutil.copytree(place.model, folder)
    change(folder)
    key = "reference_model" if step == "select" else "model_name_or_path"
    return {"select": place.select, "train": place.train, "evaluate": place.evaluate}[step](**{key: folder})


MODELS = [
    BadInput(f"{step}: {name}", partial(_broken, change, step), says)
    for name, (change, says) in FOLDERS.items()
    for step in STEPS
]
MODELS += [
    BadInput("no such folder", lambda place: place.select(reference_model="./none"), "There is no model folder ./none"),
    BadInput("no such folder, train", lambda place: place.train(model_name_or_path="/a/b"), "There is no model folder"),
    BadInput(
        "no such folder, evaluate", lambda place: place.evaluate(model_name_or_path="~/b"), "There is no model folder"
    ),
    BadInput(
        "a file, not a folder", lambda place: place.select(reference_model=place.model / "config.json"), "config.json"
    ),
    BadInput("longer than the positions", lambda place: place.train(max_length=1000), "`max_length`"),
]
