"""Every key of the installed TRL either decides a resume or is known to change no weight."""

from dataclasses import fields
from pathlib import Path

import pytest
from trl import ModelConfig, SFTConfig

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.training.decisive_settings import IN_OTHER_FORM, REPORTING, RUNNING, decisive_keys, settings_of
from circuitseer_trl.training.selected_rows import whole_pool
from circuitseer_trl.training.target import inspect_target
from tests.helpers.training_runs import flags, make_model_folder, make_pool, parse

pytestmark = pytest.mark.thorough

# fmt: off
# A key that a new version of TRL or transformers brings decides; whoever adds it here has read what it does.
DECISIVE = frozenset((
    "num_train_epochs", "max_steps", "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "optim",
    "optim_args", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "optim_target_modules",
    "average_tokens_across_devices", "max_grad_norm", "label_smoothing_factor", "bf16", "fp16", "tf32", "use_liger_kernel",
    "liger_kernel_config", "neftune_noise_alpha", "auto_find_batch_size", "load_best_model_at_end", "metric_for_best_model",
    "greater_is_better", "ignore_data_skip", "restore_callback_states_from_checkpoint", "seed", "data_seed",
    "accelerator_config", "parallelism_config", "dataloader_drop_last", "dataloader_in_order", "remove_unused_columns",
    "label_names", "train_sampling_strategy", "length_column_name", "fsdp", "fsdp_config", "deepspeed", "trust_remote_code",
    "router_aux_loss_coef", "dataset_text_field", "dataset_kwargs", "eos_token", "max_length", "truncation_mode",
    "shuffle_dataset", "packing", "packing_strategy", "padding_free", "pad_to_multiple_of", "completion_only_loss",
    "assistant_only_loss", "loss_type", "pad_token",
))
DECISIVE_OF_MODEL = frozenset((
    "model_revision", "dtype", "use_peft", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules",
    "lora_target_parameters", "lora_modules_to_save", "lora_task_type", "use_rslora", "use_dora", "load_in_8bit",
    "load_in_4bit", "bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage",
))
# fmt: on


@pytest.mark.parametrize(("kind", "known"), [(SFTConfig, DECISIVE), (ModelConfig, DECISIVE_OF_MODEL)])
def test_each_key_is_on_one_side(kind: type, known: frozenset[str]):
    assert set(decisive_keys(kind)) - known == set(), "new keys of TRL: do they change the weights?"
    lists = [known, REPORTING, RUNNING, IN_OTHER_FORM]
    for item in fields(kind):
        assert sum(item.name in each for each in lists) == 1, item.name


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("model"))


def settings(folder: Path, model: Path, *more: str) -> dict[str, object]:
    _, args, model_config, _ = parse(flags(folder, model, *more))
    pool = make_pool(folder)
    target = inspect_target(args, model_config, chat_settings=ChatSettings(""))
    return settings_of(args, target, pool, whole_pool(pool), 1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_sampling_strategy", "group_by_length"),
        ("neftune_noise_alpha", "5"),
        ("use_liger_kernel", "true"),
        ("padding_free", "true"),
        ("assistant_only_loss", "true"),
        ("dataloader_drop_last", "true"),
        ("per_device_train_batch_size", "8"),
        ("use_rslora", "true"),
    ],
)
def test_what_changes_weights_decides(tmp_path: Path, model: Path, key: str, value: str):
    before, after = settings(tmp_path, model), settings(tmp_path, model, f"--{key}", value)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"total_batch_size" if key.startswith("per_device") else key}


def test_what_changes_no_weight_does_not(tmp_path: Path, model: Path):
    words = ["--output_dir", str(tmp_path / "elsewhere"), "--save_steps", "1", "--gradient_checkpointing", "true"]
    words += ["--dataloader_num_workers", "1", "--run_name", "x", "--logging_steps", "7"]
    words += ["--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "4"]
    assert settings(tmp_path, model, *words) == settings(tmp_path, model)


def test_the_model_counts_by_its_content(tmp_path: Path, model: Path):
    before = settings(tmp_path, model)
    moved = make_model_folder(tmp_path / "same")
    assert settings(tmp_path, moved) == before
    other = make_model_folder(tmp_path / "other", seed=1)
    assert {name for name, value in settings(tmp_path, other).items() if value != before[name]} == {"model"}
