"""The model in this process, run by transformers: what needs nothing else, and what tests run."""

from collections.abc import Callable, Iterator, Sequence

from transformers import PreTrainedModel

from circuitseer_trl.answers import Sample
from circuitseer_trl.evaluation.answering.backends.base import Request, SamplingSettings
from circuitseer_trl.evaluation.answering.backends.generation import end_token_ids, generate
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.evaluation.answering.rope_check import check_rope
from circuitseer_trl.modeling.loading import load_model


class TransformersBackend:
    """Generates in batches; a sample does not depend on them."""

    def __init__(
        self,
        model_name: str,
        revision: str | None,
        prompts: PromptFormat,
        settings: SamplingSettings,
        *,
        dtype: str,
        attn_implementation: str | None,
        batch_size: int,
    ) -> None:
        self.model: PreTrainedModel = load_model(model_name, revision, dtype, attn_implementation=attn_implementation)
        check_rope(model_name, self.model)
        self.end_ids = end_token_ids(self.model, prompts.end_of_turn_ids())
        self.tokenizer, self.settings, self.batch_size = prompts.tokenizer, settings, batch_size

    def generate(self, requests: Sequence[Request], on_tokens: Callable[[int], None]) -> Iterator[list[Sample]]:
        return generate(
            self.model,
            self.tokenizer,
            requests,
            self.settings,
            end_ids=self.end_ids,
            batch_size=self.batch_size,
            on_step=on_tokens,
        )
