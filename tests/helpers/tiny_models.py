"""Tiny models and tokenizers: random, made in a moment, and always the same.

`save_model` writes a folder as a user's would be; `tiny_model` gives a model of any architecture without a tokenizer.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from tests.conftest import PROBLEMS

Style = Literal["chatml", "llama3", "plain"]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As Llama 3's own: a begin-of-text token from the template, and an end of turn with no newline after it.
LLAMA3 = (
    "{{ '<|begin_of_text|>' }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
TEMPLATES: dict[Style, str | None] = {"chatml": CHATML, "llama3": LLAMA3, "plain": None}
# The first one pads, the last one ends a turn.
SPECIAL_TOKENS: dict[Style, list[str]] = {
    "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama3": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "plain": ["<|endoftext|>"],
}


def build_tokenizer(
    style: Style = "chatml", pairs: Iterable[tuple[str, str]] = tuple(PROBLEMS)
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most 400 tokens, trained on problems and their solutions, with a chat template."""
    special = SPECIAL_TOKENS[style]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([text for pair in pairs for text in pair], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=special[-1], pad_token=special[0], chat_template=TEMPLATES[style]
    )


def build_model(architecture: str = "llama", *, seed: int = 0, **options: Any) -> PreTrainedModel:
    """A random model of two layers with four query heads and two key heads, unless `options` of its config say else."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **(sizes | heads | options)))


def save_model(
    folder: Path, tokenizer: PreTrainedTokenizerFast, architecture: str = "llama", *, seed: int = 0, **options: Any
) -> Path:
    """Saves such a model with its tokenizer, whose vocabulary and special tokens are the model's."""
    tokens = {
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    build_model(architecture, seed=seed, **(tokens | options)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


WINDOW = 8
NUM_LAYERS, NUM_HEADS, VOCABULARY = 3, 4, 96

COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": NUM_LAYERS,
    "num_attention_heads": NUM_HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attention_dropout": 0.0,
}
SLIDING = ["sliding_attention", "full_attention", "sliding_attention"]
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}

ARCHITECTURES: dict[str, tuple[str, dict]] = {
    "llama": ("llama", {}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 8}),
    "mistral": ("mistral", {"sliding_window": WINDOW}),
    "gemma3": (
        "gemma3_text",
        {"head_dim": 8, "sliding_window": WINDOW, "layer_types": SLIDING, "query_pre_attn_scalar": 8},
    ),
    "gemma2": (
        "gemma2",
        {
            "head_dim": 8,
            "sliding_window": WINDOW,
            "layer_types": SLIDING,
            "query_pre_attn_scalar": 8,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 2.0,
        },
    ),
    "qwen3_moe": ("qwen3_moe", {"head_dim": 8, **EXPERTS}),
    "phi3": ("phi3", {}),
    "olmo2": ("olmo2", {}),
    "smollm3": ("smollm3", {}),
    "granite": ("granite", {"logits_scaling": 3.0, "residual_multiplier": 0.7, "attention_multiplier": 0.4}),
    "cohere2": ("cohere2", {"sliding_window": WINDOW, "layer_types": SLIDING, "logit_scale": 0.3}),
    "gpt_neox": ("gpt_neox", {}),
    "gpt2": ("gpt2", {"n_inner": 48, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}),
}
EAGER_ONLY = {"gemma2"}  # sdpa refuses a softcap


def tiny_model(
    arch: str, dtype: torch.dtype = torch.float32, seed: int = 0, attn_implementation: str | None = None
) -> PreTrainedModel:
    """A random model of 3 layers x 4 query heads (2 key-value heads where there are any), in evaluation mode.

    transformers' own initialisation gives nearly uniform attention, in which ablation does nothing and every score is
    the same. Here queries and keys are large, and biases are not zero.
    """
    if arch == "gpt_oss":
        raise ValueError("gpt_oss has learned attention sinks; see `sink_model`.")
    model_type, options = ARCHITECTURES[arch]
    kernel = attn_implementation or ("eager" if arch in EAGER_ONLY else "sdpa")
    return _build(model_type, {**COMMON, **options}, dtype, seed, kernel)


def sink_model() -> PreTrainedModel:
    """A GPT-OSS with learned attention sinks, which the package refuses."""
    options = {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": WINDOW}
    return _build("gpt_oss", {**COMMON, **options}, torch.float32, 0, "eager")


def _build(model_type: str, options: dict, dtype: torch.dtype, seed: int, attn_implementation: str) -> PreTrainedModel:
    config = AutoConfig.for_model(model_type, **options)
    # The default kernel for experts has no float64.
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation=attn_implementation, experts_implementation="eager"
    ).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator).to(dtype)
            if "norm" in name or "ln_" in name:
                weight += 0.1 * noise
            elif weight.ndim == 1:
                weight.copy_(0.5 * noise)
            else:
                large = any(part in name for part in ("q_proj", "k_proj", "qkv", "query_key_value", "c_attn"))
                weight.copy_((2 if large else 1) * noise / weight.shape[-1] ** 0.5)
        model.get_input_embeddings().weight.mul_(options["hidden_size"] ** 0.5)
    return model.eval().requires_grad_(False)


def tiny_text(length: int, seed: int = 0) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(3, VOCABULARY, (length,), generator=generator).tolist())
