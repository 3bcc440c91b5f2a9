"""`python -m eval.run`: generates, grades and measures one model on some benchmarks."""

import logging
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from circuitseer_trl.artifacts import library_versions, read_json, write_json, write_text
from circuitseer_trl.configs import SYSTEM_PROMPT, Dtype, ReportTo, check_choice, check_count, check_share
from circuitseer_trl.models import check_model_folder, load_tokenizer, model_fingerprint
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.tracking import start_run
from eval.answering import BackendName, answer_all, check_installed, engine_version, join_processes, make_requests
from eval.backends.base import Backend, SamplingSettings
from eval.backends.embedded import TransformersBackend
from eval.backends.replay import ReplayBackend, replay_settings
from eval.benchmarks import benchmark_names, load_benchmark
from eval.grading import Grader
from eval.prompts import PromptFormat
from eval.report import results_table
from eval.results import RunResults, measure_average, measure_benchmark
from eval.store import SampleStore, claim_folder
from eval.tracking import log_results

logger = logging.getLogger(__name__)

Preset = Literal["default", "paper"]
Vote = Literal["classes", "raw"]

# The paper draws 16 answers where a benchmark has few problems, and decodes greedily elsewhere (section 5.1).
SAMPLED_BENCHMARKS = ("aime24", "aime25", "amc23")
PAPER_NUM_SAMPLES = 16
# The penalty and the vote over raw strings are in the evaluation code that the paper builds on, not in its text.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {"repetition_penalty": 1.0, "vote": "classes"},
    "paper": {"repetition_penalty": 1.05, "vote": "raw"},
}
# Keys that mean something to some backends only; with another one they are refused instead of passed over.
BACKENDS_OF_KEY: dict[str, tuple[str, ...]] = {
    "attn_implementation": ("transformers",),
    "dtype": ("transformers", "vllm"),
    "tensor_parallel_size": ("vllm",),
    "base_url": ("openai",),
    "served_model_name": ("openai",),
    "concurrency": ("openai",),
    "request_timeout_seconds": ("openai",),
    "replay_from": ("replay",),
}


@dataclass
class EvaluationConfig:
    """Keys of `python -m eval.run`."""

    model_name_or_path: str = field(metadata={"help": "Hub id or folder of the model."})
    output_dir: str = field(metadata={"help": "Folder for generations/, verdicts/ and results.json."})
    benchmarks: list[str] = field(
        default_factory=lambda: ["paper"], metadata={"help": "Names of benchmarks, or `paper` for its nine."}
    )
    benchmarks_dir: str | None = field(
        default=None, metadata={"help": "Folder with <name>/test.jsonl. By default the Hub's files are used."}
    )
    model_revision: str | None = field(default=None, metadata={"help": "Commit, branch or tag of a Hub model."})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: float32 on CPU, bfloat16 on CUDA."})
    attn_implementation: str | None = field(
        default=None, metadata={"help": "Attention kernel, as transformers names it."}
    )
    backend: BackendName = field(
        default="transformers",
        metadata={
            "help": "What generates: the model in this process, by transformers or vllm; a server (openai); or nothing, "
            "as the answers are there (replay)."
        },
    )
    tensor_parallel_size: int = field(default=1, metadata={"help": "vllm: GPUs that one model is split over."})
    base_url: str | None = field(
        default=None, metadata={"help": "openai: address of the server, such as http://localhost:8000/v1."}
    )
    served_model_name: str | None = field(
        default=None, metadata={"help": "openai: the model's name there. By default `model_name_or_path`."}
    )
    concurrency: int = field(default=32, metadata={"help": "openai: requests under way at a time, for each process."})
    request_timeout_seconds: float = field(
        default=1800.0, metadata={"help": "openai: a request that takes longer is sent again."}
    )
    replay_from: str | None = field(
        default=None,
        metadata={"help": "replay: an earlier run's output_dir, or a JSONL file with id, sample and text."},
    )
    preset: Preset = field(
        default="default",
        metadata={"help": "paper: repetition penalty 1.05 and a vote over raw strings; default: neither."},
    )
    system_prompt: str = field(default=SYSTEM_PROMPT, metadata={"help": "System message; empty leaves it out."})
    limit: int | None = field(default=None, metadata={"help": "First problems of each benchmark only."})
    num_samples: int | None = field(
        default=None,
        metadata={
            "help": "Sampled answers a problem, for Majority@n, beside a greedy one for Pass@1, on every benchmark. By "
            "default the paper's rule: 16 sampled ones for both on AIME24, AIME25 and AMC23, one greedy one elsewhere."
        },
    )
    temperature: float = field(default=0.6, metadata={"help": "Of sampled answers."})
    top_p: float = field(default=0.95, metadata={"help": "Share of probability that sampled tokens come from."})
    max_new_tokens: int = field(default=16384, metadata={"help": "Longest answer; longer ones count as truncated."})
    repetition_penalty: float | None = field(default=None, metadata={"help": "1 is none. By default the preset's."})
    vote: Vote | None = field(
        default=None,
        metadata={"help": "Majority over classes of equal answers, or over raw strings. By default the preset's."},
    )
    seed: int = field(default=42, metadata={"help": "Of sampled answers."})
    batch_size: int = field(
        default=32, metadata={"help": "transformers: answers generated at a time; has no influence on them."}
    )
    num_grading_workers: int | None = field(default=None, metadata={"help": "By default one a core, at most 4."})
    report_to: ReportTo = field(
        default="none", metadata={"help": "wandb: logs to Weights & Biases (WANDB_PROJECT, WANDB_RUN_GROUP)."}
    )

    def __post_init__(self) -> None:
        check_choice("backend", self.backend, BackendName)
        check_choice("preset", self.preset, Preset)
        check_choice("dtype", self.dtype, Dtype)
        check_choice("report_to", self.report_to, ReportTo)
        names = [self.benchmarks] if isinstance(self.benchmarks, str) else self.benchmarks
        self.benchmarks = benchmark_names(names, self.benchmarks_dir)
        if not self.benchmarks:
            raise ValueError("`benchmarks` must name at least one benchmark, got none.")
        self._check_backend()
        for name in ("max_new_tokens", "batch_size", "tensor_parallel_size", "concurrency"):
            check_count(name, getattr(self, name))
        if self.limit is not None:
            check_count("limit", self.limit)
        if self.num_samples is not None:
            check_count("num_samples", self.num_samples, smallest=0)
        check_count("seed", self.seed, smallest=0)
        check_share("top_p", self.top_p)
        if self.repetition_penalty is None:
            self.repetition_penalty = PRESETS[self.preset]["repetition_penalty"]
        if self.vote is None:
            self.vote = PRESETS[self.preset]["vote"]
        check_choice("vote", self.vote, Vote)
        for name in ("temperature", "repetition_penalty", "request_timeout_seconds"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
                hint = " For greedy answers alone set `num_samples: 0`." if name == "temperature" else ""
                raise ValueError(f"`{name}` must be a number above 0, got {value!r}.{hint}")

    def _check_backend(self) -> None:
        defaults = {each.name: each.default for each in fields(self)}
        for name, backends in BACKENDS_OF_KEY.items():
            value = getattr(self, name)
            if value != defaults[name] and self.backend not in backends:
                raise ValueError(
                    f"`{name}` is for `backend: {' or '.join(backends)}`, got {value!r} with `backend: {self.backend}`. "
                    "Leave it out, or change the backend."
                )
        if self.backend == "openai" and not str(self.base_url).startswith(("http://", "https://")):
            raise ValueError(
                "`backend: openai` needs the server's address as `base_url`, such as http://localhost:8000/v1, "
                f"got {self.base_url!r}."
            )
        if self.backend == "replay" and not isinstance(self.replay_from, str):
            raise ValueError(
                "`backend: replay` needs an earlier run's `output_dir` or a JSONL file of answers as `replay_from`, "
                f"got {self.replay_from!r}."
            )

    def plan(self, benchmark: str) -> tuple[bool, int]:
        """Whether a benchmark gets a greedy answer, and how many sampled ones."""
        if self.num_samples is not None:
            return True, self.num_samples
        return (False, PAPER_NUM_SAMPLES) if benchmark in SAMPLED_BENCHMARKS else (True, 0)


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
        from eval.backends.vllm_engine import VllmBackend

        return VllmBackend(
            *common,
            dtype=config.dtype,
            tensor_parallel_size=config.tensor_parallel_size,
            longest_prompt=longest_prompt,
            local_rank=local_rank,
        )
    if config.backend == "openai":
        from eval.backends.openai_server import OpenAIBackend

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
    log_results(folder, results, benchmarks)
    return results


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = parse_recipe(
        EvaluationConfig,
        prog="python -m eval.run",
        description="Measures Pass@1 and Majority@n on mathematics benchmarks.",
    )
    join_processes(config.backend)
    if config.report_to == "wandb":
        start_run("evaluate")
    results = evaluate(config)
    if results is not None:
        print(results_table({Path(config.output_dir).name: results}))


if __name__ == "__main__":
    main()
