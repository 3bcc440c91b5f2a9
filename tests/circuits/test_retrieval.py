"""Key-value probes, and what heads copy of them: by hand, by eager attention, and by a planted head."""

import itertools

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from circuitseer_trl.circuits import retrieval
from circuitseer_trl.circuits.attention import AttentionCall
from circuitseer_trl.circuits.retrieval import RetrievalProbe, RetrievalProbes, copied_share, head_copies
from circuitseer_trl.modeling.reference import Reference

SMALL = RetrievalProbes(size=3, num_shots=1, key_characters=4, max_value_tokens=30, max_tokens=300)


@pytest.fixture(scope="module")
def probes(tokenizer: PreTrainedTokenizerFast) -> list[RetrievalProbe]:
    return [SMALL.make(tokenizer, index) for index in range(SMALL.size)]


def test_probe_ends_with_the_value_of_the_key_that_it_asks_for(tokenizer: PreTrainedTokenizerFast, probes):
    for probe in probes:
        ids, start = probe.encoded.input_ids, probe.encoded.num_prompt_tokens
        answer, text = ids[start:], tokenizer.decode(ids[:start])
        assert ids[probe.value_start :][: len(answer)] == answer
        assert 2 <= len(answer) <= 30
        assert len(ids) <= 300
        key = text.rsplit('key: "', 1)[1].split('"')[0]
        assert text.count(f'"{key}": "{tokenizer.decode(answer)}"') == 1
        assert text.count('": "') == probe.num_pairs
        assert tokenizer.decode(ids[: probe.value_start]).endswith(f'"{key}": "')
    assert SMALL.make(tokenizer, 1) == probes[1] != probes[0]


def test_probe_that_does_not_fit_is_refused(tokenizer: PreTrainedTokenizerFast):
    with pytest.raises(ValueError, match=r"with 4 keys has \d+ tokens, and the reference model reads 300. Raise"):
        RetrievalProbes(max_tokens=300).make(tokenizer, 0)


def test_share_by_hand():
    # The value 7 8 7 9 stands at 10 to 13; three different tokens. The rows of heads: all of it; both 7s once; a 7 for an 8, and
    # positions outside; every token from a place with the same token, but of another text.
    attended = np.array([[10, 11, 12, 13], [12, 10, 10, 10], [9, 10, 14, 0], [30, 31, 32, 33]])
    assert copied_share(attended, [7, 8, 7, 9], 10) == pytest.approx([1, 1 / 3, 0, 0])


def test_copies_are_those_of_eager_attention(tiny_model: str, probes: list[RetrievalProbe]):
    model = Reference(tiny_model, dtype="float32").model()
    eager = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32, attn_implementation="eager")
    assert model.config.num_attention_heads > model.config.num_key_value_heads
    some = 0.0
    for probe in probes:
        found = head_copies(model, probe)
        ids, start = probe.encoded.input_ids, probe.encoded.num_prompt_tokens
        with torch.no_grad():
            output = eager(torch.tensor([ids]), output_attentions=True)
        right, loss = 0, 0.0
        for layer, head in itertools.product(*map(range, found.copied_ratio.shape)):
            copied = set()
            for place in range(start, len(ids)):
                most = int(output.attentions[layer][0, head, place - 1].argmax())
                if probe.value_start <= most < probe.value_start + len(ids) - start and ids[most] == ids[place]:
                    copied.add(ids[place])
            assert found.copied_ratio[layer, head] == pytest.approx(len(copied) / len(set(ids[start:])))
            some += found.copied_ratio[layer, head]
        for place in range(start, len(ids)):
            logits = output.logits[0, place - 1]
            right += int(logits.argmax()) == ids[place]
            loss -= logits.log_softmax(-1)[ids[place]].item()
        assert found.answer_loss_nats == pytest.approx(loss / (len(ids) - start), rel=1e-5)
        assert found.predicted_ratio == pytest.approx(right / (len(ids) - start))
    assert some > 0  # else the test would hold for a function that gives zeros


def test_planted_head_copies_the_whole_answer(
    tiny_model: str, probes: list[RetrievalProbe], monkeypatch: pytest.MonkeyPatch
):
    """Head 1 of each layer is forced to look one place behind the token it has read, and head 2 at the token it has read."""
    model, real = Reference(tiny_model, dtype="float32").model(), retrieval.block_logits
    for probe in probes:

        def forced(call: AttentionCall, query: torch.Tensor, key: torch.Tensor, start: int) -> torch.Tensor:
            logits = real(call, query, key, start)
            for place in range(query.shape[2]):
                read = probe.value_start + place - 1  # noqa: B023
                logits[0, 1, place, read + 1] = logits[0, 2, place, read] = 1e6
            return logits

        monkeypatch.setattr(retrieval, "block_logits", forced)
        found = head_copies(model, probe).copied_ratio
        assert found[:, 1].tolist() == [1, 1]
        answer = probe.encoded.input_ids[probe.encoded.num_prompt_tokens :]
        again = {one for one, two in itertools.pairwise(answer) if one == two}
        assert found[:, 2].tolist() == pytest.approx([len(again) / len(set(answer))] * 2)
