"""Bad recipes, flags, values and launch settings."""

from functools import partial
from typing import Any

from tests.trial.bad_input import BadInput
from tests.trial.tiny_run import Place


def _recipe(content: str, place: Place) -> list[object]:
    return place.select(config=place.write("recipe.yaml", content))


def _yaml(name: str, content: str, says: str) -> BadInput:
    return BadInput(name, partial(_recipe, content), says)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
RECIPES = [
    _yaml("no YAML", "method: [random\nseed: 1", "line 2"),
    _yaml("a list", "- method: random", "must be a mapping of keys to values, got a list"),
    _yaml("a text", "random", "must be a mapping of keys to values, got a str"),
    _yaml("key twice", "method: random\nmethod: length", "line 2: the key `method` is already in line 1"),
    _yaml("unknown key", "methd: random", "Did you mean `method`?"),
    _yaml("another step's key", "num_train_epochs: 3", "Unknown key `num_train_epochs`"),
    _yaml("key of an old version", "torch_dtype: float32", "Unknown key `torch_dtype`"),
    _yaml("names a recipe", "config: other.yaml", "a recipe cannot name others"),
    _yaml("number as key", "1: random", "has the key 1"),
    _yaml("list as key", "? [a, b]\n: random", "a key must be one word"),
    _yaml("alias bomb", BOMB, "aliases make more than"),
    _yaml("alias of itself", "method_args: &a {x: *a}", "an alias stands within what it names"),
    _yaml("tag", "method: !!python/object/apply:os.getcwd []", "it has the tag"),
    _yaml("deep", "method_args: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    _yaml("large", "#" * 300_000, "is no YAML file of settings"),
    _yaml("list as number", "budget_ratio: [0.1]", "`budget_ratio` in recipe"),
    _yaml("text as number", "head_seed: one", "`head_seed` in recipe"),
    _yaml("true as number", "probe_size: true", "`probe_size` in recipe"),
    _yaml("float as count", "probe_size: 3.5", "`probe_size` in recipe"),
    _yaml("NaN as share", "budget_ratio: .nan", "`budget_ratio` must be a number in (0, 1]"),
    _yaml("number as text", "method: 1", "`method` in recipe"),
    _yaml("mapping as text", "method: {random: 1}", "`method` in recipe"),
    _yaml("no date", "chat_date: 2024-13-45", "`chat_date` must be a date"),
    _yaml("tab", "method:\trandom\n\tseed: 1", "recipe.yaml"),
    BadInput("not UTF-8", lambda place: place.select(config=place.write("recipe.yaml", b"method: \xff")), "not UTF-8"),
    BadInput("no recipe", lambda place: place.select(config="none.yaml"), "There is no recipe none.yaml"),
    BadInput("no recipe of that name", lambda place: place.select(config="circuitsear"), "Did you mean `circuitseer`?"),
    BadInput("a recipe of another step", lambda place: place.select(config="tiny_cpu"), "tiny_cpu"),
]  # fmt: skip


def _with(kind: str, keys: dict[str, Any], place: Place) -> list[object]:
    return {"select": place.select, "train": place.train, "evaluate": place.evaluate}[kind](**keys)


def _value(kind: str, says: str, **keys: Any) -> BadInput:
    name = f"{kind}: {', '.join(f'{key} {value}' for key, value in keys.items())}"
    return BadInput(name, partial(_with, kind, keys), says)


HUGE = 2**64
VALUES = [
    _value("select", "`budget_ratio` must be", budget_ratio=0),
    _value("select", "`budget_ratio` must be", budget_ratio=1.1),
    _value("select", "`budget_ratio` must be", budget_ratio="nan"),
    _value("select", "`budget_size` must be", budget_size=0),
    _value("select", "Leave one of the two out", budget_tokens=10),
    _value("select", "budget_tokens", budget_tokens=1, budget_size=None),
    _value("select", "`head_ratio` must be", head_ratio="inf"),
    _value("select", "invalid float value: 'a'", head_ratio="a"),
    _value("select", "`probe_size` must be", probe_size=0),
    _value("select", "`probe_candidates` must be", probe_candidates=3),
    _value("select", "`selection_seed` must be", selection_seed=-1),
    _value("select", "`selection_seed` must be", selection_seed=HUGE),
    _value("select", "`head_seed` must be", head_seed=HUGE),
    _value("select", "`max_batch_tokens` must be", max_batch_tokens=0),
    _value("select", "`reference_max_length` must be", reference_max_length=1),
    _value("select", "`sink_tokens` must be", sink_tokens=-1),
    _value("select", "sink_tokens", sink_tokens=100),
    _value("select", "argument --score_on: invalid choice: 'answer'", score_on="answer"),
    _value("select", "argument --sampling: invalid choice: 'softmax'", sampling="softmax"),
    _value("select", "There is no method 'circuitsear'. Did you mean `circuitseer`?", method="circuitsear"),
    _value("select", "selects nothing", method="full"),
    _value("select", "both set how rows are scored", method="random", scorer="a:B"),
    _value("select", "both set how rows are chosen", sampling="soft", sampler="a:B"),
    _value("select", "nowhere", scorer="nowhere:Scorer"),
    _value("select", "has no class 'Scorerr'. Did you mean", scorer="circuitseer_trl.scoring.base:Scorerr"),
    _value("select", "is not a Scorer", scorer="pathlib:Path"),
    _value("select", "scorer", scorer="circuitseer_trl.scoring.base"),
    _value("select", "is not a Sampler", sampler="circuitseer_trl.scoring.max_loss:MaxLossScorer"),
    _value("select", "`method_args` must be JSON", method_args="{a"),
    _value("select", "`method_args` must be a mapping", method_args="[1]"),
    _value("select", "has no key 'sink'", method_args='{"sink": 1}'),
    _value("select", "argument --reference_dtype: invalid choice: 'int8'", reference_dtype="int8"),
    _value("select", "Did you mean `budget_ratio`?", budget_rato=1),
    _value("select", "set `reference_model`", reference_model=None),
    _value("select", "`chat_date` must be a date", chat_date="yesterday"),
    _value("select", "`dedup_similarity` must be", dedup_similarity=2),
    _value("train", "`num_train_epochs` must be", max_steps=-1, num_train_epochs=0),
    _value("train", "`num_train_epochs` must be", max_steps=-1, num_train_epochs="nan"),
    _value("train", "`max_steps` must be", max_steps=0),
    _value("train", "`seed` must be", seed=HUGE),
    _value("train", "`data_seed` must be", data_seed=-3),
    _value("train", "`learning_rate` must be", learning_rate="nan"),
    _value("train", "`learning_rate` must be", learning_rate=-1),
    _value("train", "`max_length` must be", max_length=0),
    _value("train", "max_length", max_length=2),
    _value("train", "`per_device_train_batch_size` must be", per_device_train_batch_size=0),
    _value("train", "total_batch_size", total_batch_size=4),
    _value("train", "which 1 processes with", total_batch_size=3, gradient_accumulation_steps=1),
    _value("train", "`rope_theta` must be", rope_theta=0),
    _value("train", "`save_steps` must be", save_steps=0),
    _value("train", "selection_recipe", selection_file="a", selection_recipe="random"),
    _value("train", "none.parquet", selection_file="none.parquet"),
    _value("train", "nowhere", resume_from_checkpoint="nowhere"),
    _value("train", "linaer", lr_scheduler_type="linaer"),
    _value("train", "adamv", optim="adamv"),
    _value("train", "hub_token", hub_token="hf_aaaaaaaa"),
    _value("train", "trainer", report_to="trainer"),
    _value("train", "none.json", deepspeed="none.json"),
    _value("train", "none.jinja", chat_template_path="none.jinja"),
    _value("train", "flash_attn", attn_implementation="flash_attention_2"),
    _value("evaluate", "Unknown benchmark 'quizz'", benchmarks="quizz"),
    _value("evaluate", "Unknown benchmark", benchmarks_dir="nowhere"),
    _value("evaluate", "cannot be called", benchmarks="../quiz"),
    _value("evaluate", "`temperature` must be above 0", temperature=0),
    _value("evaluate", "`temperature` must be", temperature="nan"),
    _value("evaluate", "`top_p` must be", top_p=0),
    _value("evaluate", "`max_new_tokens` must be", max_new_tokens=0),
    _value("evaluate", "`num_samples` must be", num_samples=-1),
    _value("evaluate", "`limit` must be", limit=0),
    _value("evaluate", "`repetition_penalty` must be", repetition_penalty=0),
    _value("evaluate", "`seed` must be", seed=HUGE),
    _value("evaluate", "backend", backend="vlm"),
    _value("evaluate", "`base_url`", base_url="http://localhost:1/v1"),
    _value("evaluate", "base_url", backend="openai", base_url="localhost"),
    _value("evaluate", "base_url", backend="openai"),
    _value("evaluate", "`replay_from`", backend="replay", batch_size=None),
    _value("evaluate", "There are no answers at nowhere", backend="replay", replay_from="nowhere"),
    _value("evaluate", "attn", attn_implementation="fast"),
]


def _reproduce(place: Place, **changes: Any) -> list[object]:
    place.write("own/own/test.jsonl", '{"problem": "a", "answer": null}\n{"problem": 3, "answer": "1"}\n')
    keys = {"data": "gsm8k", "selection": "random", "sft": "tiny_cpu", "eval": "paper", "output_dir": "run"}
    keys |= {"train.model_name_or_path": place.model, "data.dataset_name": place.pool}
    keys |= {"data.prompt_column": "problem", "data.completion_column": "solution"}
    return ["reproduce", *(word for key, value in (keys | changes).items() for word in (f"--{key}", value))]


def _launch(name: str, says: str, **changes: Any) -> BadInput:
    return BadInput(name, lambda place: _reproduce(place, **changes), says)


LAUNCHES = [
    _launch("no data recipe", "Did you mean `gsm8k`?", data="gsm8"),
    _launch("no accelerate config", "zero4", accelerate_config="zero4"),
    _launch("wrong training key", "learning_rat", **{"train.learning_rat": 1}),
    _launch("wrong training value", "learning_rate", **{"train.learning_rate": "fast"}),
    _launch("training value that cannot work", "max_steps", **{"train.max_steps": 0}),
    _launch("wrong selection value", "`budget_ratio` must be", **{"select.budget_ratio": 3}),
    _launch("wrong evaluation value", "`top_p` must be", **{"evaluate.top_p": 2}),
    _launch("no model", "There is no model folder", **{"train.model_name_or_path": "./none"}),
    _launch("no pool", "There is no dataset file", **{"data.dataset_name": "none.jsonl"}),
    _launch("a step that is none", "Unknown flag '--training.seed'", **{"training.seed": 1}),
    _launch("zero processes", "num_processes", accelerate_config="cpu", num_processes=0),
    _launch("processes without a launch", "num_processes", num_processes=2),
    _launch(
        "broken benchmark", "is not a row of own", **{"evaluate.benchmarks": "own", "evaluate.benchmarks_dir": "own"}
    ),
    BadInput("no recipes", lambda place: ["reproduce", "--output_dir", "run"], "required: --data"),
    BadInput("no command", lambda place: ["slect-data"], "Did you mean `select-data`?"),
    BadInput("stray word", lambda place: [*place.select(), "stray"], "belong to no flag: stray"),
    BadInput("flag without value", lambda place: [*place.select(), "--method"], "--method"),
]
