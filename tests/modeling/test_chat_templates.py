"""One date and one plain form everywhere, and templates that drop a part of a prompt are refused."""

import signal
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.configs import SelectionConfig
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import prompt_format
from circuitseer_trl.modeling.chat_templates import check_template, dated_template
from circuitseer_trl.modeling.encoding import chat_text
from circuitseer_trl.modeling.loading import load_tokenizer
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.load import load_pool
from circuitseer_trl.training.provenance import Provenance
from circuitseer_trl.training.run import make_trainer
from circuitseer_trl.training.selected_rows import measure_lengths, training_rows, whole_pool
from circuitseer_trl.training.target import inspect_target
from tests.helpers.method_inputs import compute_scores
from tests.helpers.tiny_models import CHATML, build_tokenizer, save_model
from tests.helpers.training_runs import flags, parse

LLAMA32 = (
    '{%- if not date_string is defined %}{%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}'
    '{%- else %}{%- set date_string = "1 Jan 2000" %}{%- endif %}{%- endif %}{{ "Today: " + date_string + "\\n" }}'
    + CHATML
)
IN_A_MACRO = '{% macro head() %}{{ strftime_now("%A, %-d %B %Y (%j), 100%%") }}{% endmacro %}{{ head() }}\n' + CHATML
SPACES_FIRST = "\n  {% if true %}\n  {{ strftime_now('%Y-%m-%d') }}\n  {% endif %}\n" + CHATML
TURNS = [{"role": "user", "content": "1 + 1?"}]


class Clock(datetime):
    @classmethod
    def now(cls, tz: object = None) -> "Clock":
        return cls(2019, 3, 7)


@pytest.mark.parametrize("template", [LLAMA32, IN_A_MACRO, SPACES_FIRST])
def test_a_dated_template_writes_what_the_original_writes_on_that_day(template, monkeypatch):
    ours, original = build_tokenizer(), build_tokenizer()
    ours.chat_template, original.chat_template = dated_template(template, "2019-03-07"), template
    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)
    expected = chat_text(original, TURNS, add_generation_prompt=True)
    monkeypatch.undo()
    assert "2019" in expected
    assert chat_text(ours, TURNS, add_generation_prompt=True) == expected
    assert chat_text(original, TURNS, add_generation_prompt=True) != expected  # today is another day


def test_a_template_without_a_date_is_not_changed():
    assert dated_template(CHATML, "2019-03-07") == CHATML


def dated_model(folder: Path) -> Path:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = LLAMA32
    return save_model(folder, tokenizer)


def every_prompt(tmp_path: Path, model: Path, pool_file: str, *more: str, **keys: str) -> dict[str, str]:
    """The first row as each step reads it, up to the answer."""
    chat = ChatSettings("Be brief.", **keys)
    pool = load_pool(pool_file)
    reference = Reference(str(model), system_prompt=chat.system_prompt, chat_date=chat.chat_date)
    [example] = reference.encode(pool.take([0]))
    config = EvaluationConfig(
        str(model), str(tmp_path / "results"), system_prompt=chat.system_prompt, chat_date=chat.chat_date
    )
    prompts = prompt_format(config, config.make_backend())
    assert prompts is not None
    _, args, model_config, _ = parse(flags(tmp_path, model, *more))
    target = inspect_target(args, model_config, chat_settings=chat)
    rows = training_rows(pool, whole_pool(pool), chat=target.chat, system_prompt=chat.system_prompt)
    lengths = measure_lengths(rows, target.ahead, chat=target.chat, max_length=None)
    trainer = make_trainer(rows, target, args, Provenance(pool, whole_pool(pool)))
    trained = trainer.train_dataset["input_ids"]
    assert lengths.num_tokens == sum(map(len, trained))
    trainer.processing_class.save_pretrained(tmp_path / "saved")
    decode = reference.tokenizer.decode
    return {
        "probe": decode(example.input_ids[: example.num_prompt_tokens]),
        "evaluation": decode(prompts.token_ids(pool.take([0])[0].problem)),
        "training": decode(trained[0]).partition("She has 3 + 4")[0],
    }


@pytest.mark.parametrize("more", [(), ("--dataset_num_proc", "2")], ids=["one process", "two processes"])
def test_one_date_in_every_step_and_none_in_what_is_saved(tmp_path, pool_file, more):
    model = dated_model(tmp_path / "model")
    prompts = every_prompt(tmp_path, model, pool_file, *more, chat_date="2019-03-07")
    assert len(set(prompts.values())) == 1
    assert prompts["probe"].startswith("Today: 07 Mar 2019\n<|im_start|>system\nBe brief.")
    assert load_tokenizer(str(tmp_path / "saved"), chat_date=None).chat_template == LLAMA32
    # Rows that were tokenised with another date are not taken from the cache.
    assert every_prompt(tmp_path, model, pool_file, *more)["training"].startswith("Today: 26 Jul 2024\n")


def test_one_plain_form_in_every_step(tmp_path, pool_file):
    model = save_model(tmp_path / "model", build_tokenizer("plain"))
    prompts = every_prompt(tmp_path, model, pool_file)
    problem = "Ann has 3 apples and buys 4 more. How many has she?"
    assert set(prompts.values()) == {f"Be brief.\n\nProblem: {problem}\n\nSolution:\n"}
    reference = Reference(str(model), system_prompt="")
    assert reference.form()["plain_form"] == "{system}Problem: {problem}\n\nSolution:\n"


@pytest.mark.parametrize("value", ["yesterday", "2024-13-01", 7, None])
def test_a_date_that_is_none(value):
    with pytest.raises(ValueError, match=r"`chat_date` must be a date such as 2024-07-26"):
        EvaluationConfig("model", "out", chat_date=value)


NO_SYSTEM = CHATML.replace("for message in messages", "for message in messages if message['role'] != 'system'")
REFUSES_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system, please') }}{% endif %}" + CHATML
)
NO_PROBLEM = CHATML.replace("for message in messages", "for message in messages if message['role'] != 'user'")
NO_ANSWER = CHATML.replace("for message in messages", "for message in messages if message['role'] != 'assistant'")
NO_HEADER = CHATML.partition("{% if add_generation_prompt")[0]
# As Mistral's: the answer stands directly behind the problem.
INSTRUCT = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}{{ ' ' + message['content'] + '</s>' }}{% else %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% endif %}{% endfor %}"
)
# As DeepSeek-R1's distilled models: the header opens a thought that a finished answer no longer shows.
THINKING = CHATML.replace("'<|im_start|>assistant\n' }}{% endif", "'<|im_start|>assistant\n<think>\n' }}{% endif")
ALWAYS_OPEN = NO_HEADER + "{{ '<|im_start|>assistant\n' }}"


@pytest.mark.parametrize("template", [CHATML, LLAMA32, INSTRUCT, THINKING, ALWAYS_OPEN])
@pytest.mark.parametrize("system_prompt", ["", "Be brief."])
def test_whole_templates(template, system_prompt):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = template
    check_template(tokenizer, system_prompt, "change it")


@pytest.mark.parametrize(
    ("template", "system_prompt", "message"),
    [
        (NO_SYSTEM, "Be brief.", r'does not write the system message. Set `system_prompt: ""`'),
        (REFUSES_SYSTEM, "Be brief.", r"does not take the system message \(.*No system, please"),
        (NO_PROBLEM, "", "does not write the problem. To go on, change it"),
        (NO_ANSWER, "", "does not write the answer"),
        (NO_HEADER, "", r"does not write the header of an answer \('<\|im_start\|>assistant'\)"),
        ("{% for message in messages %}", "", "cannot be rendered: line 1: TemplateSyntaxError"),
        ("{{ messages[0].nothing.more }}", "", "cannot be rendered: UndefinedError"),
        ("{{ 1 / 0 }}", "", "cannot be rendered: ZeroDivisionError"),
        ("{{ messages.__class__.__mro__ }}", "", "cannot be rendered: SecurityError"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "", "cannot be rendered: OverflowError"),
    ],
)
def test_templates_that_drop_or_break(template, system_prompt, message):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match=message):
        check_template(tokenizer, system_prompt, "change it")


def test_a_template_with_endless_loops_is_stopped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("circuitseer_trl.modeling.encoding.RENDER_SECONDS", 0.1)
    tokenizer, handler = build_tokenizer(), signal.getsignal(signal.SIGVTALRM)
    count = "{% for a in range(99999) %}{% for b in 'b' * 99999 %}{% endfor %}{% endfor %}"
    tokenizer.chat_template = count + CHATML
    with pytest.raises(ValueError, match=r"cannot be rendered: TimeoutError: it takes more than 0\.1 s"):
        check_template(tokenizer, "", "change it")
    assert signal.getsignal(signal.SIGVTALRM) == handler
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


@pytest.mark.parametrize("template", [NO_SYSTEM, REFUSES_SYSTEM])
def test_without_a_system_message_such_templates_are_taken(template):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = template
    check_template(tokenizer, "", "change it")


# fmt: off
PIECES = st.sampled_from([
    CHATML, "{{", "}}", "{% if messages %}", "{% endif %}", "{% endfor %}", "{{ messages[0]['content'] }}", "{{ x.y.z }}",
    "{{ messages | tojson }}", "{{ 'a' * -1 }}", "{{ 1 + 'a' }}", "{{ messages[9] }}", "{# ", "{% macro m(a) %}", "\x00é",
    "{{ raise_exception(1) }}", "{{ strftime_now(3) }}", "{{ strftime_now() }}", "{% set strftime_now = 3 %}",
])
# fmt: on


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=6), st.sampled_from(["", "Be brief."]))
def test_any_template_is_taken_or_gets_a_clear_line(pieces, system_prompt):
    tokenizer = build_tokenizer_once()
    tokenizer.chat_template = dated_template("".join(pieces), "2024-07-26")
    try:
        check_template(tokenizer, system_prompt, "change it")
    except ValueError as error:
        message = str(error)
    else:
        message = "The chat template of this tokenizer is whole."
    assert message.startswith("The chat template of ")


_TOKENIZERS: list = []


def build_tokenizer_once():
    if not _TOKENIZERS:
        _TOKENIZERS.append(build_tokenizer())
    return _TOKENIZERS[0]


@pytest.mark.parametrize(
    "keys",
    [
        {"method": "quality"},
        {"method": "max_loss"},
        {"method": "circuitseer", "score_format": "chat", "head_set": "all"},
    ],
    ids=lambda keys: keys["method"],
)
def test_a_selection_refuses_such_a_template_before_it_scores(tmp_path, pool_file, keys):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = NO_SYSTEM
    model = save_model(tmp_path / "model", tokenizer)
    config = SelectionConfig(str(tmp_path / "out"), reference_model=str(model), **keys)
    with pytest.raises(ValueError, match="does not write the system message"):
        compute_scores(config, "Be brief.", load_pool(pool_file))
    assert not list((tmp_path / "out").rglob("*.parquet"))
