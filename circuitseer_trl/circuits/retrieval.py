"""Which heads copy what a text asks for? Key-value probes, and the share of an answer that each head copies.

The rule is that of retrieval heads (Wu et al., arXiv 2404.15574), the probes those of AttentionInfluence (arXiv 2505.07293).
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitseer_trl.circuits.attention import AttentionCall, head_grid, observe
from circuitseer_trl.circuits.received import block_logits, check_causal_call
from circuitseer_trl.modeling.encoding import EncodedExample, encode_prompt
from circuitseer_trl.modeling.losses import check_ready, last_hidden_states, logits_and_targets, response_span

# H query heads, T tokens, D head dimension, A tokens of the answer
INSTRUCTION = "Find the value of the key in this JSON object, and repeat it word for word.\n{"
# The papers take sentences from the web; these words are ours, so that no file is needed.
ADJECTIVES = (
    "old",
    "quiet",
    "northern",
    "bright",
    "narrow",
    "famous",
    "broken",
    "gentle",
    "heavy",
    "distant",
    "wooden",
)
NOUNS = (
    "farmer",
    "river",
    "teacher",
    "garden",
    "window",
    "letter",
    "sailor",
    "market",
    "bridge",
    "doctor",
    "forest",
    "clock",
)
VERBS = ("watched", "carried", "repaired", "followed", "visited", "remembered", "measured", "painted", "described")
PLACES = (
    "before the storm",
    "after the harvest",
    "near the station",
    "in the morning",
    "without a map",
    "for many years",
)
LETTERS = np.array(list(string.ascii_letters + string.digits))


@dataclass(frozen=True)
class RetrievalProbe:
    """A text that ends with an answer which stands in it already.

    Attributes:
        encoded: The text. Its completion is the answer, token for token the value that the text asks for.
        value_start: The position of that value in the JSON object.
        num_pairs: Keys of the JSON object.
    """

    encoded: EncodedExample
    value_start: int
    num_pairs: int


@dataclass(frozen=True)
class RetrievalProbes:
    """The numbers of key-value probes: an instruction, a JSON object, a few answered keys, a key, and its answer.

    Defaults are AttentionInfluence's, except where they are marked "ours". The number of keys in the object is not in the paper:
    it is the largest number that fits into `max_tokens` (ours). Texts are plain, without a chat template (ours).

    Attributes:
        size: Number of probes.
        num_shots: Keys whose answers the text gives.
        key_characters: Random letters and digits of a key.
        max_value_tokens: Most tokens of a value.
        max_tokens: Most tokens of a probe, with its answer.
        seed: Seed of keys, values and their order (ours).
    """

    size: int = 800
    num_shots: int = 3
    key_characters: int = 32
    max_value_tokens: int = 30
    max_tokens: int = 4096
    seed: int = 0

    def make(self, tokenizer: PreTrainedTokenizerBase, index: int) -> RetrievalProbe:
        """Makes one probe, from its index and the seed alone. The parts of a text are encoded one by one, so that an answer has
        the tokens of its value.

        Raises:
            ValueError: The answered keys and one more do not fit into `max_tokens`.
        """
        rng = np.random.default_rng([self.seed, index])

        def ids(text: str) -> list[int]:
            return tokenizer(text, add_special_tokens=False)["input_ids"]

        def pair() -> tuple[str, list[int]]:
            key = "".join(rng.choice(LETTERS, self.key_characters))
            return key, ids(_sentence(rng))[: self.max_value_tokens]

        def entry(key: str, value: list[int]) -> list[int]:
            return [*ids(f'"{key}": "'), *value, *ids('",\n')]

        def answer(key: str, value: list[int]) -> list[int]:
            return [*ids(f'key: "{key}"\nanswer: "'), *value]

        pairs = [pair() for _ in range(self.num_shots + 1)]
        (asked, value), shots = pairs[0], pairs[1:]
        start, end = encode_prompt(tokenizer, INSTRUCTION, "plain", ""), ids("}\n")
        tail = [token for shot in shots for token in [*answer(*shot), *ids('"\n')]]
        tail = [*end, *tail, *answer(asked, value)]
        entries = [entry(*each) for each in pairs]
        left = self.max_tokens - len(start) - len(tail) - sum(map(len, entries))
        if left < 0:
            raise ValueError(
                f"A retrieval probe with {len(pairs)} keys has {self.max_tokens - left} tokens, and the reference model reads "
                f"{self.max_tokens}. Raise `reference_max_length`, or take a reference model with more positions."
            )
        while len(more := entry(*pair())) <= left:
            entries.append(more)
            left -= len(more)
        order = rng.permutation(len(entries)).tolist()
        before = sum(len(entries[place]) for place in order[: order.index(0)])
        body = [token for place in order for token in entries[place]]
        whole = (*start, *body, *tail)
        encoded = EncodedExample(f"probe-{index}", whole, len(whole) - len(value), False)
        return RetrievalProbe(encoded, len(start) + before + len(ids(f'"{asked}": "')), len(entries))


def _sentence(rng: np.random.Generator) -> str:
    words = [
        str(rng.choice(kind)) for kind in (ADJECTIVES, NOUNS, VERBS, ADJECTIVES, NOUNS, PLACES, NOUNS, VERBS, NOUNS)
    ]
    return "The {} {} {} the {} {} {}, and the {} {} every {}.".format(*words)


@dataclass(frozen=True)
class Copies:
    """What each head copies of a probe's answer.

    Attributes:
        copied_ratio (`np.ndarray` of shape `(layers, heads)`): R: the share of the answer's different tokens that a head
            copies.
        answer_loss_nats: The mean loss of the answer's tokens.
        predicted_ratio: The share of the answer's tokens that the model holds for the likeliest.
    """

    copied_ratio: np.ndarray
    answer_loss_nats: float
    predicted_ratio: float

    def table(self, uid: str) -> pa.Table:
        """One row for each head."""
        layers, heads = np.indices(self.copied_ratio.shape)
        size = self.copied_ratio.size
        return pa.table(
            {
                "uid": [uid] * size,
                "layer": pa.array(layers.ravel(), pa.int32()),
                "head": pa.array(heads.ravel(), pa.int32()),
                "copied_ratio": pa.array(self.copied_ratio.ravel(), pa.float64()),
                "answer_loss_nats": pa.array([self.answer_loss_nats] * size, pa.float64()),
                "predicted_ratio": pa.array([self.predicted_ratio] * size, pa.float64()),
            }
        )


def most_attended(call: AttentionCall, span: slice) -> torch.Tensor:
    """The position that each query of the span attends to most, of shape `(H, queries)`; ties go to the earlier one."""
    check_causal_call(call)
    dtype = torch.promote_types(call.query.dtype, torch.float32)
    num_heads, group = call.query.shape[1], call.query.shape[1] // call.key.shape[1]
    query = call.query[:, :, span].to(dtype)
    key = call.key[:, [head // group for head in range(num_heads)], : span.stop].to(dtype)
    return block_logits(call, query, key, span.start).argmax(dim=-1)[0]


def copied_share(attended: np.ndarray, answer: Sequence[int], value_start: int) -> np.ndarray:
    """R of some heads: the share of an answer's different tokens that a head copies.

    A head copies a token if, when the token is due, the head attends most to a token of the value and that token is the same
    (Wu et al.: the most attended token is within the needle). The answer is given, not generated (ours).

    Args:
        attended (`np.ndarray` of shape `(H, A)`): The position that each head attends to most when each token is due.
    """
    tokens = np.array(answer)
    place = attended - value_start
    inside = (place >= 0) & (place < len(tokens))
    copied = inside & (tokens[np.where(inside, place, 0)] == tokens)
    return np.mean([copied[:, tokens == token].any(axis=1) for token in sorted(set(answer))], axis=0)


@torch.no_grad()
def head_copies(model: PreTrainedModel, probe: RetrievalProbe) -> Copies:
    """What each head copies, from one forward.

    Raises:
        ValueError: The model's attention is not supported (see `intercept`).
    """
    check_ready(model)
    example = probe.encoded
    span, answer = response_span(example), example.input_ids[example.num_prompt_tokens :]
    grid = head_grid(model)
    shares = np.empty(grid)

    def visit(layer: int, call: AttentionCall) -> torch.Tensor:
        shares[layer] = copied_share(most_attended(call, span).cpu().numpy(), answer, probe.value_start)
        return call.query

    ids = torch.tensor([example.input_ids], device=model.device)
    with observe(model, range(grid[0]), visit):
        hidden = last_hidden_states(model, ids)
    losses, right = [], []
    for logits, labels in logits_and_targets(model, hidden[0, span], ids[0, span.start + 1 :]):
        losses.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))
        right.append(logits.argmax(dim=-1) == labels)
    return Copies(shares, torch.cat(losses).double().mean().item(), torch.cat(right).double().mean().item())
