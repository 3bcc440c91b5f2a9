"""vLLM in this process: one engine on the GPUs of its rank, with all answers to a problem in one request.

Written for vLLM 0.30 to 0.33: `LLM.enqueue`, and `step` of its engine, so that answers reach the disk as they finish.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import AutoConfig

from circuitseer_trl.models import model_path, resolve_dtype
from eval.backends.base import (
    Draws,
    Request,
    SamplingSettings,
    configured_end_ids,
    context_length,
    cut_to_context,
    draw_seed,
    draws_of_problems,
    load_generation_config,
    sample_of_ids,
)
from eval.prompts import PromptFormat
from eval.rope import check_rope_config
from eval.store import Sample

# An engine's processes would take these for their own: torch then joins the launcher's store, and waits there for ever.
_LAUNCH_VARIABLES = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LAUNCH_PREFIXES = ("TORCHELASTIC_", "GROUP_", "ROLE_")


def devices_of_rank(visible: Sequence[str], local_rank: int, tensor_parallel_size: int) -> list[str]:
    """The GPUs of one process: as many as its engine splits the model over."""
    start = local_rank * tensor_parallel_size
    if start + tensor_parallel_size > len(visible):
        raise ValueError(
            f"Process {local_rank} needs the GPUs {start} to {start + tensor_parallel_size - 1}, but {len(visible)} are "
            "visible. The number of processes times `tensor_parallel_size` must not be more than the GPUs of a machine."
        )
    return list(visible[start : start + tensor_parallel_size])


@contextmanager
def engine_environment(local_rank: int, tensor_parallel_size: int) -> Iterator[None]:
    """What an engine's processes should see of the environment: their GPUs, and nothing of a launch."""
    before = dict(os.environ)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices_of_rank(devices, local_rank, tensor_parallel_size))
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"  # a forked process keeps this one's list of GPUs
    for name in list(os.environ):
        if name in _LAUNCH_VARIABLES or name.startswith(_LAUNCH_PREFIXES):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class VllmBackend:
    """Generates with an engine of its own.

    Args:
        longest_prompt (`int`): Tokens of the longest prompt to come; the engine reserves memory for it and an answer.
        local_rank (`int`): Number of this process on its machine.
    """

    def __init__(
        self,
        model_name: str,
        revision: str | None,
        prompts: PromptFormat,
        settings: SamplingSettings,
        *,
        dtype: str,
        tensor_parallel_size: int,
        longest_prompt: int,
        local_rank: int,
    ) -> None:
        config = AutoConfig.from_pretrained(model_path(model_name), revision=revision)
        check_rope_config(model_name, config)
        self.context = context_length(config)
        ends = configured_end_ids(load_generation_config(model_name, revision)) | prompts.end_of_turn_ids()
        self.end_ids, self.tokenizer, self.settings = sorted(ends), prompts.tokenizer, settings
        wanted = longest_prompt + settings.max_new_tokens
        with engine_environment(local_rank, tensor_parallel_size):
            from vllm import LLM

            self.engine = LLM(
                model=model_path(model_name),
                revision=revision,
                tokenizer_revision=revision,
                dtype=str(resolve_dtype(dtype)).removeprefix("torch."),
                tensor_parallel_size=tensor_parallel_size,
                max_model_len=wanted if self.context is None else min(wanted, self.context),
                enable_prefix_caching=True,
                seed=settings.seed,
            )

    def generate(self, requests: Sequence[Request], on_tokens: Callable[[int], None]) -> Iterator[list[Sample]]:
        from vllm import TokensPrompt

        limited, too_long = cut_to_context(requests, self.settings, self.context)
        if too_long:
            yield too_long
        problems = draws_of_problems(limited)
        numbers = self.engine.enqueue(
            [TokensPrompt(prompt_token_ids=list(draws.requests[0].prompt_ids)) for draws in problems],
            [self._parameters(draws) for draws in problems],
            use_tqdm=False,
        )
        # vLLM adds random letters to a request's number, and leaves them out again of its output.
        waiting = {number.split("-")[0]: draws for number, draws in zip(numbers, problems, strict=True)}
        while self.engine.llm_engine.has_unfinished_requests():
            for output in self.engine.llm_engine.step():
                if output.finished:
                    on_tokens(sum(len(answer.token_ids) for answer in output.outputs))
                    yield self._samples(waiting.pop(output.request_id), output.outputs)
        if waiting:
            raise RuntimeError(f"vLLM ended without the answers of {len(waiting)} requests. Run the command again.")

    def _parameters(self, draws: Draws):  # type: ignore[no-untyped-def]  # vLLM is not always installed
        from vllm import SamplingParams

        first = draws.requests[0]
        return SamplingParams(
            n=len(draws.requests),
            temperature=0.0 if first.greedy else self.settings.temperature,
            top_p=1.0 if first.greedy else self.settings.top_p,
            repetition_penalty=self.settings.repetition_penalty,
            seed=draw_seed(self.settings, first),  # vLLM counts up from it for the further answers
            max_tokens=draws.max_tokens,
            stop_token_ids=self.end_ids,
            detokenize=False,
        )

    def _samples(self, draws: Draws, answers) -> list[Sample]:  # type: ignore[no-untyped-def]
        samples = []
        for request, answer in zip(draws.requests, sorted(answers, key=lambda each: each.index), strict=True):
            if answer.finish_reason not in ("stop", "length"):
                raise RuntimeError(
                    f"vLLM broke off an answer to {request.id} ({answer.finish_reason}). Run the command again."
                )
            reason = answer.finish_reason
            samples.append(sample_of_ids(request, self.tokenizer, answer.token_ids, reason, self.settings.seed))
        return samples
