"""Which keys do the pool and the selection steps have? With their defaults, which are the paper's, and their checks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from circuitseer_trl.chat_settings import CHAT_DATE, SYSTEM_PROMPT, ChatSettings
from circuitseer_trl.checks import (
    check_choice,
    check_count,
    check_date,
    check_flag,
    check_positive,
    check_seed,
    check_share,
    is_number,
)
from circuitseer_trl.redaction import check_address

Dtype = Literal["auto", "float32", "float64", "bfloat16", "float16"]
TextFormat = Literal["plain", "chat"]
ProbeStrategy = Literal["max_loss", "random"]
HeadDetection = Literal["exact", "race"]
HeadCriterion = Literal["loss", "contrast", "retrieval"]
HeadAblation = Literal["uniform", "zero", "mean"]
PartBy = Literal["loss", "difficulty"]
LossRise = Literal["difference", "ratio"]
EntropyOf = Literal["top_sum", "top_mean", "sum"]
HeadSetName = Literal["detected", "all", "random"]
ScoreOn = Literal["problem", "solution"]
Statistic = Literal["variance", "entropy"]
LengthControl = Literal["none", "bin", "residual"]
DifficultySource = Literal["judge", "column", "verdicts"]
Sampling = Literal["soft", "soft_inverse", "top_k", "bottom_k", "stratified", "round_robin", "prune", "reweight"]
PruneStrategy = Literal["correct", "incorrect", "combined"]
ReportTo = Literal["none", "wandb"]
ExecutorName = Literal["ranks", "ray", "slurm"]
Groups = Mapping[str, tuple[str, ...]]  # titles in the help, and the keys under each title

# Methods that are another method with heads of another criterion.
METHOD_CRITERIA: Mapping[str, HeadCriterion] = {"circuitseer_contrast": "contrast", "attention_influence": "retrieval"}


TEXT_SOURCE_KEYS = ("dataset_name", "dataset_config", "dataset_split", "dataset_revision", "column")


def text_source(item: Any) -> dict[str, Any]:
    """Converts an item of `decontaminate_against` to a mapping. Raises if it is neither a name nor a mapping with a name."""
    if isinstance(item, str) and item.lstrip().startswith("{"):
        try:
            item = json.loads(item)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"An item of `decontaminate_against` starts with a brace but is not JSON: {item}: {error}."
            ) from None
    source = {"dataset_name": item} if isinstance(item, str) and item else item
    if not isinstance(source, dict) or not source.get("dataset_name"):
        raise ValueError(
            f"Items of `decontaminate_against` must be dataset names, files, or mappings with a `dataset_name`, got {item!r}."
        )
    if unknown := sorted(set(source) - set(TEXT_SOURCE_KEYS)):
        raise ValueError(
            f"An item of `decontaminate_against` has no key {unknown[0]!r}; keys are {', '.join(TEXT_SOURCE_KEYS)}."
        )
    for key, value in source.items():
        if value is not None and not isinstance(value, str):
            raise ValueError(f"`{key}` of an item of `decontaminate_against` must be text, got {value!r}.")
    return source


@dataclass
class PoolConfig:
    """The keys of a data recipe: the source of the pool, its columns and its cleaning. Selection and training read it."""

    groups: ClassVar[Groups] = {
        "pool": ("dataset_name", "dataset_config", "dataset_split", "dataset_revision"),
        "columns of the pool": (
            *("prompt_column", "completion_column", "correct_column"),
            *("id_column", "category_column", "difficulty_column"),
        ),
        "chat": ("system_prompt", "chat_date"),
        "cleaning of the pool": ("dedup_similarity", "decontaminate_against", "ngram_size"),
    }

    dataset_name: str = field(
        metadata={"help": "Hub id, or a local file or folder (JSONL, JSON, Parquet, CSV, or made by `save_to_disk`)."}
    )
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration (subset) of a Hub dataset."})
    dataset_split: str = field(default="train", metadata={"help": "Split to read."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Commit, branch or tag of a Hub dataset."})
    prompt_column: str = field(default="problem", metadata={"help": "Column of the problem: text, or chat messages."})
    completion_column: str = field(
        default="solution",
        metadata={"help": "Column of the worked solution: text, chat messages, or a list of traces."},
    )
    correct_column: str = field(
        default="correctness_math_verify",
        metadata={"help": "For a list of traces: column of a list of booleans. The first trace marked true is used."},
    )
    id_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of the rows' ids: text or whole numbers. Without it, the id is a hash of the row's content."
        },
    )
    category_column: str | None = field(default=None, metadata={"help": "Column of the problem's category or source."})
    difficulty_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of difficulty, such as a level. Cards then show its rank correlation with the scores."
        },
    )
    system_prompt: str = field(
        default=SYSTEM_PROMPT,
        metadata={"help": "System message of the chat template, for all steps. An empty text leaves the message out."},
    )
    chat_date: str = field(
        default=CHAT_DATE,
        metadata={"help": "Today's date in chat templates that write it (Llama 3.2, SmolLM3, Granite), for all steps."},
    )
    dedup_similarity: float | None = field(
        default=None,
        metadata={
            "help": "Drop a row if its problem has at least this Jaccard similarity, over word 5-grams, to an earlier one."
        },
    )
    decontaminate_against: list[str] | None = field(
        default=None,
        metadata={
            "help": "Drop rows whose problem overlaps one of these datasets: files, Hub ids, or mappings (JSON on the command "
            "line) of dataset_name, dataset_config, dataset_split (test), dataset_revision and column."
        },
    )
    ngram_size: int = field(
        default=13, metadata={"help": "Number of consecutive words in common that count as an overlap."}
    )

    def __post_init__(self) -> None:
        if not self.dataset_name:
            raise ValueError("`dataset_name` is empty. Set it to a Hub id, or to a local file or folder.")
        if self.dedup_similarity is not None:
            check_share("dedup_similarity", self.dedup_similarity)
        check_count("ngram_size", self.ngram_size)
        self.chat_date = check_date("chat_date", self.chat_date)
        if isinstance(self.decontaminate_against, str | dict):
            self.decontaminate_against = [self.decontaminate_against]
        for source in [{"dataset_name": self.dataset_name}, *self.text_sources()]:
            advice = "Download the file and give its path, or use a Hub id with the environment variable HF_TOKEN."
            check_address("dataset_name", str(source["dataset_name"]), advice)

    @property
    def chat(self) -> ChatSettings:
        return ChatSettings(self.system_prompt, self.chat_date)

    def text_sources(self) -> list[dict[str, Any]]:
        """The checked datasets of `decontaminate_against`, as mappings."""
        return [text_source(item) for item in self.decontaminate_against or []]


@dataclass
class SelectionConfig:
    """All keys of the three selection steps (find heads, score, select). One recipe serves all three."""

    groups: ClassVar[Groups] = {
        "output": ("output_dir", "report_to"),
        "method": ("method", "method_args", "scorer", "sampler"),
        "reference model": (
            *("reference_model", "reference_revision", "reference_dtype", "reference_max_length", "max_batch_tokens"),
        ),
        "probe and heads": (
            *("probe_strategy", "probe_size", "probe_candidates", "probe_format"),
            *("criterion", "ablation", "part_by", "contrast_floor"),
            *("head_ratio", "head_detection", "head_set", "heads_file", "head_seed"),
        ),
        "score": ("score_format", "score_on", "statistic", "sink_tokens", "length_control"),
        "noise filter": ("noise_filter_ratio", "noise_filter_model"),
        "budget and draw": (
            *("sampling", "budget_ratio", "budget_size", "budget_tokens", "selection_seed", "shared_noise"),
        ),
    }

    output_dir: str = field(metadata={"help": "Folder for the files of the selection steps."})
    method: str = field(
        default="",
        metadata={
            "help": "Selection method, such as random or length (circuitseer by default). docs/methods.md lists all."
        },
    )
    scorer: str | None = field(
        default=None,
        metadata={"help": "Your own scorer in place of a method, such as my_package.my_module:MyScorer."},
    )
    method_args: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "Fields of the method's scorer, combination and sampler, as a mapping or as JSON."},
    )
    reference_model: str | None = field(
        default=None, metadata={"help": "Hub id or folder of the model that finds heads and scores."}
    )
    reference_revision: str | None = field(
        default=None, metadata={"help": "Commit, branch or tag of the reference model."}
    )
    reference_dtype: Dtype = field(
        default="auto",
        metadata={"help": "auto: float32 on CPU; on CUDA bfloat16 for losses and heads, float32 for scores."},
    )
    reference_max_length: int = field(
        default=4096,
        metadata={
            "help": "Sequences with more tokens, or more than the model has positions, are truncated and marked."
        },
    )
    probe_strategy: ProbeStrategy | None = field(
        default=None,
        metadata={
            "help": "Examples that heads are judged on. max_loss: the hardest ones (by default); random: a random draw (by "
            "default for criterion contrast)."
        },
    )
    probe_size: int = field(
        default=300, metadata={"help": "Number of probe examples. A number above the pool's size takes the whole pool."}
    )
    probe_candidates: int | None = field(
        default=None,
        metadata={
            "help": "Choose the max_loss probe from this number of random rows, by `head_seed` (the whole pool)."
        },
    )
    probe_format: TextFormat | None = field(
        default=None, metadata={"help": "Format of probe examples (chat if the tokenizer has a template, else plain)."}
    )
    criterion: HeadCriterion | None = field(
        default=None,
        metadata={
            "help": "How heads are compared. loss: the rise of the loss without the head (by default); contrast: its rise on the "
            "hardest third of the probe over that on the easiest (by default for method circuitseer_contrast); retrieval: the "
            "share of an answer that the head copies, on `probe_size` texts of keys and values, not of the pool (by default for "
            "method attention_influence)."
        },
    )
    ablation: HeadAblation = field(
        default="uniform",
        metadata={
            "help": "What takes the place of a head while heads are found. uniform: its attention is undifferentiated; zero: its "
            "output is 0; mean: its output is its mean over all tokens of the probe."
        },
    )
    part_by: PartBy = field(
        default="loss",
        metadata={
            "help": "What parts the probe for contrast: loss, its base loss; difficulty, the pool's difficulty_column."
        },
    )
    contrast_floor: float = field(
        default=0.01,
        metadata={"help": "Smallest rise on the easiest third that counts for contrast, in nats per token."},
    )
    head_ratio: float = field(default=0.05, metadata={"help": "Share of the query heads to select, rounded half up."})
    head_detection: HeadDetection = field(
        default="exact",
        metadata={
            "help": "exact: every head on the whole probe; race: only heads that may still be among the best, with a stated "
            "error (it saves little below 300 examples)."
        },
    )
    head_set: HeadSetName = field(
        default="detected", metadata={"help": "Heads to score with. random: as many heads as detected has."}
    )
    heads_file: str | None = field(
        default=None, metadata={"help": "`heads.json` of an earlier run, or a list of retrieval heads, to score with."}
    )
    head_seed: int = field(default=0, metadata={"help": "Seed of random heads, probes and probe candidates."})
    score_format: TextFormat = field(
        default="plain", metadata={"help": "plain: the text alone, as in the paper; chat: in the chat template."}
    )
    score_on: ScoreOn = field(default="problem", metadata={"help": "Text to score: the problem, or the solution."})
    statistic: Statistic = field(
        default="variance", metadata={"help": "Statistic of the attention that the tokens receive."}
    )
    sink_tokens: int = field(
        default=0, metadata={"help": "Number of first tokens, the attention sink, to leave out of the score."}
    )
    length_control: LengthControl = field(
        default="none",
        metadata={"help": "bin: rank within length bins; residual: score relative to that expected at its length."},
    )
    noise_filter_ratio: float | None = field(
        default=None,
        metadata={
            "help": "Leave out this share of the rows, those of highest response loss, before the method chooses."
        },
    )
    noise_filter_model: str | None = field(
        default=None, metadata={"help": "Model whose losses the filter takes (the reference model)."}
    )
    sampling: Sampling | None = field(default=None, metadata={"help": "How scores become a subset (by the method)."})
    sampler: str | None = field(
        default=None, metadata={"help": "Your own sampler, such as my_package.my_module:MySampler."}
    )
    budget_ratio: float = field(default=0.1, metadata={"help": "Share of the usable rows to keep, in (0, 1]."})
    budget_size: int | None = field(default=None, metadata={"help": "Number of rows to keep, instead of the share."})
    budget_tokens: int | None = field(
        default=None,
        metadata={
            "help": "Largest number of training tokens to keep, instead of the share. The reference's tokenizer counts "
            "problem and completion."
        },
    )
    selection_seed: int = field(default=42, metadata={"help": "Seed of the draw."})
    shared_noise: bool = field(
        default=False,
        metadata={
            "help": "Draw with random numbers of the seed alone, as version 0.1.0 did: methods with one seed share more rows."
        },
    )
    max_batch_tokens: int | None = field(
        default=None,
        metadata={"help": "Tokens of one forward pass, with padding (1,024 on CPU, for its caches; 16,384 on CUDA)."},
    )
    report_to: ReportTo = field(
        default="none",
        metadata={"help": "wandb: log the selection to Weights & Biases (WANDB_PROJECT, WANDB_RUN_GROUP)."},
    )

    def __post_init__(self) -> None:
        if self.scorer is not None and self.method not in ("", self.scorer):
            raise ValueError(
                f"`method: {self.method}` and `scorer: {self.scorer}` both set how rows are scored. Leave one of the two out."
            )
        self.method = self.scorer or self.method or "circuitseer"
        if self.sampler is not None and self.sampling is not None:
            raise ValueError(
                f"`sampling: {self.sampling}` and `sampler: {self.sampler}` both set how rows are chosen. Leave one out."
            )
        if isinstance(self.method_args, str):
            try:
                self.method_args = json.loads(self.method_args)
            except json.JSONDecodeError as error:
                raise ValueError(f"`method_args` must be JSON, such as '{{\"max_ifd\": 1.2}}': {error}.") from None
        if self.method_args is not None and not isinstance(self.method_args, dict):
            raise ValueError(f"`method_args` must be a mapping of names to values, got {self.method_args!r}.")
        check_choice("reference_dtype", self.reference_dtype, Dtype)
        check_count("reference_max_length", self.reference_max_length, smallest=2)
        self.criterion = self.criterion or METHOD_CRITERIA.get(self.method, "loss")
        self.probe_strategy = self.probe_strategy or ("max_loss" if self.criterion == "loss" else "random")
        check_choice("criterion", self.criterion, HeadCriterion)
        check_choice("ablation", self.ablation, HeadAblation)
        if self.ablation != "uniform" and self.head_detection == "race":
            raise ValueError(
                f"`head_detection: race` bounds what uniform attention changes, not `ablation: {self.ablation}`. Set "
                "`head_detection: exact`."
            )
        check_choice("part_by", self.part_by, PartBy)
        check_positive("contrast_floor", self.contrast_floor)
        check_choice("probe_strategy", self.probe_strategy, ProbeStrategy)
        if self.criterion == "contrast" and self.probe_strategy == "max_loss":
            raise ValueError(
                "`criterion: contrast` compares hard rows with easy ones, and `probe_strategy: max_loss` has only hard ones. "
                "Set `probe_strategy: random`."
            )
        if self.criterion == "contrast" and self.head_detection == "race":
            raise ValueError(
                "`head_detection: race` bounds means of the loss's rise, not the ratio of `criterion: contrast`. Set "
                "`head_detection: exact`."
            )
        if self.criterion == "retrieval":
            self._check_retrieval()
        if self.criterion != (needed := METHOD_CRITERIA.get(self.method, self.criterion)):
            other = {"circuitseer_contrast": "circuitseer", "attention_influence": "dependence"}[self.method]
            raise ValueError(
                f"`method: {self.method}` needs `criterion: {needed}`, got {self.criterion!r}. Set `method: {other}`."
            )
        check_count("probe_size", self.probe_size)
        if self.probe_candidates is not None:
            check_count("probe_candidates", self.probe_candidates, smallest=self.probe_size)
            if self.probe_strategy != "max_loss":
                raise ValueError("`probe_candidates` is for `probe_strategy: max_loss`. Leave one of the two out.")
        if self.probe_format is not None:
            check_choice("probe_format", self.probe_format, TextFormat)
        check_share("head_ratio", self.head_ratio)
        check_choice("head_detection", self.head_detection, HeadDetection)
        check_choice("head_set", self.head_set, HeadSetName)
        check_seed("head_seed", self.head_seed)
        check_choice("score_format", self.score_format, TextFormat)
        check_choice("score_on", self.score_on, ScoreOn)
        check_choice("statistic", self.statistic, Statistic)
        check_count("sink_tokens", self.sink_tokens, smallest=0)
        check_choice("length_control", self.length_control, LengthControl)
        if self.sampling is not None:
            check_choice("sampling", self.sampling, Sampling)
        check_share("budget_ratio", self.budget_ratio)
        if self.budget_size is not None:
            check_count("budget_size", self.budget_size)
        if self.budget_tokens is not None:
            check_count("budget_tokens", self.budget_tokens)
            if self.budget_size is not None:
                raise ValueError("`budget_size` and `budget_tokens` both set the budget. Leave one of the two out.")
        check_seed("selection_seed", self.selection_seed)
        check_flag("shared_noise", self.shared_noise)
        if self.noise_filter_ratio is not None and not (
            is_number(self.noise_filter_ratio) and 0 < self.noise_filter_ratio < 1
        ):
            raise ValueError(f"`noise_filter_ratio` must be a number between 0 and 1, got {self.noise_filter_ratio!r}.")
        if self.noise_filter_model is not None and self.noise_filter_ratio is None:
            raise ValueError(
                "`noise_filter_model` needs `noise_filter_ratio`, the share of the rows that it leaves out."
            )
        if self.max_batch_tokens is not None:
            check_count("max_batch_tokens", self.max_batch_tokens)
        check_choice("report_to", self.report_to, ReportTo)

    def _check_retrieval(self) -> None:
        """Raises where a key is set that retrieval probes do not use."""
        if self.probe_strategy == "max_loss" or self.probe_candidates is not None:
            raise ValueError(
                "`criterion: retrieval` has probes of its own and takes no rows of the pool. Leave `probe_strategy` and "
                "`probe_candidates` out."
            )
        if self.ablation != "uniform":
            raise ValueError(
                f"`criterion: retrieval` silences no head, so `ablation: {self.ablation}` has no use. Leave it out."
            )
        if self.head_detection == "race":
            raise ValueError(
                "`head_detection: race` bounds means of the loss's rise, and `criterion: retrieval` takes one forward a probe "
                "for all heads. Set `head_detection: exact`."
            )


@dataclass
class DryRunConfig:
    """The keys of the selection steps that do not belong in a recipe."""

    groups: ClassVar[Groups] = {"output": ("dry_run", "price_per_hour")}

    dry_run: bool = field(
        default=False,
        metadata={
            "help": "Run each step on a few rows, print the estimated cost of the run and of larger pools, and stop."
        },
    )
    price_per_hour: float | None = field(
        default=None,
        metadata={
            "help": "Dollars an hour of one process with its GPU. `dry_run` then gives dollars as well as hours."
        },
    )

    def __post_init__(self) -> None:
        if self.price_per_hour is not None:
            check_positive("price_per_hour", self.price_per_hour)
            if not self.dry_run:
                raise ValueError("`price_per_hour` is for `--dry_run`, and a run has no use for it. Leave it out.")


@dataclass
class ExecutorConfig:
    """Who computes the shards of a selection step. No result depends on it."""

    groups: ClassVar[Groups] = {"who computes": ("executor", "num_actors", "ray_address")}

    executor: ExecutorName = field(
        default="ranks",
        metadata={
            "help": "ranks: this process, or the ranks of `accelerate launch`; ray: actors of a Ray cluster; slurm: a task of a "
            "Slurm array computes its share (docs/scale.md)."
        },
    )
    num_actors: int | None = field(
        default=None, metadata={"help": "Number of Ray actors (one a GPU of the cluster, without GPUs one a CPU)."}
    )
    ray_address: str | None = field(
        default=None,
        metadata={"help": "HOST:PORT of a Ray cluster to join (RAY_ADDRESS; without that one is started here)."},
    )

    def __post_init__(self) -> None:
        check_choice("executor", self.executor, ExecutorName)
        if self.num_actors is not None:
            check_count("num_actors", self.num_actors)
        for key in ("num_actors", "ray_address"):
            if getattr(self, key) is not None and self.executor != "ray":
                raise ValueError(f"`{key}` is for `executor: ray`. Set that, or leave `{key}` out.")


# Keys that a selection step accepts but does not use, so that one recipe serves all three steps.
UNUSED_BY_SCORES = (*SelectionConfig.groups["budget and draw"], "length_control", "sampler", "report_to")
UNUSED_BY_HEADS = (
    *UNUSED_BY_SCORES,
    *SelectionConfig.groups["method"],
    *SelectionConfig.groups["score"],
    *SelectionConfig.groups["noise filter"],
    *("head_set", "heads_file"),
)
