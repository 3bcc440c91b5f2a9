"""Which model is trained, and in which format? Checks before any weights are loaded."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger
from transformers import AutoConfig, PreTrainedTokenizerBase
from trl import ModelConfig, SFTConfig

from circuitseer_trl.chat_settings import ChatSettings
from circuitseer_trl.modeling.chat_templates import check_template, prompt_ids, set_chat_date
from circuitseer_trl.modeling.encoding import chat_text, has_chat_template
from circuitseer_trl.modeling.loading import check_weights, load_tokenizer
from circuitseer_trl.modeling.model_checks import check_vocabulary, num_embeddings
from circuitseer_trl.modeling.model_folders import model_path
from circuitseer_trl.pool.chat import chat_messages
from circuitseer_trl.training.rope_scaling import change_rope, check_length

logger = get_logger(__name__)


@dataclass(frozen=True)
class Target:
    """A model to train.

    Attributes:
        name: Absolute folder or Hub id, for `from_pretrained`.
        model_config: TRL's keys of the model.
        rope: Arguments of `from_pretrained` that change RoPE; empty without a change.
        num_positions: Number of positions with that change; None where the model has no limit.
        tokenizer: The model's tokenizer, for the trainer.
        ahead: The tokenizer as the trainer will use it (`chat_template_path`, `eos_token`, the date), for counting and checking.
        chat_settings: What the chat template is given.
        end_of_turn: Tokens that the chat template writes after an answer; None for plain text.
    """

    name: str
    model_config: ModelConfig
    rope: dict[str, Any]
    num_positions: int | None
    tokenizer: PreTrainedTokenizerBase
    ahead: PreTrainedTokenizerBase
    chat_settings: ChatSettings
    end_of_turn: list[str] | None

    @property
    def chat(self) -> bool:
        return self.end_of_turn is not None

    def init_kwargs(self, args: SFTConfig) -> dict[str, Any]:
        """Arguments of `from_pretrained`. Those of `model_init_kwargs` win over those of ModelConfig."""
        return {
            "revision": self.model_config.model_revision,
            "dtype": self.model_config.dtype,
            "attn_implementation": self.model_config.attn_implementation,
            **model_init_kwargs(args),
            **self.rope,
        }


def model_init_kwargs(args: SFTConfig) -> dict[str, Any]:
    """Arguments of `from_pretrained` that the config names; it has turned text into a dict."""
    return args.model_init_kwargs if isinstance(args.model_init_kwargs, dict) else {}


def inspect_target(
    args: SFTConfig,
    model_config: ModelConfig,
    *,
    chat_settings: ChatSettings,
    rope_theta: float | None = None,
    max_position_embeddings: int | None = None,
) -> Target:
    """Reads the model's config and tokenizer.

    Args:
        rope_theta: New RoPE base; None keeps the model's.
        max_position_embeddings: New number of positions; None keeps the model's.

    Raises:
        FileNotFoundError: There is no such model folder.
        ValueError: The model, its template or its length does not fit the settings.
    """
    if model_config.model_name_or_path is None:
        raise ValueError("`model_name_or_path` is not set: give the Hub id or the folder of the model to train.")
    name = model_config.model_name_or_path
    check_weights(name, model_config.model_revision, trust_remote_code=args.trust_remote_code)
    given = model_init_kwargs(args)
    config = AutoConfig.from_pretrained(
        model_path(name),
        revision=model_config.model_revision,
        trust_remote_code=args.trust_remote_code,
        **{key: given[key] for key in ("rope_parameters", "max_position_embeddings") if key in given},
    )
    rope = change_rope(config, rope_theta, max_position_embeddings)
    if rope.init_kwargs and model_config.use_peft:
        raise ValueError(
            f"`use_peft` saves an adapter without the model's config, so {rope.init_kwargs} would be lost. Leave out "
            "`rope_theta` and `max_position_embeddings`, or make a model folder with them first."
        )
    check_length(args.max_length, rope.num_positions, "`max_length`")
    tokenizer = load_tokenizer(name, model_config.model_revision, chat_date=None)
    ahead = tokenizer_of_trainer(tokenizer, args)
    set_chat_date(ahead, chat_settings.chat_date)
    end = None
    if has_chat_template(ahead):
        check_template(ahead, chat_settings.system_prompt, "set another with `chat_template_path`")
        end = end_of_turn(ahead, chat_settings.system_prompt)
    used = [] if ahead.pad_token_id is None else [ahead.pad_token_id]
    if end is not None:
        used += prompt_ids(ahead, chat_settings.system_prompt)
    # TRL makes the embeddings of tokens that come with `chat_template_path`.
    check_vocabulary(tokenizer, name, num_embeddings(config), [] if args.chat_template_path else used)
    if end is None and ahead.eos_token is None:
        raise ValueError(
            f"The tokenizer of {name} has neither a chat template nor an end-of-sequence token, so no end of an answer "
            "can be trained. Set `chat_template_path`, or `eos_token`."
        )
    return Target(
        model_path(name), model_config, rope.init_kwargs, rope.num_positions, tokenizer, ahead, chat_settings, end
    )


def tokenizer_of_trainer(tokenizer: PreTrainedTokenizerBase, args: SFTConfig) -> PreTrainedTokenizerBase:
    """A copy of `tokenizer` with the template and tokens that SFTTrainer will give it (TRL's `clone_chat_template`)."""
    ahead = copy.deepcopy(tokenizer)
    if args.eos_token is not None:
        if args.eos_token not in ahead.get_vocab():
            raise ValueError(f"`eos_token` is {args.eos_token!r}, which is no token of {tokenizer.name_or_path}.")
        ahead.eos_token = args.eos_token
    path = args.chat_template_path
    if path is None:
        return ahead
    if path.endswith((".jinja", ".j2")):
        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no chat template {path} (`chat_template_path`).")
        ahead.chat_template = Path(path).read_text(encoding="utf-8")
        return ahead
    source = load_tokenizer(path, chat_date=None)
    if not has_chat_template(source):
        raise ValueError(f"The tokenizer {path} (`chat_template_path`) has no chat template.")
    vocabulary = ahead.get_vocab()
    ahead.add_tokens([token for token in source.added_tokens_decoder.values() if token.content not in vocabulary])
    ahead.chat_template, ahead.eos_token = source.chat_template, source.eos_token
    return ahead


def end_of_turn(tokenizer: PreTrainedTokenizerBase, system_prompt: str) -> list[str]:
    """The tokens that the chat template writes after an answer, and that are trained with it."""
    messages = [*chat_messages("1 + 1 = ?", system_prompt), {"role": "assistant", "content": "Two."}]
    text = chat_text(tokenizer, messages)
    return tokenizer.tokenize(text.rpartition("Two.")[2])


def check_keeps_reasoning(target: Target, completions: Iterable[str]) -> None:
    """Checks that the chat template keeps the reasoning before `</think>`; those of R1's distilled models drop it.

    Such a template is made for conversations, where earlier reasoning is dropped. In training the answer loses its
    reasoning, and the loss does not show it.

    Raises:
        ValueError: The template leaves the reasoning out.
    """
    example = next((text for text in completions if "</think>" in text), None)
    if example is None or not target.chat:
        return
    messages = [*chat_messages("1 + 1 = ?", ""), {"role": "assistant", "content": example}]
    text = chat_text(target.ahead, messages)
    if example.partition("</think>")[0].removeprefix("<think>").strip() not in text:
        raise ValueError(
            f"The chat template of {target.name} leaves out the reasoning before `</think>` in the completions, so the "
            "model would not learn it. Set `chat_template_path` to a template that writes the whole answer."
        )


def warn_of_surprises(args: SFTConfig, target: Target) -> None:
    """Gives one warning for each setting that is allowed but likely unwanted."""
    eos, dtype = target.ahead.eos_token, target.model_config.dtype
    if target.end_of_turn is None:
        # No error, because TRL itself trains a base model on plain prompts and completions.
        logger.warning(
            "The tokenizer has no chat template: training on plain text, as in evaluation (system prompt, Problem:, "
            "Solution:, %s). For a chat format set `chat_template_path` to a .jinja file or a tokenizer.",
            eos,
        )
    elif eos not in target.end_of_turn:
        logger.warning(
            "The chat template ends an answer with %r, and the model learns that end, but generation stops at %r. Set "
            "`eos_token` to the template's end of turn.",
            target.ahead.convert_tokens_to_string(target.end_of_turn),
            eos,
        )
    if dtype in ("bfloat16", "float16") and args.deepspeed_plugin is None and not target.model_config.use_peft:
        logger.warning(
            "`dtype` is %s without DeepSpeed, so there is no float32 copy of the weights and small updates are rounded "
            "away. Set `dtype: float32`, with `bf16: true` to compute in bfloat16.",
            dtype,
        )
