"""Small random models of many architectures, whose attention is far from uniform."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

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
