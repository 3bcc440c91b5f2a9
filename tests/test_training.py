"""Training in one process: the labels, the schedule, RoPE, selections, and what is refused before the start."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import trl
import yaml
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from trl import ModelConfig, SFTConfig

from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.scripts.train_sft import TrainingConfig, main
from circuitseer_trl.training.preflight import check_environment, check_world_size, find_resume, set_total_batch
from circuitseer_trl.training.provenance import Provenance
from circuitseer_trl.training.rope import write_legacy_rope
from circuitseer_trl.training.rows import measure_lengths, read_selection, training_rows, whole_pool
from circuitseer_trl.training.sft import make_schedule, make_trainer, mean_logged_loss
from circuitseer_trl.training.target import inspect_target
from tests.training_fixtures import (
    CHATML,
    RECIPES,
    ROOT,
    losses,
    make_model_folder,
    make_pool,
    write_pool,
    write_selection,
)

pytestmark = pytest.mark.thorough

CONFIGS = ROOT / "accelerate_configs"
PAPER = ["qwen2.5-math-7b", "qwen2.5-math-7b-instruct", "llama-3.1-8b-instruct", "llama-3.2-3b"]
SYSTEM = "Be brief."


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("chatml"))


def flags(tmp_path: Path, model: Path, *more: str) -> list[str]:
    pool = write_pool(tmp_path)
    return [
        *("--config", str(RECIPES / "sft" / "tiny_cpu.yaml"), "--dataset_name", str(pool)),
        *("--model_name_or_path", str(model), "--output_dir", str(tmp_path / "out"), *more),
    ]


def parse(arguments: list[str]):
    return parse_recipe(PoolConfig, SFTConfig, ModelConfig, TrainingConfig, args=arguments)


def labels_of(tmp_path: Path, model: Path, system_prompt: str, *more: str) -> tuple[str, str]:
    """The first row as the trainer has it, decoded: all of it, and the part with a loss."""
    _, args, model_config, _ = parse(flags(tmp_path, model, *more))
    target = inspect_target(args, model_config, system_prompt=system_prompt)
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
        assert text == f"What is 0 plus 0?\n{trained}"

    def test_template_of_another_tokenizer(self, tmp_path, model):
        folder = make_model_folder(tmp_path / "model", "plain")
        text, trained = labels_of(tmp_path, folder, "", "--chat_template_path", str(model))
        assert trained == f"{self.answer}<|im_end|>\n"
        assert text.startswith("<|im_start|>user\nWhat is 0 plus 0?<|im_end|>\n")


@pytest.mark.parametrize("style", ["chatml", "llama3", "plain"])
def test_lengths_are_those_of_the_trainer(tmp_path, style):
    folder = make_model_folder(tmp_path / "model", style)
    _, args, model_config, _ = parse(flags(tmp_path, folder))
    target = inspect_target(args, model_config, system_prompt="")
    pool = make_pool(tmp_path)
    rows = training_rows(pool, whole_pool(pool), chat=target.chat)
    prepared = make_trainer(rows, target, args, Provenance(pool, whole_pool(pool))).train_dataset
    lengths = {uid: len(ids) for uid, ids in zip(prepared["uid"], prepared["input_ids"], strict=True)}

    full = measure_lengths(rows, target.ahead, chat=target.chat, max_length=None)
    assert (full.num_tokens, full.longest) == (sum(lengths.values()), max(lengths.values()))
    assert (full.wholly_cut, full.partly_cut) == ([], [])
    limit = full.longest - 1
    cut = measure_lengths(rows, target.ahead, chat=target.chat, max_length=limit)
    assert set(cut.partly_cut) == {uid for uid, length in lengths.items() if length > limit}
    nothing = measure_lengths(rows, target.ahead, chat=target.chat, max_length=2)
    assert (set(nothing.wholly_cut), nothing.partly_cut) == (set(lengths), [])


def test_cut_answers_are_counted(tmp_path, model, caplog):
    main(flags(tmp_path, model, "--max_length", "42", "--max_steps", "1", "--system_prompt", ""))
    result = json.loads((tmp_path / "out" / "training.json").read_text())
    assert result["num_answers_partly_cut"] + result["num_answers_wholly_cut"] > 0
    assert result["num_trained_rows"] == 24 - result["num_answers_wholly_cut"]
    assert "cuts answers" in caplog.text
    with pytest.raises(ValueError, match="no row has a token of its answer"):
        main(flags(tmp_path, model, "--max_length", "4", "--output_dir", str(tmp_path / "other")))


class TestRun:
    """One run with a selection and another RoPE base, looked at from several sides."""

    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory, model) -> Path:
        folder = tmp_path_factory.mktemp("run")
        write_selection(folder / "selection", make_pool(folder), [5, 3, 9, 12], [1, 2, 1, 1])
        more = ("--selection_file", str(folder / "selection"), "--rope_theta", "300000")
        main(flags(folder, model, *more, "--max_position_embeddings", "512", "--max_length", "512"))
        return folder / "out"

    def test_result(self, run):
        result = json.loads((run / "training.json").read_text())
        assert result["num_trained_rows"] == 5
        assert result["num_steps"] == 8
        assert result["num_warmup_steps"] == 1
        assert result["format"] == "chat"
        assert result["num_tokens"] > 0
        assert result["tokens_per_second"] == pytest.approx(result["num_tokens"] / result["train_seconds"])

    def test_loss_falls(self, run):
        values = losses(run)
        assert len(values) == 8
        assert values[-1] < values[0]

    @pytest.mark.parametrize("name", ["", "checkpoint-4", "checkpoint-8"])
    def test_rope_is_in_every_checkpoint(self, run, name):
        saved = json.loads((run / name / "config.json").read_text())
        assert saved["rope_parameters"] == {"rope_type": "default", "rope_theta": 300000.0}
        assert saved["rope_theta"] == 300000.0  # where transformers 4 and vLLM on it look
        assert saved["max_position_embeddings"] == 512
        loaded = AutoModelForCausalLM.from_pretrained(run / name)
        # Frequencies are theta^(-2i/d) for the d = 8 dimensions of a head.
        expected = [300000.0 ** (-2 * i / 8) for i in range(4)]
        assert loaded.model.rotary_emb.inv_freq.tolist() == pytest.approx(expected)

    @pytest.mark.parametrize("name", ["", "checkpoint-4", "checkpoint-8"])
    def test_selection_is_in_every_checkpoint(self, run, name):
        assert (run / name / "selection.json").read_text() == (run.parent / "selection" / "selection.json").read_text()

    def test_card(self, run):
        card = (run / "README.md").read_text()
        assert "\n## Training data\n" in card
        assert "`circuitseer`" in card
        assert str(run.parent) not in card

    def test_saved_for_generation(self, run):
        assert AutoConfig.from_pretrained(run).use_cache is True
        assert AutoTokenizer.from_pretrained(run).chat_template is not None

    def test_same_command_again_does_nothing(self, run, model, capsys):
        before = (run / "training.json").read_bytes()
        more = ("--selection_file", str(run.parent / "selection"), "--rope_theta", "300000")
        main(flags(run.parent, model, *more, "--max_position_embeddings", "512", "--max_length", "512"))
        assert "is finished" in capsys.readouterr().out
        assert (run / "training.json").read_bytes() == before

    def test_other_settings_are_refused(self, run, model):
        with pytest.raises(ValueError, match=r"other settings.*learning_rate: 0.001 -> 0.1"):
            main(flags(run.parent, model, "--learning_rate", "0.1"))


def test_killed_run_goes_on_with_the_same_losses(tmp_path, model):
    arguments = flags(tmp_path, model)
    main(arguments)
    out = tmp_path / "out"
    whole = losses(out)
    weights = AutoModelForCausalLM.from_pretrained(out).state_dict()
    # As a kill leaves it that comes while the second checkpoint is written: the trainer's state is written last.
    (out / "checkpoint-8" / "trainer_state.json").unlink()
    for file in [file for file in out.iterdir() if file.is_file() and file.name != "training_settings.json"]:
        file.unlink()
    main(arguments)
    assert losses(out) == pytest.approx(whole, abs=1e-6)
    assert json.loads((out / "training.json").read_text())["resumed_from"] == "checkpoint-4"
    resumed = AutoModelForCausalLM.from_pretrained(out).state_dict()
    assert all(torch.allclose(weights[key], resumed[key], atol=1e-7) for key in weights)


def test_packing_keeps_the_loss_exact(tmp_path, model):
    """One step on all rows, as 24 rows and as a few packs of them: rows of a pack do not see each other."""
    one_step = ["--max_steps", "1", "--per_device_train_batch_size", "24", "--gradient_accumulation_steps", "1"]
    one_step += ["--warmup_steps", "0", "--save_steps", "1"]
    main([*flags(tmp_path, model, *one_step), "--output_dir", str(tmp_path / "rows")])
    main([*flags(tmp_path, model, *one_step, "--packing", "true"), "--output_dir", str(tmp_path / "packs")])
    assert losses(tmp_path / "packs") == pytest.approx(losses(tmp_path / "rows"), abs=1e-6)
    rows, packs = (AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("rows", "packs"))
    # Adam's first step is the learning rate, 1e-3, wherever a gradient is not zero.
    assert max((rows[key] - packs[key]).abs().max().item() for key in rows) < 1e-5
    assert json.loads((tmp_path / "packs" / "training.json").read_text())["num_tokens"] == pytest.approx(
        json.loads((tmp_path / "rows" / "training.json").read_text())["num_tokens"]
    )


def test_killed_after_the_last_step_trains_no_further(tmp_path, model):
    """Ten rows are three steps an epoch, so that the eighth step, the last one, leaves one of the third epoch."""
    arguments = [*flags(tmp_path, model), "--selection_file", str(tmp_path / "s")]
    write_selection(tmp_path / "s", make_pool(tmp_path), list(range(10)))
    main(arguments)
    out = tmp_path / "out"
    result, weights = json.loads((out / "training.json").read_text()), (out / "model.safetensors").read_bytes()
    (out / "training.json").unlink()
    (out / "model.safetensors").unlink()
    main(arguments)
    again = json.loads((out / "training.json").read_text())
    assert (again["resumed_from"], again["num_steps"]) == ("checkpoint-8", 8)
    assert (out / "model.safetensors").read_bytes() == weights
    assert again["train_loss"] == pytest.approx(result["train_loss"], abs=1e-4)


def test_mean_loss_of_a_history():
    # Steps 1 to 10 with a mean of 2, 11 to 15 with one of 5: (10 * 2 + 5 * 5) / 15.
    history = [{"step": 10, "loss": 2.0}, {"step": 12, "eval_loss": 9.0}, {"step": 15, "loss": 5.0}]
    assert mean_logged_loss(history) == pytest.approx(3)
    assert mean_logged_loss([]) is None


class TestSelectionFile:
    def test_pool_order_and_weights(self, tmp_path):
        pool = make_pool(tmp_path)
        chosen = read_selection(write_selection(tmp_path / "s", pool, [7, 2, 4], [1, 3, 0]), pool)
        assert chosen.indices.tolist() == [2, 2, 2, 7]
        rows = training_rows(pool, chosen, chat=True, system_prompt="")
        assert rows["uid"] == [pool.uids[i] for i in (2, 2, 2, 7)]

    def test_fractional_weight(self, tmp_path):
        pool = make_pool(tmp_path)
        with pytest.raises(ValueError, match=r"weight of 1\.5.*whole numbers"):
            read_selection(write_selection(tmp_path / "s", pool, [7, 2], [1, 1.5]), pool)

    def test_another_pool(self, tmp_path, model):
        pool = make_pool(tmp_path)
        selection = write_selection(tmp_path / "s", pool, [20, 21])
        (tmp_path / "small").mkdir()
        small = make_pool(tmp_path / "small", 12)
        with pytest.raises(ValueError, match=f"{pool.fingerprint}.*{small.fingerprint}.*2 of the selection's 2 rows"):
            read_selection(selection, small)

    def test_same_names_other_texts(self, tmp_path):
        pool = make_pool(tmp_path)
        selection = write_selection(tmp_path / "s", pool, [3])
        (tmp_path / "small").mkdir()
        small = make_pool(tmp_path / "small", 12)  # has the selected row
        with pytest.raises(ValueError, match=r"another pool.*0 of the selection's 1 rows"):
            read_selection(selection, small)

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="select_data"):
            read_selection(tmp_path / "none", make_pool(tmp_path))


class TestRecipes:
    @pytest.mark.parametrize(
        "path", sorted([*(RECIPES / "sft").glob("*.yaml"), RECIPES / "smollm2" / "sft.yaml"]), ids=str
    )
    def test_every_recipe_parses(self, path, tmp_path):
        keys = yaml.safe_load(path.read_text())
        # bf16 is refused on a machine without a GPU, but what is tested is the recipe.
        more = ["--bf16", "false", "--use_cpu", "true", "--output_dir", str(tmp_path), "--dataset_name", "x"]
        _, args, _, config = parse(["--config", str(path), *more])
        assert args.learning_rate == keys["learning_rate"]
        assert args.report_to == []
        assert config.selection_file is None

    @pytest.mark.parametrize("name", PAPER)
    def test_paper(self, name, tmp_path):
        more = ["--bf16", "false", "--use_cpu", "true", "--output_dir", str(tmp_path), "--dataset_name", "x"]
        _, args, model_config, config = parse(["--config", str(RECIPES / "sft" / f"{name}.yaml"), *more])
        # 10% of the 196k rows, three epochs in batches of 32 on 8 GPUs: ceil(19600 / 32) = 613 steps an epoch.
        set_total_batch(args, config.total_batch_size, 8)
        assert args.gradient_accumulation_steps == 4
        schedule = make_schedule(args, 19600, 8)
        assert (schedule.total_batch_size, schedule.num_steps, schedule.num_warmup_steps) == (32, 1839, 184)
        assert (args.learning_rate, args.num_train_epochs) == (5e-5, 3)
        assert (args.lr_scheduler_type, args.optim) == ("cosine", "adamw_torch_fused")
        assert args.max_length == (8192 if name == "llama-3.2-3b" else 16384)
        assert config.rope_theta == (300000.0 if name.startswith("qwen") else None)
        assert model_config.attn_implementation == "flash_attention_2"

    def test_single_gpu_has_the_papers_batch(self, tmp_path):
        more = ["--bf16", "false", "--use_cpu", "true", "--output_dir", str(tmp_path), "--dataset_name", "x"]
        _, args, _, config = parse(["--config", str(RECIPES / "sft" / "single-24gb.yaml"), *more])
        set_total_batch(args, config.total_batch_size, 1)
        assert make_schedule(args, 19600, 1).total_batch_size == 32

    def test_schedule_is_the_trainers(self, tmp_path, model):
        _, args, model_config, _ = parse(flags(tmp_path, model, "--max_steps", "-1", "--num_train_epochs", "2"))
        target = inspect_target(args, model_config, system_prompt="")
        pool = make_pool(tmp_path, 21)
        rows = training_rows(pool, whole_pool(pool), chat=True)
        trainer = make_trainer(rows, target, args, Provenance(pool, whole_pool(pool)))
        trainer.train()
        # 21 rows: 11 batches of 2, in 6 steps of 2; two epochs.
        assert make_schedule(args, 21, 1).num_steps == trainer.state.max_steps == 12


class TestRefused:
    def test_longer_than_the_model(self, tmp_path, model):
        with pytest.raises(ValueError, match=r"1024 tokens, but the model has 256 positions.*rope_theta"):
            main(flags(tmp_path, model, "--max_length", "1024"))
        assert not (tmp_path / "out").exists()

    def test_longest_row_without_max_length(self, tmp_path):
        small = make_model_folder(tmp_path / "model", positions=32)
        (tmp_path / "whole.yaml").write_text("max_length: null\n")
        with pytest.raises(ValueError, match=r"The longest row is \d+ tokens, but the model has 32 positions"):
            main(flags(tmp_path, small, "--config", str(tmp_path / "whole.yaml")))

    def test_missing_flash_attention(self, tmp_path, model):
        with pytest.raises(ImportError, match="pip install --no-build-isolation flash-attn"):
            main(flags(tmp_path, model, "--attn_implementation", "flash_attention_2"))

    def test_missing_peft(self, tmp_path, model, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        _, args, model_config, _ = parse(flags(tmp_path, model, "--use_peft", "true"))
        with pytest.raises(ImportError, match=r"trl\[peft\]"):
            check_environment(args, model_config)

    def test_rope_of_an_adapter(self, tmp_path, model):
        _, args, model_config, _ = parse(flags(tmp_path, model, "--use_peft", "true"))
        with pytest.raises(ValueError, match="would be lost"):
            inspect_target(args, model_config, system_prompt="", rope_theta=1e6)

    def test_folder_without_weights(self, tmp_path, model):
        shutil.copytree(model, tmp_path / "model")
        (tmp_path / "model" / "model.safetensors").unlink()
        with pytest.raises(FileNotFoundError, match="holds no weights"):
            main(flags(tmp_path, tmp_path / "model"))

    def test_no_model(self, tmp_path, model):
        arguments = flags(tmp_path, model)
        position = arguments.index("--model_name_or_path")
        with pytest.raises(ValueError, match="`model_name_or_path` is not set"):
            main(arguments[:position] + arguments[position + 2 :])

    def test_no_template_and_no_end(self, tmp_path):
        folder = make_model_folder(tmp_path / "model", "plain")
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": None}))
        with pytest.raises(ValueError, match="chat_template_path"):
            main(flags(tmp_path, folder))

    def test_template_that_is_not_there(self, tmp_path, model):
        with pytest.raises(FileNotFoundError, match="chat_template_path"):
            main(flags(tmp_path, model, "--chat_template_path", str(tmp_path / "none.jinja")))

    def test_fsdp_on_cpu(self, tmp_path, model, monkeypatch):
        monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
        _, args, model_config, _ = parse(flags(tmp_path, model))
        with pytest.raises(ValueError, match="FSDP was asked for on the CPU"):
            check_environment(args, model_config)

    def test_total_batch_that_the_processes_cannot_make(self, tmp_path, model):
        one = ["--gradient_accumulation_steps", "1"]
        _, args, _, _ = parse(flags(tmp_path, model, *one))  # 2 rows a process
        with pytest.raises(
            ValueError, match=r"is 32, which 3 processes .*: 2` cannot make: they take 6 rows at a time"
        ):
            set_total_batch(args, 32, 3)
        set_total_batch(args, 32, 4)
        assert args.gradient_accumulation_steps == 4
        with pytest.raises(ValueError, match="`total_batch_size` must be a whole number"):
            TrainingConfig(total_batch_size=0)
        with pytest.raises(ValueError, match=r"\(7\).*\(2\) both say how many rows"):
            main(flags(tmp_path, model, "--total_batch_size", "7"))

    def test_two_sources_of_rows(self):
        with pytest.raises(ValueError, match="Give one of them"):
            TrainingConfig(selection_file="a", selection_recipe="b")

    def test_folder_of_another_model(self, tmp_path, model):
        with pytest.raises(ValueError, match="did not write"):
            find_resume(model, {}, None)

    def test_resume_from_nothing(self, tmp_path):
        with pytest.raises(ValueError, match="has no checkpoint"):
            find_resume(tmp_path, {}, "true")
        with pytest.raises(FileNotFoundError, match="no checkpoint folder"):
            find_resume(tmp_path, {}, str(tmp_path / "checkpoint-3"))

    def test_resume_with_other_settings_is_said(self, tmp_path, caplog):
        (tmp_path / "checkpoint-3").mkdir()
        (tmp_path / "checkpoint-3" / "trainer_state.json").touch()
        (tmp_path / "training_settings.json").write_text('{"seed": 1}')
        assert find_resume(tmp_path, {"seed": 1}, None) == str(tmp_path / "checkpoint-3")
        assert find_resume(tmp_path, {"seed": 2}, "true") == str(tmp_path / "checkpoint-3")
        assert "seed: 1 -> 2" in caplog.text

    def test_deepspeed_of_another_precision(self, tmp_path, model, monkeypatch):
        _, args, model_config, _ = parse(flags(tmp_path, model))
        monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
        with pytest.raises(ValueError, match="--mixed_precision no"):
            check_environment(args, model_config)

    def test_other_world_size(self, tmp_path):
        (tmp_path / "global_step4").mkdir()
        for rank in range(2):
            (tmp_path / "global_step4" / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").touch()
        (tmp_path / "latest").write_text("global_step4")
        check_world_size(tmp_path, 2)
        with pytest.raises(ValueError, match=r"2 shards.*4 processes.*--num_processes 2"):
            check_world_size(tmp_path, 4)


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


def test_a_loss_that_is_no_number_is_no_model(tmp_path, model):
    with pytest.raises(RuntimeError, match=r"training loss is nan.*no model was saved"):
        main(flags(tmp_path, model, "--learning_rate", "1e30", "--save_strategy", "no"))
    assert not (tmp_path / "out" / "training.json").exists()
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_what_is_pushed_is_complete(tmp_path, model, monkeypatch):
    """Pushing saves once more and rewrites the card; the Hub still gets its section, the selection, the RoPE keys."""
    pushed = {}

    def upload_folder(folder_path, **kwargs):
        for name in ("README.md", "config.json", "selection.json"):
            pushed[name] = (Path(folder_path) / name).read_text()

    repository = SimpleNamespace(repo_id="me/model")
    api = SimpleNamespace(create_repo=lambda *args, **kwargs: repository, upload_folder=upload_folder)
    monkeypatch.setattr("transformers.trainer.hf_api", lambda: api)
    selection = write_selection(tmp_path / "selection", make_pool(tmp_path), [1, 2])
    main(
        flags(
            tmp_path,
            model,
            "--max_steps",
            "1",
            "--selection_file",
            str(selection),
            "--push_to_hub",
            "true",
            "--hub_strategy",
            "end",
        )
    )
    assert pushed["README.md"].count("## Training data") == 1
    assert json.loads(pushed["config.json"])["rope_theta"] == 10000.0
    assert json.loads(pushed["selection.json"])["method"] == "circuitseer"


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


@pytest.mark.parametrize(("ours", "theirs"), [("zero3", "zero3"), ("ddp", "multi_gpu")])
def test_accelerate_configs_are_those_of_trl(ours, theirs):
    folder = Path(trl.__file__).parent / "accelerate_configs"
    mine, other = (yaml.safe_load(path.read_text()) for path in (CONFIGS / f"{ours}.yaml", folder / f"{theirs}.yaml"))
    assert mine == other


def test_legacy_keys_of_scaled_rope(tmp_path):
    scaled = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "original_max_position_embeddings": 8192}
    scaled |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "rope_parameters": scaled}))
    write_legacy_rope(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["rope_theta"] == 500000.0
    assert saved["rope_scaling"] == {key: value for key, value in scaled.items() if key != "rope_theta"}
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == scaled
