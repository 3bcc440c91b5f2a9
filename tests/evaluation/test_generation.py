import random

import pytest
import torch
from scipy import stats
from transformers import PreTrainedTokenizerFast

from circuitseer_trl.evaluation.answering.backends.base import Request, SamplingSettings, sample_key
from circuitseer_trl.evaluation.answering.backends.generation import Decoder, end_token_ids
from circuitseer_trl.evaluation.answering.backends.noise import draw_tokens, gumbel_noise, top_p_candidates
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.modeling.loading import load_model
from tests.helpers.tiny_models import tiny_model as tiny_architecture


def test_draws_follow_the_softmax():
    logits = torch.tensor([2.0, 1.0, 0.5, -1.0, 0.0])
    num_draws = 20_000
    keys = torch.tensor([sample_key(0, "problem", number) for number in range(num_draws)])
    tokens = draw_tokens(logits.expand(num_draws, -1), keys, step=7, temperature=0.8)
    expected = torch.softmax(logits.double() / 0.8, dim=-1) * num_draws
    assert stats.chisquare(torch.bincount(tokens, minlength=5), expected).pvalue > 1e-3


def test_steps_of_one_sample_are_independent_draws():
    keys = torch.tensor([sample_key(0, "problem", number) for number in range(5000)])
    first, second = (draw_tokens(torch.zeros(5000, 4), keys, step, temperature=1.0) for step in (0, 1))
    table = torch.zeros(4, 4).index_put((first, second), torch.ones(5000), accumulate=True)
    assert stats.chi2_contingency(table.numpy()).pvalue > 1e-3


def test_top_p_keeps_the_fewest_tokens_that_hold_it():
    scores = torch.log(torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.97, 0.01, 0.01, 0.01]]))
    values, tokens, whole = top_p_candidates(scores, torch.zeros(2, 1), 0.6, 4)
    assert tokens[0].tolist() == [1, 3]
    assert tokens[1, 0] == 0
    assert values[1, 1] == -torch.inf
    assert whole.all()
    # Of two tokens, the second is beyond the candidates of the second row, and within those of the first.
    assert top_p_candidates(scores, torch.zeros(2, 1), 0.6, 2)[2].tolist() == [False, True]
    flat = torch.zeros(1, 1000)
    for count, width in ((64, 64), (1000, 900)):
        values, _, whole = top_p_candidates(flat, flat.logsumexp(dim=-1, keepdim=True), 0.9, count)
        assert (values.shape, bool(whole)) == ((1, width), count == 1000)


def test_rows_with_few_and_with_many_candidates_are_drawn_as_from_a_full_sort():
    vocabulary = 3000
    scale = torch.tensor([30.0, 8.0, 3.0, 0.5, 0.01])[:, None]  # 1 candidate, tens, hundreds, nearly all
    logits = torch.randn(5, vocabulary, generator=torch.Generator().manual_seed(0)).mul(scale).repeat(40, 1)
    keys = torch.tensor([sample_key(0, "problem", number) for number in range(len(logits))])
    drawn = draw_tokens(logits, keys, 3, temperature=0.9, top_p=0.95)
    sizes = set()
    for row, key, token in zip(logits.double() / 0.9, keys, drawn, strict=True):
        probabilities = torch.softmax(row, dim=-1)
        order = probabilities.argsort(descending=True, stable=True).tolist()
        held, kept = 0.0, []
        for candidate in order:
            if held >= 0.95:
                break
            kept.append(candidate)
            held += float(probabilities[candidate])
        noise = gumbel_noise(key[None], 3, torch.tensor([kept]))[0]
        assert kept[int((row[kept] + noise).argmax())] == token
        sizes.add(0 if len(kept) <= 64 else 1 if len(kept) <= 1024 else 2)
    assert sizes == {0, 1, 2}
    assert torch.equal(drawn[7:8], draw_tokens(logits[7:8], keys[7:8], 3, temperature=0.9, top_p=0.95))


def test_noise_belongs_to_the_token_not_to_its_place():
    keys = torch.tensor([sample_key(3, "a", 0), sample_key(3, "b", 0)])
    noise = gumbel_noise(keys, 5, torch.arange(10).expand(2, -1))
    assert torch.equal(gumbel_noise(keys, 5, torch.arange(9, -1, -1).expand(2, -1)), noise.flip(-1))
    assert not torch.equal(noise[0], noise[1])


def requests(tokenizer: PreTrainedTokenizerFast) -> list[Request]:
    prompts = PromptFormat(tokenizer, "Think.")
    result = []
    for number, question in enumerate(["2 + 2?", "Halve 18.", "A train runs 60 km in one hour. And in two?"]):
        ids = tuple(prompts.token_ids(question))
        result += [Request(f"p{number}", ids, "", False, sample) for sample in range(5)]
        result.append(Request(f"p{number}", ids, "", True, 0))
    return result


def answers(model, tokenizer, wanted, batch_size: int, **settings) -> dict:
    chosen = SamplingSettings(**({"max_new_tokens": 24, "temperature": 0.9} | settings))
    ends = end_token_ids(model, PromptFormat(tokenizer).end_of_turn_ids())
    groups = Decoder(model, tokenizer, chosen, ends).generate(wanted, batch_size)
    return {sample.key: (sample.text, sample.num_tokens, sample.finish_reason) for group in groups for sample in group}


@pytest.mark.parametrize("settings", [{}, {"repetition_penalty": 1.3, "top_p": 0.5}])
def test_a_sample_does_not_depend_on_its_batch(tiny_model: str, tokenizer: PreTrainedTokenizerFast, settings: dict):
    model = load_model(tiny_model, dtype="float32")
    wanted = requests(tokenizer)
    alone = answers(model, tokenizer, wanted, 1, **settings)
    assert len(alone) == 18
    assert len(set(alone.values())) > 10
    for batch_size in (3, 16):
        random.Random(batch_size).shuffle(wanted)
        assert answers(model, tokenizer, wanted, batch_size, **settings) == alone
    assert answers(model, tokenizer, wanted[:4], 4, **settings).items() <= alone.items()


def test_seeds_differ_and_greedy_does_not(tiny_model: str, tokenizer: PreTrainedTokenizerFast):
    model = load_model(tiny_model, dtype="float32")
    one, other = (answers(model, tokenizer, requests(tokenizer), 18, seed=seed) for seed in (1, 2))
    assert {key for key in one if one[key] == other[key]} >= {(f"p{number}", True, 0) for number in range(3)}
    assert sum(one[key] != other[key] for key in one) > 10


@pytest.mark.parametrize("name", ["qwen2", "mistral", "gemma3"])
def test_greedy_is_what_transformers_generates(name: str):
    """Sliding windows, padding, leaving rows and the cache against `generate`, one prompt at a time."""
    model = tiny_architecture(name)
    torch.manual_seed(0)
    prompts = [tuple(torch.randint(3, 96, (length,)).tolist()) for length in (3, 11, 20)]
    ends = {2, 5, 9, 30, 31, 32}

    class Numbers:
        def decode(self, ids: list[int], **kwargs: bool) -> str:
            return " ".join(map(str, ids))

    wanted = [Request(str(number), ids, "", True, 0) for number, ids in enumerate(prompts)]
    groups = Decoder(model, Numbers(), SamplingSettings(40), ends).generate(wanted, batch_size=3)
    ours = {sample.id: sample for group in groups for sample in group}
    for number, ids in enumerate(prompts):
        output = model.generate(
            torch.tensor([ids]), max_new_tokens=40, do_sample=False, eos_token_id=sorted(ends), pad_token_id=0
        )[0, len(ids) :].tolist()
        text_ids = output[:-1] if output[-1] in ends else output
        assert ours[str(number)].text == " ".join(map(str, text_ids))
        assert ours[str(number)].num_tokens == len(output)


def test_context_limit_cuts_and_is_told(tiny_model: str, tokenizer: PreTrainedTokenizerFast, caplog):
    model = load_model(tiny_model, dtype="float32")  # 768 positions
    wanted = [Request("long", (7,) * 764, "", True, 0), Request("too_long", (7,) * 768, "", True, 0)]
    chosen = SamplingSettings(max_new_tokens=24)
    groups = Decoder(model, tokenizer, chosen, set()).generate(wanted, batch_size=2)
    samples = {sample.id: sample for group in groups for sample in group}
    assert (samples["long"].num_tokens, samples["long"].finish_reason) == (4, "length")
    assert (samples["too_long"].num_tokens, samples["too_long"].finish_reason) == (0, "prompt_too_long")
    assert "context of 768 tokens" in caplog.text


@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_named(
    tiny_model: str, tokenizer: PreTrainedTokenizerFast, greedy: bool, value: float
):
    """`argmax` takes the first NaN for the most likely token."""
    model = load_model(tiny_model, dtype="float32")
    ids = tuple(PromptFormat(tokenizer).token_ids("What is 2 + 2?"))
    wanted = [Request(f"x-{number}", ids, "", greedy, 0) for number in range(2)]
    model.lm_head.weight.data[7] = value
    with pytest.raises(ValueError, match="The model's logits for token 0 of the answer to x-0 are NaN or infinite"):
        list(Decoder(model, tokenizer, SamplingSettings(4), set()).generate(wanted, batch_size=2))


def test_tokens_that_cannot_come_are_allowed():
    logits = torch.tensor([[0.0, 1.0, -torch.inf]])
    key = torch.tensor([sample_key(0, "problem", 0)])
    assert all(int(draw_tokens(logits, key, step, temperature=1.0)) < 2 for step in range(50))


def test_prompts(tokenizer: PreTrainedTokenizerFast):
    chat = tokenizer.decode(PromptFormat(tokenizer, "Think.").token_ids("2 + 2?"))
    turns = [
        "<|im_start|>system",
        "Think.<|im_end|>",
        "<|im_start|>user",
        "2 + 2?<|im_end|>",
        "<|im_start|>assistant",
        "",
    ]
    assert chat == "\n".join(turns)
    assert "system" not in tokenizer.decode(PromptFormat(tokenizer, "").token_ids("2 + 2?"))
    assert PromptFormat(tokenizer).end_of_turn_ids() == {tokenizer.convert_tokens_to_ids("<|im_end|>")}
    base = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|endoftext|>")
    plain = PromptFormat(base, "Think.")
    assert plain.template_name == "plain"
    assert base.decode(plain.token_ids("2 + 2?")) == "Think.\n\nProblem: 2 + 2?\n\nSolution:\n"
