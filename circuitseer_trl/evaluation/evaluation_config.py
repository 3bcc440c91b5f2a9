"""Which settings does an evaluation have? The keys of `circuitseer evaluate`, and the presets."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from circuitseer_trl.chat_settings import CHAT_DATE, SYSTEM_PROMPT
from circuitseer_trl.checks import check_choice, check_count, check_date, check_positive, check_seed, check_share
from circuitseer_trl.configs import Dtype, Groups, PoolConfig, ReportTo
from circuitseer_trl.evaluation.answering.backends.base import Backend
from circuitseer_trl.evaluation.answering.backends.registry import BACKENDS, backend_class, backend_keys
from circuitseer_trl.evaluation.benchmark_files import benchmark_named, benchmark_names
from circuitseer_trl.grading.second_opinion import SecondGrader
from circuitseer_trl.pool.file_names import check_dataset_file

Preset = Literal["default", "paper"]
Vote = Literal["classes", "raw"]

# The paper has the numbers of answers (section 4.1). The rest is not in its text: the penalty, the vote over raw strings, and the
# defaults of temperature, top-p and tokens below are those of Select2Reason's evaluation code, which is by the same group.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {"repetition_penalty": 1.0, "vote": "classes"},
    "paper": {"repetition_penalty": 1.05, "vote": "raw"},
}
# What a sample depends on, beside the model and the source of the answers.
SAMPLE_SETTINGS = (
    *("attn_implementation", "dtype", "max_new_tokens", "model_revision", "repetition_penalty", "seed"),
    *("system_prompt", "chat_date", "temperature", "top_p"),
)


@dataclass
class EvaluationConfig:
    """The keys of `circuitseer evaluate`."""

    groups: ClassVar[Groups] = {
        "model": ("model_name_or_path", "model_revision", "dtype", "attn_implementation"),
        "benchmarks": (
            *("benchmarks", "benchmarks_dir", "limit", "errata", "held_out"),
            *("contamination", "contamination_pool"),
        ),
        "answers": (
            *("preset", "system_prompt", "chat_date", "num_samples", "temperature", "top_p", "max_new_tokens"),
            *("repetition_penalty", "seed", "vote"),
        ),
        "backend": (
            *("backend", "batch_size", "tensor_parallel_size", "base_url", "served_model_name"),
            *("concurrency", "request_timeout_seconds", "replay_from"),
        ),
        "output": ("output_dir", "num_grading_workers", "second_grader", "report_to"),
    }

    model_name_or_path: str = field(metadata={"help": "Hub id or folder of the model."})
    output_dir: str = field(metadata={"help": "Folder for generations/, verdicts/ and results.json."})
    benchmarks: list[str] = field(
        default_factory=lambda: ["paper"], metadata={"help": "Names of benchmarks, or `paper` for its nine."}
    )
    benchmarks_dir: str | None = field(
        default=None, metadata={"help": "Folder with <name>/test.jsonl. Without it, the files are read from the Hub."}
    )
    model_revision: str | None = field(default=None, metadata={"help": "Commit, branch or tag of a Hub model."})
    dtype: Dtype = field(default="auto", metadata={"help": "auto: float32 on CPU, bfloat16 on CUDA."})
    attn_implementation: str | None = field(
        default=None, metadata={"help": "Attention implementation, by its name in transformers."}
    )
    backend: str = field(
        default="transformers",
        metadata={
            "choices": list(BACKENDS),
            "help": "Source of the answers. transformers, vllm: the model in this process; openai: a server; replay: stored "
            "answers.",
        },
    )
    tensor_parallel_size: int = field(default=1, metadata={"help": "vllm: GPUs that one model is split over."})
    base_url: str | None = field(
        default=None, metadata={"help": "openai: address of the server, such as http://localhost:8000/v1."}
    )
    served_model_name: str | None = field(
        default=None, metadata={"help": "openai: name of the model on the server (`model_name_or_path`)."}
    )
    concurrency: int = field(default=32, metadata={"help": "openai: number of requests at a time, for each process."})
    request_timeout_seconds: float = field(
        default=1800.0, metadata={"help": "openai: time after which a request is sent again."}
    )
    replay_from: str | None = field(
        default=None,
        metadata={"help": "replay: output_dir of an earlier run, or a JSONL file with id, sample and text."},
    )
    preset: Preset = field(
        default="default",
        metadata={"help": "paper: repetition penalty 1.05 and a vote over raw strings; default: neither."},
    )
    system_prompt: str = field(
        default=SYSTEM_PROMPT, metadata={"help": "System message. An empty text leaves the message out."}
    )
    chat_date: str = field(
        default=CHAT_DATE,
        metadata={"help": "Today's date in chat templates that write it, as in the data recipe of the training."},
    )
    limit: int | None = field(
        default=None, metadata={"help": "Number of problems of each benchmark, from its start (all)."}
    )
    errata: bool = field(
        default=False,
        metadata={"help": "Grade with the corrected references of `errata.json`. Results show their number."},
    )
    held_out: dict[str, Any] | None = field(
        default=None,
        metadata={
            "help": "Rows with worked solutions that the model was not trained on, as keys of a data recipe (`dataset_name` and "
            "columns). Their mean response loss and their exact match by teacher forcing are measured beside the answers."
        },
    )
    contamination: bool = field(
        default=False,
        metadata={
            "help": "Also ask the model for the rest of problems whose first six tenths it gets. How much of it the model "
            "writes stands beside the accuracy."
        },
    )
    contamination_pool: dict[str, Any] | None = field(
        default=None,
        metadata={
            "help": "A pool, as keys of a data recipe (`dataset_name` and columns). Results have the share of each benchmark's "
            "problems that share a run of words with one of its problems, as `decontaminate_against` finds them."
        },
    )
    num_samples: int | None = field(
        default=None,
        metadata={
            "help": "Number of sampled answers to each problem, for Majority@n, in addition to a greedy answer for Pass@1. By "
            "default the paper's rule: 16 sampled answers for both on AIME24, AIME25 and AMC23, else one greedy answer."
        },
    )
    temperature: float = field(default=0.6, metadata={"help": "Temperature of sampled answers."})
    top_p: float = field(default=0.95, metadata={"help": "Share of probability that sampled tokens come from."})
    max_new_tokens: int = field(
        default=16384, metadata={"help": "Largest number of tokens of an answer. Longer answers are truncated."}
    )
    repetition_penalty: float | None = field(
        default=None, metadata={"help": "Repetition penalty; 1 is none. By default the preset's."}
    )
    vote: Vote | None = field(
        default=None,
        metadata={"help": "Majority over classes of equal answers, or over raw strings. By default the preset's."},
    )
    seed: int = field(default=42, metadata={"help": "Seed of sampled answers."})
    batch_size: int = field(
        default=32, metadata={"help": "transformers: number of answers at a time. The answers do not depend on it."}
    )
    num_grading_workers: int | None = field(
        default=None, metadata={"help": "Number of grading processes. By default one for each core, at most 4."}
    )
    second_grader: SecondGrader | None = field(
        default=None,
        metadata={
            "help": "Also grade with math_verify, and list the answers where it disagrees in disagreements/. The verdicts stay."
        },
    )
    report_to: ReportTo = field(
        default="none", metadata={"help": "wandb: log to Weights & Biases (WANDB_PROJECT, WANDB_RUN_GROUP)."}
    )

    def __post_init__(self) -> None:
        check_choice("preset", self.preset, Preset)
        check_choice("dtype", self.dtype, Dtype)
        check_choice("report_to", self.report_to, ReportTo)
        names = [self.benchmarks] if isinstance(self.benchmarks, str) else self.benchmarks
        if not isinstance(names, list):
            raise ValueError(f"`benchmarks` must be a list of names, got {names!r}.")
        self.benchmarks = benchmark_names(names, self.benchmarks_dir)
        if not self.benchmarks:
            raise ValueError("`benchmarks` must name at least one benchmark, got none.")
        self._check_backend()
        self._check_data("held_out", taken=("system_prompt", "chat_date"))
        self._check_data("contamination_pool")
        if self.held_out is not None and self.backend == "replay":
            raise ValueError("`held_out` needs the model, and `backend: replay` has none. Leave one of the two out.")
        if self.contamination and self.backend == "replay":
            raise ValueError(
                "`contamination` needs the model, and `backend: replay` has none. Leave one of the two out."
            )
        for name in ("max_new_tokens", "batch_size"):
            check_count(name, getattr(self, name))
        if self.limit is not None:
            check_count("limit", self.limit)
        if self.num_grading_workers is not None:
            check_count("num_grading_workers", self.num_grading_workers)
        if self.num_samples is not None:
            check_count("num_samples", self.num_samples, smallest=0)
        check_seed("seed", self.seed)
        self.chat_date = check_date("chat_date", self.chat_date)
        check_share("top_p", self.top_p)
        if self.repetition_penalty is None:
            self.repetition_penalty = PRESETS[self.preset]["repetition_penalty"]
        if self.vote is None:
            self.vote = PRESETS[self.preset]["vote"]
        check_choice("vote", self.vote, Vote)
        if self.second_grader is not None:
            check_choice("second_grader", self.second_grader, SecondGrader)
        if self.temperature == 0:
            raise ValueError("`temperature` must be above 0. For only greedy answers, set `num_samples: 0`.")
        check_positive("temperature", self.temperature)
        check_positive("repetition_penalty", self.repetition_penalty)
        if self.contamination and self.repetition_penalty != 1:
            raise ValueError(
                f"`contamination` needs `repetition_penalty: 1`, got {self.repetition_penalty}: a penalty keeps a model from "
                "writing what it knows. Measure it in another `output_dir`, without the penalty or `preset: paper`."
            )

    def _check_data(self, key: str, taken: tuple[str, ...] = ()) -> None:
        """Raises if the value of a key is no data recipe."""
        value = getattr(self, key)
        if value is None:
            return
        if not isinstance(value, dict) or "dataset_name" not in value:
            raise ValueError(f"`{key}` must be a mapping with `dataset_name`, got {value!r}.")
        known = [each.name for each in fields(PoolConfig) if each.name not in taken]
        if unknown := [name for name in value if name not in known]:
            raise ValueError(f"`{key}` has no key `{unknown[0]}`; its keys are {', '.join(known)}.")
        PoolConfig(**value)

    def check_files(self) -> None:
        """Raises if a file of rows is not there. Call it before any work."""
        for rows in (self.held_out, self.contamination_pool):
            if rows is not None:
                check_dataset_file(rows["dataset_name"])

    def _check_backend(self) -> None:
        """Raises if a key is set that only other backends use."""
        own = backend_keys(self.backend)
        defaults = {each.name: each.default for each in fields(self)}
        owners: dict[str, list[str]] = {}
        for backend in BACKENDS:
            for name in backend_keys(backend):
                owners.setdefault(name, []).append(backend)
        for name, backends in owners.items():
            value = getattr(self, name)
            if value != defaults[name] and name not in own:
                raise ValueError(
                    f"`{name}` is for `backend: {' or '.join(backends)}`, got {value!r} with `backend: {self.backend}`. "
                    "Leave it out, or change the backend."
                )
        self.make_backend()

    def make_backend(self) -> Backend:
        """Makes the backend with its keys, without opening it."""
        return backend_class(self.backend)(**{name: getattr(self, name) for name in backend_keys(self.backend)})

    def plan(self, benchmark: str) -> tuple[bool, int]:
        """Returns whether a benchmark gets a greedy answer, and its number of sampled answers."""
        if self.num_samples is not None:
            return True, self.num_samples
        samples = benchmark_named(benchmark).samples
        return (False, samples) if samples else (True, 0)
