"""What is examined? A model in two or three dtypes, and short texts for it."""

import gc
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from circuitseer_trl.circuits.attention import Head, head_grid
from circuitseer_trl.doctor.measure import matmul_rate, spread
from circuitseer_trl.doctor.slow_ways import heads_eager
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.loading import load_model, load_tokenizer, local_device, model_path, resolve_dtype
from circuitseer_trl.modeling.memory import free_bytes
from circuitseer_trl.modeling.model_folders import check_model_folder
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Example

NUM_EXAMPLES, NUM_RACED = 4, 8
MAX_LENGTH = 96
MIN_HEADS, MAX_HEADS = 6, 16
SECONDS = 5.0  # of one forward in float64 for each examined head, about


def example_texts(count: int) -> list[Example]:
    """Problems of one or two steps with their solutions, of different lengths."""
    rows = []
    for index in range(count):
        first, second, third = 7 + 5 * index % 40, 3 + 7 * index % 30, 2 + index
        problem = f"Tom has {first} apples. He buys {second} more."
        solution, answer = f"{first}+{second}={first + second}\n", first + second
        if index % 2:
            problem += f" Then he finds {third} apples."
            solution, answer = solution + f"{answer}+{third}={answer + third}\n", answer + third
        problem += " How many apples does Tom have now?"
        rows.append(Example(index, f"text-{index}", problem, f"{solution}The answer is \\boxed{{{answer}}}."))
    return rows


class Subject:
    """The model that is examined.

    Attributes:
        name: Hub id or folder.
        label: The Hub id, or the folder's name alone: paths of users stay out of records.
    """

    def __init__(self, name: str) -> None:
        check_model_folder(name)
        self.name = name
        self.label = Path(name).expanduser().resolve().name if Path(name).expanduser().is_dir() else name
        self._models: dict[torch.dtype, PreTrainedModel] = {}

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.name)

    @property
    def default_dtype(self) -> torch.dtype:
        """The dtype of losses and heads on this machine."""
        return resolve_dtype("auto")

    @property
    def score_dtype(self) -> torch.dtype:
        return resolve_dtype("auto", for_scores=True)

    @cached_property
    def wide_dtype(self) -> torch.dtype:
        """The dtype of the exact numbers: float64, or float32 where memory does not hold the model in all dtypes."""
        with torch.device("meta"):
            config = AutoConfig.from_pretrained(model_path(self.name))
            num_parameters = AutoModelForCausalLM.from_config(config).num_parameters()
        needed = num_parameters * (8 + 4 + (0 if self.default_dtype == self.score_dtype else 2))
        return torch.float64 if needed < 0.8 * free_bytes(local_device()) else torch.float32

    def model(self, dtype: torch.dtype) -> PreTrainedModel:
        if dtype not in self._models:
            self._models[dtype] = load_model(self.name, dtype=dtype)
        return self._models[dtype]

    @property
    def wide(self) -> PreTrainedModel:
        return self.model(self.wide_dtype)

    @cached_property
    def raced_examples(self) -> list[EncodedExample]:
        """Texts for a race, which takes a few in each round."""
        return Reference(self.name, max_length=MAX_LENGTH, prompt_format="plain", system_prompt="").encode(
            example_texts(NUM_RACED)
        )

    @property
    def examples(self) -> list[EncodedExample]:
        return self.raced_examples[:NUM_EXAMPLES]

    @cached_property
    def heads(self) -> list[Head]:
        """The heads that are examined: all, or as many as the time holds."""
        num_layers, width = head_grid(self.wide)
        everything = [(layer, head) for layer in range(num_layers) for head in range(width)]
        rate = matmul_rate(local_device(), self.wide_dtype)
        forward = 2 * self.wide.num_parameters() * len(self.examples[0].input_ids) / rate
        return spread(everything, min(len(everything), int(np.clip(SECONDS / forward, MIN_HEADS, MAX_HEADS))))

    @cached_property
    def exact_increases(self) -> np.ndarray:
        """The loss increase of each examined head on the first example, one whole forward for each."""
        losses = np.array(heads_eager(self.wide, self.examples[0], self.heads))
        return losses[1:] - losses[0]

    def free(self) -> None:
        """Removes the models from memory."""
        self._models.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
