"""What training refuses before it starts: selections of other rows, and settings that cannot work."""

import json
import shutil
from pathlib import Path

import pytest

from circuitseer_trl.artifacts import format_record, write_json
from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.scripts.train_sft import main
from circuitseer_trl.training.preflight import check_environment, set_total_batch
from circuitseer_trl.training.resume import check_world_size, find_resume
from circuitseer_trl.training.selected_rows import read_chosen_rows, training_rows
from circuitseer_trl.training.target import inspect_target
from circuitseer_trl.training.training_config import TrainingConfig
from tests.helpers.checkpoints import write_checkpoint
from tests.helpers.training_runs import flags, make_model_folder, make_pool, parse, write_selection

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("chatml"))


class TestSelectionFile:
    def test_pool_order_and_weights(self, tmp_path):
        pool = make_pool(tmp_path)
        chosen = read_chosen_rows(write_selection(tmp_path / "s", pool, [7, 2, 4], [1, 3, 0]), pool)
        assert chosen.indices.tolist() == [2, 2, 2, 7]
        rows = training_rows(pool, chosen, chat=True, system_prompt="")
        assert rows["uid"] == [pool.uids[i] for i in (2, 2, 2, 7)]

    def test_fractional_weight(self, tmp_path):
        pool = make_pool(tmp_path)
        with pytest.raises(ValueError, match=r"weight of 1\.5.*whole numbers"):
            read_chosen_rows(write_selection(tmp_path / "s", pool, [7, 2], [1, 1.5]), pool)

    def test_another_pool(self, tmp_path, model):
        pool = make_pool(tmp_path)
        selection = write_selection(tmp_path / "s", pool, [20, 21])
        (tmp_path / "small").mkdir()
        small = make_pool(tmp_path / "small", 12)
        with pytest.raises(ValueError, match=f"{pool.fingerprint}.*{small.fingerprint}.*2 of the selection's 2 rows"):
            read_chosen_rows(selection, small)

    def test_same_names_other_texts(self, tmp_path):
        pool = make_pool(tmp_path)
        selection = write_selection(tmp_path / "s", pool, [3])
        (tmp_path / "small").mkdir()
        small = make_pool(tmp_path / "small", 12)  # has the selected row
        with pytest.raises(ValueError, match=r"another pool.*0 of the selection's 1 rows"):
            read_chosen_rows(selection, small)

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="select-data"):
            read_chosen_rows(tmp_path / "none", make_pool(tmp_path))


class TestRefused:
    def test_longer_than_the_model(self, tmp_path, model):
        with pytest.raises(ValueError, match=r"1024 tokens, but the model has 256 positions.*rope_theta"):
            main(flags(tmp_path, model, "--max_length", "1024"))
        assert not (tmp_path / "out").exists()

    def test_longest_row_without_max_length(self, tmp_path):
        small = make_model_folder(tmp_path / "model", max_position_embeddings=32)
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
            inspect_target(args, model_config, chat_settings=ChatSettings(""), rope_theta=1e6)

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
        with pytest.raises(ValueError, match=r"\(7\).*\(2\) both set how many rows"):
            main(flags(tmp_path, model, "--total_batch_size", "7"))

    def test_two_sources_of_rows(self):
        with pytest.raises(ValueError, match="Give one of them"):
            TrainingConfig(selection_file="a", selection_recipe="b")

    def test_folder_of_another_model(self, tmp_path, model):
        with pytest.raises(ValueError, match="did not write"):
            find_resume(model, {}, None)

    def test_resume_from_nothing(self, tmp_path):
        with pytest.raises(ValueError, match="has no whole checkpoint"):
            find_resume(tmp_path, {}, "true")
        with pytest.raises(FileNotFoundError, match="no checkpoint folder"):
            find_resume(tmp_path, {}, str(tmp_path / "checkpoint-3"))

    def test_resume_with_other_settings_is_said(self, tmp_path, caplog):
        write_checkpoint(tmp_path, 3)
        write_json(tmp_path / "training_settings.json", {"settings": {"seed": 1}} | format_record())
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
