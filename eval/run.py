"""`python -m eval.run`: generates, grades and measures one model on some benchmarks."""

import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState
from tqdm import tqdm

from circuitseer_trl.artifacts import fingerprint, library_versions, read_json, write_json, write_text
from circuitseer_trl.configs import SYSTEM_PROMPT, Dtype, ReportTo, check_choice, check_count, check_share
from circuitseer_trl.models import check_model_folder, load_model, load_tokenizer, model_fingerprint
from circuitseer_trl.recipe import parse_recipe
from circuitseer_trl.sharding import process_state
from circuitseer_trl.tracking import start_run
from eval.benchmarks import Problem, benchmark_names, load_benchmark
from eval.generation import Request, SamplingSettings, end_token_ids, generate
from eval.grading import Grader
from eval.prompts import PromptFormat
from eval.report import results_table
from eval.results import RunResults, measure_average, measure_benchmark
from eval.rope import check_rope
from eval.store import SampleStore, claim_folder
from eval.tracking import log_results

logger = logging.getLogger(__name__)

Backend = Literal["transformers"]
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
    backend: Backend = field(default="transformers", metadata={"help": "What generates."})
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
    batch_size: int = field(default=32, metadata={"help": "Answers generated at a time; has no influence on them."})
    num_grading_workers: int | None = field(default=None, metadata={"help": "By default one a core, at most 4."})
    report_to: ReportTo = field(
        default="none", metadata={"help": "wandb: logs to Weights & Biases (WANDB_PROJECT, WANDB_RUN_GROUP)."}
    )

    def __post_init__(self) -> None:
        check_choice("backend", self.backend, Backend)
        check_choice("preset", self.preset, Preset)
        check_choice("dtype", self.dtype, Dtype)
        check_choice("report_to", self.report_to, ReportTo)
        names = [self.benchmarks] if isinstance(self.benchmarks, str) else self.benchmarks
        self.benchmarks = benchmark_names(names, self.benchmarks_dir)
        if not self.benchmarks:
            raise ValueError("`benchmarks` must name at least one benchmark, got none.")
        for name in ("max_new_tokens", "batch_size"):
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
        for name in ("temperature", "repetition_penalty"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value > 0:
                hint = " For greedy answers alone set `num_samples: 0`." if name == "temperature" else ""
                raise ValueError(f"`{name}` must be a number above 0, got {value!r}.{hint}")

    def plan(self, benchmark: str) -> tuple[bool, int]:
        """Whether a benchmark gets a greedy answer, and how many sampled ones."""
        if self.num_samples is not None:
            return True, self.num_samples
        return (False, PAPER_NUM_SAMPLES) if benchmark in SAMPLED_BENCHMARKS else (True, 0)


def sample_settings(config: EvaluationConfig, template: str) -> dict[str, Any]:
    """What a sample depends on; batch size, limits and the choice of benchmarks are not among it."""
    names = ["attn_implementation", "backend", "dtype", "max_new_tokens", "model_name_or_path", "model_revision"]
    names += ["repetition_penalty", "seed", "system_prompt", "temperature", "top_p"]
    settings = {name: getattr(config, name) for name in names}
    settings["model_fingerprint"] = model_fingerprint(config.model_name_or_path, config.model_revision)
    return settings | {"prompt_template": template}


def generate_all(
    config: EvaluationConfig, benchmarks: dict[str, list[Problem]], prompts: PromptFormat, state: PartialState
) -> dict[str, dict[str, float]]:
    """Generates what is missing of every benchmark, this rank its share of the problems; returns seconds and tokens."""
    settings = SamplingSettings(
        config.max_new_tokens, config.temperature, config.top_p, config.repetition_penalty or 1.0, config.seed
    )
    model, ends = None, set[int]()
    timing: dict[str, dict[str, float]] = {}
    for name, problems in benchmarks.items():
        store = SampleStore(Path(config.output_dir) / "generations", name, state.process_index)
        requests = _requests(config, problems, prompts)
        done = store.read()
        stale = [
            r.id
            for r in requests
            if (r.id, r.greedy, r.sample) in done and done[r.id, r.greedy, r.sample].prompt != r.prompt
        ]
        if stale:
            raise ValueError(
                f"{store.path} answers other prompts than now, for instance of {stale[0]}: the benchmark's file or "
                "the chat template has changed. Choose another `output_dir`."
            )
        missing = [request for request in requests if (request.id, request.greedy, request.sample) not in done]
        state.wait_for_everyone()  # all ranks have read before any writes
        # Whole problems go to one rank, so that a problem's draws share the pass over its prompt.
        ids = list(dict.fromkeys(request.id for request in sorted(missing, key=lambda r: -len(r.prompt_ids))))
        mine = set(ids[state.process_index :: state.num_processes])
        missing = [request for request in missing if request.id in mine]
        if missing and model is None:
            model = load_model(
                config.model_name_or_path,
                config.model_revision,
                config.dtype,
                attn_implementation=config.attn_implementation,
            )
            check_rope(config.model_name_or_path, model)
            ends = end_token_ids(model, prompts.end_of_turn_ids())
        store.drop_torn_line()
        start, num_tokens = time.perf_counter(), 0
        with tqdm(
            total=len(missing), desc=name, unit="answer", disable=not state.is_main_process or not missing
        ) as bar:

            def count(tokens: int) -> None:
                nonlocal num_tokens
                num_tokens += tokens

            if missing:
                assert model is not None
                answers = generate(
                    model,
                    prompts.tokenizer,
                    missing,
                    settings,
                    end_ids=ends,
                    batch_size=config.batch_size,
                    on_step=count,
                )
                for samples in answers:
                    store.append(samples)
                    bar.set_postfix_str(f"{num_tokens / (time.perf_counter() - start):.0f} tokens/s", refresh=False)
                    bar.update(len(samples))
        state.wait_for_everyone()
        if state.is_main_process:
            store.merge([problem.id for problem in problems])
        timing[name] = {"seconds": time.perf_counter() - start if missing else 0.0, "tokens": float(num_tokens)}
    return timing


def _requests(config: EvaluationConfig, problems: list[Problem], prompts: PromptFormat) -> list[Request]:
    requests = []
    for problem in problems:
        ids = tuple(prompts.token_ids(problem.question))
        greedy, num_samples = config.plan(problem.benchmark)
        draws = [(True, 0)] * greedy + [(False, number) for number in range(num_samples)]
        requests += [Request(problem.id, ids, fingerprint(ids), is_greedy, number) for is_greedy, number in draws]
    return requests


def evaluate(config: EvaluationConfig) -> RunResults | None:
    """Generates, grades and measures; returns the results on the main process, and writes them beside the samples."""
    check_model_folder(config.model_name_or_path)
    benchmarks = {name: load_benchmark(name, config.benchmarks_dir)[: config.limit] for name in config.benchmarks}
    prompts = PromptFormat(load_tokenizer(config.model_name_or_path, config.model_revision), config.system_prompt)
    settings = sample_settings(config, prompts.template_name)
    state = process_state()
    claim_folder(config.output_dir, settings, write=state.is_main_process)
    if state.is_main_process and prompts.template_name == "plain":
        logger.warning("%s has no chat template; the plain template is used.", config.model_name_or_path)
    timing = generate_all(config, benchmarks, prompts, state)
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
            seconds, tokens = timing[name]["seconds"], timing[name]["tokens"]
            earlier = before.get(name, {})
            result["seconds"] = round(seconds or earlier.get("seconds") or 0.0, 3)
            result["tokens_per_second"] = round(tokens / seconds, 1) if seconds else earlier.get("tokens_per_second")
            measured[name] = result
    results: RunResults = {
        "model": config.model_name_or_path,
        "settings": asdict(config) | settings,
        "versions": library_versions(),
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
    if config.report_to == "wandb":
        start_run("evaluate")
    results = evaluate(config)
    if results is not None:
        print(results_table({Path(config.output_dir).name: results}))


if __name__ == "__main__":
    main()
