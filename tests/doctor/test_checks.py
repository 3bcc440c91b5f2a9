"""Every check of the doctor on the tiny model: it is right here, and each check finds what is broken on purpose."""

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from circuitseer_trl.circuits import received, sweep
from circuitseer_trl.circuits.attention import Ablation
from circuitseer_trl.circuits.attribution import HeadAttributions
from circuitseer_trl.circuits.sweep import HeadSweep
from circuitseer_trl.doctor import abilities, cost_checks, generation_checks, head_checks
from circuitseer_trl.doctor.abilities import check_all_reduce, check_bfloat16, check_flash_attention, check_vllm
from circuitseer_trl.doctor.cost_checks import check_memory, check_throughput
from circuitseer_trl.doctor.generation_checks import check_transformers, check_vllm_text
from circuitseer_trl.doctor.head_checks import check_attribution, check_race, check_sweep
from circuitseer_trl.doctor.outcome import CannotError, Check, Outcome, outcomes_of
from circuitseer_trl.doctor.subject import Subject, example_texts
from circuitseer_trl.doctor.text_checks import (
    check_losses,
    check_masks,
    check_padding,
    check_scores,
    check_template,
)
from circuitseer_trl.modeling import loading, losses
from tests.helpers.tiny_models import CHATML, build_tokenizer

Find = Callable[[Subject], list[Outcome]]
OF_MODEL: list[Find] = [
    check_losses,
    check_scores,
    check_padding,
    check_masks,
    check_template,
    check_sweep,
    check_attribution,
    check_race,
    check_transformers,
]


@pytest.fixture(scope="module")
def subject(tiny_model: str) -> Subject:
    return Subject(tiny_model)


@pytest.fixture
def small_yardstick(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model in the place of the one that speed and memory are measured on."""
    monkeypatch.setattr(cost_checks, "TOKENS", {"cpu": 32, "cuda": 32})
    monkeypatch.setattr(cost_checks, "yardstick", lambda device, dtype: subject.model(dtype))


def statuses(outcomes: Sequence[Outcome]) -> set[str]:
    return {outcome.status for outcome in outcomes}


@pytest.mark.parametrize("check", OF_MODEL, ids=lambda check: check.__name__)
def test_a_sound_model_is_right(check: Find, subject: Subject):
    outcomes = check(subject)
    assert statuses(outcomes) == {"ok"}, outcomes
    assert all(outcome.bound is not None for outcome in outcomes)


def test_what_the_machine_can_do():
    assert statuses([*check_bfloat16(), *check_all_reduce()]) == {"ok"}


def test_memory_and_speed_have_their_rows(small_yardstick: None):
    memory, speed = check_memory(), check_throughput()
    assert [outcome.name.split(",")[1].strip() for outcome in memory + speed] == [
        *("losses", "sweep"),
        *("losses", "sweep", "scores"),
    ]
    assert statuses(memory) == {"ok"}
    # Another process on the machine may slow it, so no bound is held here.
    assert all(outcome.value is not None and 0 < outcome.value < 1.5 for outcome in speed)


@pytest.mark.slow
def test_memory_and_speed_are_as_they_should_be():
    assert statuses([*check_memory(), *check_throughput()]) == {"ok"}


def test_ablating_another_head_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch):
    real = sweep.ablate
    monkeypatch.setattr(
        sweep,
        "ablate",
        lambda model, plan, *more: real(model, [Ablation(a.layer, (a.head + 1) % 4, a.row) for a in plan], *more),
    )
    assert "differs" in statuses(check_sweep(subject))


def test_keys_scaled_with_the_query_are_found(subject: Subject, monkeypatch: pytest.MonkeyPatch):
    """A score from logits that are one percent off."""
    real = received.block_logits
    monkeypatch.setattr(received, "block_logits", lambda *arguments: 1.01 * real(*arguments))
    assert "differs" in statuses(check_scores(subject))


def test_a_response_that_starts_a_token_late_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch):
    real = losses.response_span
    monkeypatch.setattr(losses, "response_span", lambda example: slice(real(example).start + 1, real(example).stop))
    assert "differs" in statuses(check_losses(subject))


def test_padding_on_the_wrong_side_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch):
    def pad_left(batch: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
        longest = max(map(len, batch))
        return torch.tensor([[*[0] * (longest - len(ids)), *ids] for ids in batch], device=device)

    monkeypatch.setattr(losses, "pad_right", pad_left)
    monkeypatch.setattr(received, "pad_right", pad_left)
    assert statuses(check_padding(subject)) == {"differs"}


def test_a_kernel_without_a_mask_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch):
    real = torch.nn.functional.scaled_dot_product_attention

    def seeing_all(*tensors: Any, **options: Any) -> torch.Tensor:
        return real(*tensors, **(options | {"attn_mask": None, "is_causal": False}))

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", seeing_all)
    assert statuses(check_masks(subject)) == {"differs"}


HEADER = "{{ '<|im_start|>assistant\n' }}"


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (CHATML + HEADER, "the generation prompt is there twice"),
        (CHATML.replace(HEADER, ""), "there is no generation prompt"),
        (CHATML.replace("+ message['content'] +", "+"), "the problem is missing"),
        (CHATML.replace("messages %}", "messages if message['role'] != 'system' %}"), "the system prompt is missing"),
    ],
)
def test_a_broken_template_is_found(template: str, fault: str, tiny_model: str):
    own = Subject(tiny_model)
    own.tokenizer = build_tokenizer()
    own.tokenizer.chat_template = template
    [outcome] = check_template(own)
    assert (outcome.status, fault in outcome.detail) == ("differs", True)


def test_two_begin_of_text_tokens_are_found(tiny_model: str):
    own = Subject(tiny_model)
    own.tokenizer = build_tokenizer("llama3")
    own.tokenizer.bos_token = "<|begin_of_text|>"
    assert check_template(own)[0].status == "ok"
    own.tokenizer.chat_template = "{{ '<|begin_of_text|>' }}" + str(own.tokenizer.chat_template)
    assert "two begin-of-text tokens" in check_template(own)[0].detail
    own.tokenizer.chat_template = None
    with pytest.raises(CannotError, match="no chat template"):
        check_template(own)


def test_slopes_that_are_ten_percent_off_are_found(subject: Subject, monkeypatch: pytest.MonkeyPatch):
    real = head_checks.head_attributions

    def scaled(model: Any, example: Any) -> HeadAttributions:
        found = real(model, example)
        return HeadAttributions(found.base_loss, 1.1 * found.estimate, found.reach)

    monkeypatch.setattr(head_checks, "head_attributions", scaled)
    assert "differs" in statuses(check_attribution(subject))


def test_a_race_that_takes_the_worst_heads_is_found(subject: Subject, monkeypatch: pytest.MonkeyPatch):
    real = HeadSweep.table

    def turned(sweep: HeadSweep, uid: str, heads: Any) -> Any:
        return real(HeadSweep(sweep.base_loss, -sweep.increase), uid, heads)

    monkeypatch.setattr(HeadSweep, "table", turned)
    assert statuses(check_race(subject)) == {"differs"}


@pytest.mark.parametrize("check", [check_losses, check_masks, check_sweep, check_attribution])
def test_weights_that_are_not_numbers_are_never_right(check: Find, tiny_model: str):
    own = Subject(tiny_model)
    own.exact_increases = np.ones(len(own.heads))  # of the whole model, as it was
    with torch.no_grad():
        own.model(own.default_dtype).get_decoder().layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    outcomes = [outcome for outcome in check(own) if "float64" not in outcome.name]
    assert statuses(outcomes) == {"differs"}
    assert all("not finite" in outcome.detail for outcome in outcomes)


def test_attention_that_is_not_finite_is_a_failed_row(tiny_model: str):
    own = Subject(tiny_model)
    assert own.heads
    with torch.no_grad():
        own.model(own.score_dtype).get_input_embeddings().weight[:] = torch.nan
    [outcome] = outcomes_of(Check("scores", lambda: check_scores(own)))
    assert (outcome.status, outcome.detail.split(":")[0]) == ("failed", "NotFiniteError")


def test_a_model_whose_heads_do_nothing_shows_nothing(tiny_model: str):
    own = Subject(tiny_model)
    own.exact_increases = np.zeros(len(own.heads))
    with pytest.raises(CannotError, match="changes no loss"):
        check_sweep(own)


def test_other_weights_in_the_backend_are_found(subject: Subject, other_model: str, monkeypatch: pytest.MonkeyPatch):
    real = loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda name, *rest, **options: real(other_model, *rest, **options))
    [outcome] = check_transformers(subject)
    assert (outcome.status, outcome.value) == ("differs", 1.0)


def test_a_product_that_is_too_coarse_is_found(monkeypatch: pytest.MonkeyPatch):
    real = torch.Tensor.__matmul__

    def coarse(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return real(left, right) * (1.05 if left.dtype == torch.bfloat16 else 1)

    monkeypatch.setattr(torch.Tensor, "__matmul__", coarse)
    assert statuses(check_bfloat16()) == {"differs"}


def test_a_sum_that_leaves_out_a_rank_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(abilities, "run_together", lambda *arguments: ["3.0\n", "2.0\n"])
    assert statuses(check_all_reduce()) == {"differs"}


@pytest.mark.parametrize(("causal", "status"), [(True, "ok"), (False, "differs")])
def test_flash_attention(causal: bool, status: str, monkeypatch: pytest.MonkeyPatch):
    """With a stand-in for the kernel, which needs a GPU; one that is not causal is found."""

    def kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: bool) -> torch.Tensor:
        assert options == {"causal": True}
        attend = torch.nn.functional.scaled_dot_product_attention
        heads_first = (each.transpose(1, 2) for each in (query, key, value))
        return attend(*heads_first, is_causal=causal, enable_gqa=True).transpose(1, 2)

    module: Any = ModuleType("flash_attn")
    module.__spec__, module.flash_attn_func = ModuleSpec("flash_attn", None), kernel
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    assert statuses(check_flash_attention()) == {status}


@pytest.mark.parametrize("check", [check_flash_attention, check_vllm])
def test_what_is_not_installed_is_named_with_its_extra(check: Callable[[], Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(abilities, "find_spec", lambda name: None)
    with pytest.raises(CannotError, match="pip install"):
        check()


@pytest.mark.parametrize(("platform", "status"), [("cpu", "ok"), ("UnspecifiedPlatform", "differs")])
def test_vllm_without_a_platform_is_found(platform: str, status: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(abilities, "find_spec", lambda name: True)
    monkeypatch.setattr(abilities, "run_program", lambda words, seconds: f"INFO starting\n0.32.0 {platform}\n")
    assert statuses(check_vllm()) == {status}


@pytest.mark.parametrize(("ending", "status"), [("", "ok"), ("!", "differs")])
def test_texts_of_vllm_are_compared(ending: str, status: str, tiny_model: str, monkeypatch: pytest.MonkeyPatch):
    """With the embedded backend in the place of vLLM's process."""

    def answer(words: Sequence[str], seconds: float) -> None:
        job = generation_checks.read_json(words[-1])
        texts = generation_checks.greedy_answers("transformers", job["model"], job["questions"], job["max_new_tokens"])
        generation_checks.write_json(job["output"], [text + ending for text in texts])

    monkeypatch.setattr(generation_checks, "find_spec", lambda name: True)
    monkeypatch.setattr(generation_checks, "run_program", answer)
    assert statuses(check_vllm_text(Subject(tiny_model))) == {status}


def test_more_memory_than_was_forecast_is_found(small_yardstick: None, monkeypatch: pytest.MonkeyPatch):
    def greedy(*arguments: Any, **options: Any) -> torch.Tensor:
        return torch.ones(2**29)  # 2 GB

    monkeypatch.setattr(cost_checks, "head_loss_increases", greedy)
    losses_row, sweep_row = check_memory()
    assert (losses_row.status, sweep_row.status) == ("ok", "differs")


def test_work_that_is_slower_than_products_allow_is_found(small_yardstick: None, monkeypatch: pytest.MonkeyPatch):
    real = cost_checks.matmul_rate
    monkeypatch.setattr(cost_checks, "matmul_rate", lambda device, dtype: 10 * real(device, dtype))
    assert statuses(check_throughput()) == {"differs"}


def test_the_solutions_are_right():
    """A model that solves such problems finds nothing odd in them; the second way is to add all numbers of the problem."""
    for example in example_texts(12):
        numbers = [int(word) for word in example.problem.split() if word.isdigit()]
        assert example.completion.endswith(f"\\boxed{{{sum(numbers)}}}.")
