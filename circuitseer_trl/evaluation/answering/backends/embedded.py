"""How does transformers answer? The model runs in this process, and nothing else has to be installed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from circuitseer_trl.answers import Sample
from circuitseer_trl.evaluation.answering.backends.base import Backend, Job, Request


@dataclass
class TransformersBackend(Backend):
    """Generates in batches. An answer does not depend on its batch."""

    runs_in_launch: ClassVar[bool] = True

    dtype: str = "auto"
    attn_implementation: str | None = None

    def open(self, job: Job) -> None:
        from circuitseer_trl.evaluation.answering.backends.generation import end_token_ids
        from circuitseer_trl.evaluation.answering.rope_check import check_rope
        from circuitseer_trl.modeling.loading import load_model

        self.model = load_model(job.model_name, job.revision, self.dtype, attn_implementation=self.attn_implementation)
        check_rope(job.model_name, self.model)
        self.end_ids = end_token_ids(self.model, job.prompt_format.end_of_turn_ids())
        self.job = job

    def generate(self, requests: Sequence[Request], on_tokens: Callable[[int], None]) -> Iterator[list[Sample]]:
        from circuitseer_trl.evaluation.answering.backends.generation import Decoder

        decoder = Decoder(self.model, self.job.prompt_format.tokenizer, self.job.settings, self.end_ids, on_tokens)
        return decoder.generate(requests, self.job.batch_size)
