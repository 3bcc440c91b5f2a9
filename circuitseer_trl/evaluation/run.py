"""How well does a model solve benchmarks? It answers them, the answers are graded, and metrics are computed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from circuitseer_trl.answers import VerdictLine, file_digest, verdict_text
from circuitseer_trl.artifacts import library_versions, sealed, write_json, write_text
from circuitseer_trl.configs import PoolConfig
from circuitseer_trl.evaluation.answering.backends.base import Backend, Job, SamplingSettings
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.evaluation.answering.schedule import Timing, Wanted, answer_all, join_processes, make_requests
from circuitseer_trl.evaluation.answering.store import SampleStore, claim_folder, settings_fingerprint
from circuitseer_trl.evaluation.benchmarks import Problem, content_checksum, load_benchmark
from circuitseer_trl.evaluation.contamination import FOLDER as CUT_PROBLEMS
from circuitseer_trl.evaluation.contamination import measure_overlap, measure_recited, rest_requests
from circuitseer_trl.evaluation.disagreements import Graded, disagreements
from circuitseer_trl.evaluation.errata import with_errata
from circuitseer_trl.evaluation.evaluation_config import SAMPLE_SETTINGS, EvaluationConfig
from circuitseer_trl.evaluation.held_out import measure_held_out
from circuitseer_trl.evaluation.judging import judge_samples
from circuitseer_trl.evaluation.result_files import read_results_alone
from circuitseer_trl.evaluation.results import RunResults, measure_average, measure_benchmark
from circuitseer_trl.extras import require_extra
from circuitseer_trl.grading.grader import Grader, Question
from circuitseer_trl.modeling.chat_templates import check_template
from circuitseer_trl.modeling.loading import load_tokenizer, model_fingerprint
from circuitseer_trl.modeling.model_checks import check_causal, check_vocabulary, num_embeddings
from circuitseer_trl.modeling.model_folders import check_model_folder, model_path
from circuitseer_trl.modeling.reference import Reference

logger = logging.getLogger(__name__)

MAX_TOKENS = 2**20  # of a held-out row; the model's positions are the limit that counts


def evaluate(config: EvaluationConfig) -> RunResults | None:
    """Generates answers, grades them and writes the results.

    Returns:
        The results on the main process; None on the others.
    """
    backend = config.make_backend()
    if backend.extra is not None:
        require_extra(backend.extra, f"`backend: {config.backend}`", backend.extra)
    folder = Path(config.output_dir)
    prompts = prompt_format(config, backend)
    whole = {name: load_benchmark(name, config.benchmarks_dir) for name in config.benchmarks}
    settings = sample_settings(config, backend, prompts)
    join_processes(config.backend)
    held_out = None
    if config.held_out is not None:
        held_out = measure_held_out(PoolConfig(**config.held_out), whole_model(config), folder)
    timings = answer(config, backend, prompts, whole, settings)
    if timings is None:
        return None
    benchmarks = {
        name: (with_errata(problems) if config.errata else problems)[: config.limit] for name, problems in whole.items()
    }
    measured = grade(config, benchmarks)
    add_times(measured, timings, folder / "results.json")
    for name, problems in whole.items():
        measured[name] |= {"benchmark_size": len(problems), "benchmark_checksum": content_checksum(problems)}
        if config.contamination:
            measured[name] |= measure_recited(benchmarks[name], folder, name)
    if config.contamination_pool is not None:
        for name, overlap in measure_overlap(PoolConfig(**config.contamination_pool), benchmarks).items():
            measured[name] |= overlap
    results: RunResults = {
        "model": config.model_name_or_path,
        "settings": asdict(config) | settings,
        "versions": library_versions() | backend.versions(),
        "benchmarks": measured,
        "average": measure_average(measured),
        "held_out": held_out,
    }
    # The average's interval needs the values of single problems. The results leave them out: the verdicts have them.
    for result in measured.values():
        result.pop("pass_at_1_values")
        result.pop("majority_values")
    write_json(folder / "results.json", sealed(results))
    if config.report_to == "wandb":
        from circuitseer_trl.evaluation.evaluation_panels import log_results  # needs the extra `wandb`

        log_results(folder, results, benchmarks)
    return results


def prompt_format(config: EvaluationConfig, backend: Backend) -> PromptFormat | None:
    """The format of the prompts; None if answers are replayed."""
    if not backend.generates:
        return None
    name, revision = config.model_name_or_path, config.model_revision
    check_model_folder(name)
    model_config = AutoConfig.from_pretrained(model_path(name), revision=revision)
    check_causal(name, model_config)
    prompts = PromptFormat(load_tokenizer(name, revision, config.chat_date), config.system_prompt)
    if prompts.template_name == "chat":
        check_template(prompts.tokenizer, config.system_prompt, "save the model with a template that does")
    check_vocabulary(prompts.tokenizer, name, num_embeddings(model_config), prompts.token_ids("1 + 1 = ?"))
    return prompts


def whole_model(config: EvaluationConfig) -> Reference:
    """The model that is evaluated, for rows up to its positions."""
    return Reference(
        config.model_name_or_path,
        config.model_revision,
        config.dtype,
        max_length=MAX_TOKENS,
        system_prompt=config.system_prompt,
        chat_date=config.chat_date,
    )


def sample_settings(config: EvaluationConfig, backend: Backend, prompts: PromptFormat | None) -> dict[str, Any]:
    """The settings that a sample depends on. Batch size, limits, addresses and the list of benchmarks are not among them."""
    chosen = {"backend": config.backend, "model_name_or_path": config.model_name_or_path}
    if prompts is None:
        known = backend.recorded()
        recorded = ["model_fingerprint", "prompt_template", "replayed", "replayed_backend", "served_model_name"]
        return chosen | {name: known.get(name) for name in [*SAMPLE_SETTINGS, *recorded]}
    settings = chosen | {name: getattr(config, name) for name in [*SAMPLE_SETTINGS, "served_model_name"]}
    settings["model_fingerprint"] = model_fingerprint(config.model_name_or_path, config.model_revision)
    return settings | {"prompt_template": prompts.template_name}


def answer(
    config: EvaluationConfig,
    backend: Backend,
    prompts: PromptFormat | None,
    whole: Mapping[str, list[Problem]],
    settings: dict[str, Any],
) -> dict[str, Timing] | None:
    """Generates the missing answers, with all processes.

    Args:
        whole: All problems of each benchmark, also those beyond `limit`.

    Returns:
        The times on the main process; None on the others.
    """
    state = join_processes(config.backend)
    claim_folder(config.output_dir, settings, write=state.is_main_process)
    if state.is_main_process and prompts is not None and prompts.template_name == "plain":
        logger.warning("%s has no chat template; the plain template is used.", config.model_name_or_path)
    folder = Path(config.output_dir)
    files = []
    for name, problems in whole.items():
        known, limited = {problem.id for problem in problems}, problems[: config.limit]
        files.append(Wanted(folder / "generations", name, make_requests(limited, prompts, *config.plan(name)), known))
        if config.contamination and prompts is not None:
            files.append(Wanted(folder / CUT_PROBLEMS, name, rest_requests(limited, prompts), known, ", rest"))
    # Of a rest that may be longer than the answers, the excess counts as a part of its prompt.
    lengths = [
        len(each.prompt_ids) + max(0, (each.max_new_tokens or 0) - config.max_new_tokens)
        for wanted in files
        for each in wanted.requests
    ]
    job = Job(
        config.model_name_or_path,
        config.model_revision,
        prompts,
        SamplingSettings(
            config.max_new_tokens, config.temperature, config.top_p, config.repetition_penalty or 1.0, config.seed
        ),
        batch_size=config.batch_size,
        longest_prompt=max(lengths, default=0),
        local_rank=state.local_process_index,
        made_with=settings_fingerprint(settings),
    )
    timings = answer_all(files, backend, job, state)
    if not state.is_main_process:
        return None
    return {
        wanted.benchmark: timing
        for wanted, timing in zip(files, timings, strict=True)
        if wanted.folder.name != CUT_PROBLEMS
    }


def num_unreadable(name: str, problems: Sequence[Problem], grader: Grader) -> int:
    """How many references the rules cannot read: an answer to them is right only if it has the same text."""
    readable = grader.readable([Question(problem.gold, problem.choices, problem.question) for problem in problems])
    unread = [problem.id for problem, can in zip(problems, readable, strict=True) if problem.gold and not can]
    if unread:
        logger.warning(
            "%s: the grader cannot read the reference of %d of %d problems, for instance %s. Only an answer of the same text "
            "counts as right there.",
            *(name, len(unread), len(problems), unread[:3]),
        )
    return len(unread)


def grade(config: EvaluationConfig, benchmarks: Mapping[str, list[Problem]]) -> dict[str, dict[str, Any]]:
    """Grades all answers of a folder, computes the metrics, and writes the verdicts."""
    folder = Path(config.output_dir)
    measured = {}
    with Grader(config.num_grading_workers) as grader:
        for name, problems in benchmarks.items():
            samples = SampleStore(folder / "generations", name).read()
            greedy, num_samples = config.plan(name)
            vote = config.vote or "classes"
            lines = judge_samples(problems, samples, greedy=greedy, num_samples=num_samples, vote=vote, grader=grader)
            path = folder / "verdicts" / f"{name}.jsonl"
            write_text(path, verdict_text(lines))
            measured[name] = measure_benchmark(lines, samples, vote=vote) | {"verdicts_digest": file_digest(path)}
            measured[name]["num_unreadable_references"] = num_unreadable(name, problems, grader)
            measured[name] |= _second_opinion(config, lines, folder / "disagreements" / f"{name}.jsonl")
    return measured


def _second_opinion(config: EvaluationConfig, lines: list[VerdictLine], path: Path) -> dict[str, int]:
    """Writes the answers of a benchmark that Math-Verify judges otherwise, and counts them."""
    if config.second_grader is None:
        path.unlink(missing_ok=True)  # of verdicts that are written again now
        return {}
    found = disagreements(
        [
            Graded(
                {"id": line.id, "greedy": line.greedy, "sample": line.sample},
                *(line.reference or "", line.extracted, line.verdict, line.reason, bool(line.undecided)),
            )
            for line in lines
        ],
        config.num_grading_workers,
    )
    write_text(path, found.text())
    return {"num_disagreements": len(found.lines), "num_second_silent": found.num_silent}


def add_times(measured: Mapping[str, dict[str, Any]], timings: Mapping[str, Timing], results_path: Path) -> None:
    """Adds the time of the answers. A run that finds all answers there keeps the time of the run that generated them."""
    before: dict[str, Any] = {}
    if results_path.is_file():
        try:
            before = read_results_alone(results_path.parent)["benchmarks"]
        except ValueError as error:
            logger.warning("%s It is written again, without the time of earlier answers.", error)
    for name, result in measured.items():
        spent, earlier = timings[name], before.get(name, {})
        result["seconds"] = round(spent.seconds or earlier.get("seconds") or 0.0, 3)
        result["tokens_per_second"] = spent.tokens_per_second or earlier.get("tokens_per_second")
