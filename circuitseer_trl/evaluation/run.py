"""`python -m eval.run`: generates, grades and measures one model on some benchmarks."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from circuitseer_trl.artifacts import library_versions, read_json, write_json, write_text
from circuitseer_trl.evaluation.answering.backends.base import Backend, SamplingSettings
from circuitseer_trl.evaluation.answering.backends.embedded import TransformersBackend
from circuitseer_trl.evaluation.answering.backends.replay import ReplayBackend, replay_settings
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.evaluation.answering.schedule import (
    answer_all,
    check_installed,
    engine_version,
    join_processes,
    make_requests,
)
from circuitseer_trl.evaluation.answering.store import SampleStore, claim_folder
from circuitseer_trl.evaluation.benchmarks import load_benchmark
from circuitseer_trl.evaluation.errata import with_errata
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.results import RunResults, measure_average, measure_benchmark
from circuitseer_trl.grading.grader import Grader
from circuitseer_trl.modeling.loading import check_model_folder, load_tokenizer, model_fingerprint

logger = logging.getLogger(__name__)


def sample_settings(config: EvaluationConfig, prompts: PromptFormat | None) -> dict[str, Any]:
    """What a sample depends on; batch size, limits, addresses and the choice of benchmarks are not among it."""
    names = ["attn_implementation", "dtype", "max_new_tokens", "model_revision"]
    names += ["repetition_penalty", "seed", "system_prompt", "temperature", "top_p"]
    chosen = {"backend": config.backend, "model_name_or_path": config.model_name_or_path}
    if prompts is None:
        known = replay_settings(str(config.replay_from))
        recorded = ["model_fingerprint", "prompt_template", "replayed", "replayed_backend", "served_model_name"]
        return chosen | {name: known.get(name) for name in names + recorded}
    settings = chosen | {name: getattr(config, name) for name in [*names, "served_model_name"]}
    settings["model_fingerprint"] = model_fingerprint(config.model_name_or_path, config.model_revision)
    return settings | {"prompt_template": prompts.template_name}


def start_backend(
    config: EvaluationConfig, prompts: PromptFormat | None, longest_prompt: int, local_rank: int
) -> Backend:
    """Loads the model, or connects to what has it."""
    if prompts is None:
        return ReplayBackend(str(config.replay_from), config.seed)
    settings = SamplingSettings(
        config.max_new_tokens, config.temperature, config.top_p, config.repetition_penalty or 1.0, config.seed
    )
    common = (config.model_name_or_path, config.model_revision, prompts, settings)
    if config.backend == "vllm":
        from circuitseer_trl.evaluation.answering.backends.vllm_engine import VllmBackend

        return VllmBackend(
            *common,
            dtype=config.dtype,
            tensor_parallel_size=config.tensor_parallel_size,
            longest_prompt=longest_prompt,
            local_rank=local_rank,
        )
    if config.backend == "openai":
        from circuitseer_trl.evaluation.answering.backends.openai_server import OpenAIBackend

        return OpenAIBackend(
            *common,
            base_url=str(config.base_url),
            served_model_name=config.served_model_name or config.model_name_or_path,
            concurrency=config.concurrency,
            timeout_seconds=config.request_timeout_seconds,
        )
    return TransformersBackend(
        *common,
        dtype=config.dtype,
        attn_implementation=config.attn_implementation,
        batch_size=config.batch_size,
    )


def evaluate(config: EvaluationConfig) -> RunResults | None:
    """Generates, grades and measures; returns the results on the main process, and writes them beside the samples."""
    check_installed(config.backend)
    prompts = None
    if config.backend != "replay":
        check_model_folder(config.model_name_or_path)
        tokenizer = load_tokenizer(config.model_name_or_path, config.model_revision)
        prompts = PromptFormat(tokenizer, config.system_prompt)
    benchmarks = {name: load_benchmark(name, config.benchmarks_dir)[: config.limit] for name in config.benchmarks}
    num_errata = dict.fromkeys(benchmarks, 0)
    if config.errata:
        for name, problems in benchmarks.items():
            benchmarks[name], num_errata[name] = with_errata(problems)
    settings = sample_settings(config, prompts)
    state = join_processes(config.backend)
    claim_folder(config.output_dir, settings, write=state.is_main_process)
    if state.is_main_process and prompts is not None and prompts.template_name == "plain":
        logger.warning("%s has no chat template; the plain template is used.", config.model_name_or_path)
    requests = {name: make_requests(problems, prompts, *config.plan(name)) for name, problems in benchmarks.items()}
    timing = answer_all(
        Path(config.output_dir) / "generations",
        requests,
        lambda longest: start_backend(config, prompts, longest, state.local_process_index),
        state,
    )
    if not state.is_main_process:
        return None

    folder = Path(config.output_dir)
    results_path = folder / "results.json"
    # A run that finds everything generated keeps the time that the generation took.
    before = read_json(results_path)["benchmarks"] if results_path.is_file() else {}
    measured = {}
    with Grader(config.num_grading_workers) as grader:
        for name, problems in benchmarks.items():
            samples = SampleStore(folder / "generations", name).read()
            greedy, num_samples = config.plan(name)
            result, verdict_lines = measure_benchmark(
                problems, samples, greedy=greedy, num_samples=num_samples, vote=config.vote or "classes", grader=grader
            )
            write_text(folder / "verdicts" / f"{name}.jsonl", verdict_lines)
            result["num_errata"] = num_errata[name]
            spent, earlier = timing[name], before.get(name, {})
            result["seconds"] = round(spent.seconds or earlier.get("seconds") or 0.0, 3)
            result["tokens_per_second"] = spent.tokens_per_second or earlier.get("tokens_per_second")
            measured[name] = result
    results: RunResults = {
        "model": config.model_name_or_path,
        "settings": asdict(config) | settings,
        "versions": library_versions() | engine_version(config.backend),
        "benchmarks": measured,
        "average": measure_average(measured),
    }
    # The values of single problems are for the average's interval, and can be had again from the verdicts.
    for result in measured.values():
        result.pop("pass_at_1_values")
        result.pop("majority_values", None)
    write_json(results_path, results)
    if config.report_to == "wandb":
        from circuitseer_trl.evaluation.evaluation_panels import log_results  # needs the extra `wandb`

        log_results(folder, results, benchmarks)
    return results
