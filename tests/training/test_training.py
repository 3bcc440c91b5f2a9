"""Training in one process: what a run leaves, and how one goes on that was killed."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from circuitseer_trl.pool.build import load_pool
from circuitseer_trl.scripts.train_sft import main
from circuitseer_trl.training.provenance import Provenance, code_span
from circuitseer_trl.training.run import mean_logged_loss
from circuitseer_trl.training.selected_rows import whole_pool
from tests.helpers.training_runs import flags, losses, make_model_folder, make_pool, write_pool, write_selection

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("chatml"))


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
        curve = json.loads((run / "training.json").read_text())["loss_curve"]
        assert curve == [[step, value] for step, value in enumerate(values, 1)]

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

    def test_card(self, run, model):
        card = (run / "README.md").read_text()
        assert "\n## Training data\n" in card
        assert "`circuitseer`" in card
        assert str(run.parent) not in card
        assert f"This model is a fine-tuned version of `{model.name}` (a local folder)." in card
        assert "None" not in card

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


def test_a_loss_that_is_no_number_is_no_model(tmp_path, model):
    with pytest.raises(RuntimeError, match=r"training loss is nan.*no model was saved"):
        main(flags(tmp_path, model, "--learning_rate", "1e30", "--save_strategy", "no"))
    assert not (tmp_path / "out" / "training.json").exists()
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("openai/gsm8k", "`openai/gsm8k`"),
        ("a`b`` c", "``` a`b`` c ```"),
        ("`", "`` ` ``"),
        ("[a](http://x) | b\n# c", "`[a](http://x) | b # c`"),
        ("\x1b[2J\u202e", r"`\x1b[2J\u202e`"),
    ],
)
def test_code_spans(text: str, code: str):
    assert code_span(text) == code


def test_a_pool_with_a_hostile_name_does_not_break_the_card(tmp_path):
    path = write_pool(tmp_path).rename(tmp_path / "a`b\n# (x).jsonl")
    pool = load_pool(str(path))
    card = Provenance(pool, replace(whole_pool(pool), card={"method": "m`\n## n"})).describe()
    assert "24 rows of the pool `` a`b # (x).jsonl ``, which has" in card
    assert "selected by the method `` m` ## n `` of" in card
    for name, hub in (("openai/gsm8k", "openai/gsm8k"), ("https://host/pool.jsonl", None), (str(path), None)):
        pool.name = name
        assert Provenance(pool, whole_pool(pool)).hub_dataset == hub


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
