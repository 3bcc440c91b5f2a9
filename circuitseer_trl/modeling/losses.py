"""How well does a model predict a response? Mean response losses, without holding tokens x vocabulary in memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from circuitseer_trl.modeling.encoding import EncodedExample

# N tokens, V vocabulary, D hidden size, B batch, T tokens of the longest example
# Logits held at once: 64 MB in float32. The number is constant, so that chunks depend on the vocabulary only.
MAX_LOGITS = 2**24
# Logits that a CPU core's cache holds: a softmax over more reads them from memory several times.
CACHED_LOGITS = 2**19


def check_ready(model: PreTrainedModel) -> None:
    """Raises where dropout would make results random."""
    if model.training:
        raise ValueError("The model is in training mode, so dropout may change its losses. Call `model.eval()` first.")


def length_batches(lengths: Sequence[int], max_batch_tokens: int) -> Iterator[list[int]]:
    """Groups examples of similar length, the longest first.

    Yields:
        Indices into `lengths`. A padded batch holds at most `max_batch_tokens` tokens; a longer example is alone.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    while order:
        size = max(1, max_batch_tokens // max(1, lengths[order[0]]))
        yield order[:size]
        order = order[size:]


def pad_right(batch: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Token ids of shape `(B, T)`. Padding is token 0 on the right, where a causal model needs no mask for it."""
    longest = max(len(ids) for ids in batch)
    return torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in batch], device=device)


def last_hidden_states(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """Runs the model without its head; `(B, T)` token ids give `(B, T, D)`."""
    decoder = model.get_decoder()
    if decoder is model:
        raise ValueError(
            f"{type(model).__name__} has no decoder apart from its head, and without one all logits would be in memory. "
            "Load it as a causal language model, or use another reference model."
        )
    return decoder(input_ids=ids, use_cache=False).last_hidden_state


def _scale_logits(model: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """Changes logits as the forward of some models does after the head; keys of their configurations say so."""
    config = model.config.get_text_config().to_dict()
    if config.get("logit_scale") is not None:  # Cohere
        logits = logits * config["logit_scale"]
    if config.get("logits_scaling") is not None:  # Granite, MiniCPM3
        logits = logits / config["logits_scaling"]
    if config.get("lm_head_multiplier") is not None:  # Falcon-H1
        logits = logits * config["lm_head_multiplier"]
    if config.get("final_logit_softcapping") is not None:  # Gemma 2, 3n, 4
        logits = torch.tanh(logits / config["final_logit_softcapping"]) * config["final_logit_softcapping"]
    return logits


def _wide_logits(head: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """The head's output in float32, or in float64 for a float64 model."""
    if type(head) is not nn.Linear or hidden.dtype.itemsize >= 4:
        logits = head(hidden)
        return logits if logits.dtype == torch.float64 else logits.float()
    # bfloat16 keeps 8 bits of a logit, an error of 0.06 at 20. Products of half-precision numbers are exact in float32.
    if hidden.is_cuda and not hidden.requires_grad:
        logits = torch.mm(hidden, head.weight.T, out_dtype=torch.float32)
    else:
        logits = hidden.float() @ head.weight.float().T
    return logits if head.bias is None else logits + head.bias.float()


def token_losses(model: PreTrainedModel, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of each target token, in nats.

    Args:
        hidden (`torch.Tensor` of shape `(N, D)`): The decoder's last hidden states at the positions before the targets.
        targets (`torch.Tensor` of shape `(N,)`): Token ids.

    Returns:
        `torch.Tensor` of shape `(N,)`: In float32, or in float64 for a float64 model, whatever the model's dtype.
    """
    return torch.cat(
        [
            nn.functional.cross_entropy(logits, labels, reduction="none")
            for logits, labels in logits_and_targets(model, hidden, targets)
        ]
    )


def logits_and_targets(
    model: PreTrainedModel, hidden: torch.Tensor, targets: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The logits of all positions, some at a time, with their targets."""
    head = model.get_output_embeddings()
    if head is None:
        raise ValueError(f"{type(model).__name__} has no output embeddings: load it as a causal language model.")
    device = head.weight.device
    hidden, targets = hidden.to(device), targets.to(device)
    size = max(1, MAX_LOGITS // head.weight.shape[0])
    cached = size if hidden.is_cuda else max(1, CACHED_LOGITS // head.weight.shape[0])
    for rows, labels in zip(hidden.split(size), targets.split(size), strict=True):
        logits = _scale_logits(model, _wide_logits(head, rows))
        yield from zip(logits.split(cached), labels.split(cached), strict=True)


@dataclass(frozen=True)
class LossGradients:
    """Losses of tokens, and the gradient of their weighted sum.

    Attributes:
        losses (`torch.Tensor` of shape `(N,)`): As `token_losses` gives them.
        hidden (`torch.Tensor` of shape `(N, D)`): The gradient by the hidden states, in their dtype.
    """

    losses: torch.Tensor
    hidden: torch.Tensor


def loss_gradients(
    model: PreTrainedModel, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> LossGradients:
    """Gradient, by the hidden states, of the sum of weight x negative log-likelihood of each target.

    The backward of a chunk runs before the next chunk's forward. So the logits of one chunk are in memory, and for a
    half-precision model one copy of the head in float32, however many chunks there are.

    Args:
        hidden (`torch.Tensor` of shape `(N, D)`): As for `token_losses`.
        targets (`torch.Tensor` of shape `(N,)`): Token ids.
        weights (`torch.Tensor` of shape `(N,)`): In float32 or wider.

    The model's own parameters must need no gradient, as `load_model` leaves them.
    """
    head = model.get_output_embeddings()
    size = max(1, MAX_LOGITS // head.weight.shape[0])
    losses, gradients = [], []
    for rows, labels, share in zip(hidden.split(size), targets.split(size), weights.split(size), strict=True):
        with torch.enable_grad():
            leaf = rows.detach().requires_grad_()
            logits = _scale_logits(model, _wide_logits(head, leaf))
            part = nn.functional.cross_entropy(logits.to(share.dtype), labels, reduction="none")
            (part * share).sum().backward()
        losses.append(part.detach())
        gradients.append(leaf.grad)
    return LossGradients(torch.cat(losses), torch.cat(gradients))


def response_span(example: EncodedExample) -> slice:
    """The positions that predict the response: each response token is predicted from the one before it."""
    if example.num_prompt_tokens < 1:
        raise ValueError(
            f"Example {example.uid} has no prompt token, so nothing predicts its first response token. "
            "Put a special token or a header before the response."
        )
    if len(example.input_ids) <= example.num_prompt_tokens:
        raise ValueError(
            f"Example {example.uid} has no response token: its prompt fills all {len(example.input_ids)} tokens. "
            "Drop it, or raise the maximum length."
        )
    return slice(example.num_prompt_tokens - 1, len(example.input_ids) - 1)


def response_losses(
    model: PreTrainedModel,
    examples: Sequence[EncodedExample],
    max_batch_tokens: int = 8192,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> list[float]:
    """Mean negative log-likelihood of each example's response, in nats per token, in the order of `examples`.

    A loss is not finite where the model's own output is not. Padding and batch-mates have no part in it, but a matrix
    product may round differently in another batch: by less than 1e-6 nats in float32, as tested, and by about 1e-3 in
    bfloat16.

    Args:
        max_batch_tokens: The largest number of tokens in a padded batch; a longer example is read alone.
        around: Makes a block for each forward of the decoder, which may change what the model does in it.

    Raises:
        ValueError: An example has no prompt or no response token, or the model is in training mode.
    """
    return [part.double().mean().item() for part in response_token_losses(model, examples, max_batch_tokens, around)]


@torch.no_grad()
def response_token_losses(
    model: PreTrainedModel,
    examples: Sequence[EncodedExample],
    max_batch_tokens: int = 8192,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> list[torch.Tensor]:
    """Negative log-likelihood of each token of each example's response, in nats; arguments as for `response_losses`."""
    found: dict[int, torch.Tensor] = {}
    for batch in batched_responses(model, examples, max_batch_tokens, around):
        parts = token_losses(model, batch.hidden, batch.targets).split(batch.lengths)
        found.update(zip(batch.indices, parts, strict=True))
    return [found[index] for index in range(len(examples))]


@dataclass(frozen=True)
class Responses:
    """The responses of a batch of examples, one after the other.

    Attributes:
        indices: Places of the examples.
        lengths: Tokens of each response; their sum is N.
        hidden (`torch.Tensor` of shape `(N, D)`): The last hidden states before each token.
        targets (`torch.Tensor` of shape `(N,)`): The tokens.
    """

    indices: list[int]
    lengths: list[int]
    hidden: torch.Tensor
    targets: torch.Tensor


def batched_responses(
    model: PreTrainedModel,
    examples: Sequence[EncodedExample],
    max_batch_tokens: int,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[Responses]:
    """Runs the decoder on examples of similar length together, and yields their responses batch by batch."""
    check_ready(model)
    spans = [response_span(example) for example in examples]
    for batch in length_batches([len(example.input_ids) for example in examples], max_batch_tokens):
        ids = pad_right([examples[index].input_ids for index in batch], model.device)
        with around():
            hidden = last_hidden_states(model, ids)
        rows = [hidden[row, spans[index]] for row, index in enumerate(batch)]
        targets = [ids[row, 1:][spans[index]] for row, index in enumerate(batch)]
        yield Responses(batch, [len(row) for row in rows], torch.cat(rows), torch.cat(targets))


@torch.no_grad()
def check_head(model: PreTrainedModel, example: EncodedExample) -> bool:
    """Checks `token_losses` against the model's own logits, on the first 64 tokens. It is cheap: call it before long work.

    Returns:
        Whether a comparison was possible: False where the model's own logits are not finite.

    Raises:
        ValueError: The losses differ, because the model's forward changes the logits in an unknown way.
    """
    check_ready(model)
    ids = torch.tensor([example.input_ids[:64]], device=model.device)
    hidden = last_hidden_states(model, ids)
    ours = token_losses(model, hidden[0, :-1], ids[0, 1:]).double().cpu()
    logits = model(input_ids=ids, use_cache=False).logits[0, :-1].double().cpu()
    theirs = nn.functional.cross_entropy(logits, ids[0, 1:].cpu(), reduction="none")
    if not theirs.isfinite().all():
        return False
    difference = (ours - theirs).abs().mean().item()
    # The model's own logits are rounded to its dtype; ours are not.
    tolerance = max(1e-4, torch.finfo(model.dtype).eps * logits.abs().max().item())
    if not difference <= tolerance:
        raise ValueError(
            f"The losses computed from the head of {type(model).__name__} differ from those of its own logits by "
            f"{difference:.2g} nats per token (at most {tolerance:.2g} expected): its forward changes the logits in a "
            "way that circuitseer_trl.modeling.losses does not know. Use another reference model, or add the rule there."
        )
    return True
