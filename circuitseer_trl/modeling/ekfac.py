"""The curvature of the loss by EK-FAC: kronfluence fits and stores the factors, and gradients are preconditioned by them."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from circuitseer_trl.artifacts import read_json, write_json
from circuitseer_trl.distributed.processes import on_main_rank, process_state
from circuitseer_trl.distributed.shard_folders import check_manifest
from circuitseer_trl.extras import require_extra
from circuitseer_trl.modeling.encoding import EncodedExample
from circuitseer_trl.modeling.gradients import Gradients
from circuitseer_trl.modeling.losses import pad_right
from circuitseer_trl.modeling.reference import Reference

ANALYSIS, FACTORS = "kronfluence", "pool"
CURVATURE = "mean response loss of a row"  # version 0.1.0 had 1/length of it
DAMPING_SHARE = 0.1  # kronfluence's heuristic


def check_installed() -> None:
    require_extra("influence", "`backend: ekfac`", "kronfluence")


@contextmanager
def _one_process() -> Iterator[None]:
    """Hides the launch from kronfluence, which takes every launch on CUDA for one fit by all ranks."""
    from kronfluence.utils.state import State

    rank = os.environ.pop("LOCAL_RANK", None)
    State._reset_state()
    try:
        yield
    finally:
        State._reset_state()
        if rank is not None:
            os.environ["LOCAL_RANK"] = rank


def _collate(examples: Sequence[EncodedExample]) -> dict[str, torch.Tensor]:
    ids = pad_right([example.input_ids for example in examples], torch.device("cpu"))
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, example in enumerate(examples):
        mask[row, : len(example.input_ids)] = 1
        answer = slice(example.num_prompt_tokens, len(example.input_ids))
        labels[row, answer] = ids[row, answer]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def make_task(layer_names: list[str]) -> Any:
    """The model's loss as a task of kronfluence: each row's mean response loss, summed over a batch.

    The curvature is that of the rows' mean loss (its Gauss-Newton matrix): of a row with L tokens it is the mean of the
    tokens' curvatures. kronfluence takes squares of gradients, with answers drawn from the model. Independent draws have
    no cross terms, so the square of a mean over L tokens would be 1/L of that. The drawn loss is a sum over sqrt(L).
    """
    from kronfluence.task import Task

    class ResponseLoss(Task):
        def compute_train_loss(self, batch: Any, model: torch.nn.Module, sample: bool = False) -> torch.Tensor:
            logits = model(input_ids=batch["input_ids"], use_cache=False).logits[:, :-1]
            labels, real = batch["labels"][:, 1:], batch["labels"][:, 1:] != -100
            rows = real.nonzero()[:, 0]
            logits = logits[real].to(torch.promote_types(logits.dtype, torch.float32))
            with torch.no_grad():
                targets = torch.multinomial(logits.softmax(-1), 1)[:, 0] if sample else labels[real]
            losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            lengths = real.sum(dim=1)[rows]
            return (losses / (lengths.sqrt() if sample else lengths)).sum()

        def compute_measurement(self, batch: Any, model: torch.nn.Module) -> torch.Tensor:
            return self.compute_train_loss(batch, model)

        def get_influence_tracked_modules(self) -> list[str]:
            return layer_names

        def get_attention_mask(self, batch: Any) -> torch.Tensor:
            return batch["attention_mask"]

    return ResponseLoss()


def fit_factors(
    examples: Sequence[EncodedExample],
    reference: Reference,
    layer_names: list[str],
    batch_size: int,
    output_dir: Path,
    made_from: dict[str, Any],
) -> Path:
    """Fits the factors on rank 0, or continues with the stages that kronfluence finished before; the other ranks wait.

    Args:
        made_from: Everything that the factors depend on; a folder with other factors is refused.

    Returns:
        The folder of the factors.
    """
    folder = output_dir / ANALYSIS / f"factors_{FACTORS}"
    finished = output_dir / f"{ANALYSIS}.json"
    made_from = made_from | {"curvature_of": CURVATURE}
    on_main_rank(lambda: check_manifest(output_dir / f"{ANALYSIS}.manifest.json", made_from))
    if process_state().is_main_process and not finished.exists():
        _fit(examples, reference, layer_names, batch_size, output_dir)
        write_json(finished, {"num_examples": len(examples), "layers": layer_names})
    while not finished.exists():  # no collective operation: a long fit would exceed its time-out
        time.sleep(0.2)
    assert read_json(finished)["layers"] == layer_names
    return folder


def _fit(
    examples: Sequence[EncodedExample], reference: Reference, layer_names: list[str], batch_size: int, output_dir: Path
) -> None:
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.utils.dataset import DataLoaderKwargs

    task, model = make_task(layer_names), reference.model(for_scores=True)
    cpu = model.device.type == "cpu"
    devices = [] if cpu else [model.device]
    try:
        with _one_process(), torch.random.fork_rng(devices=devices):
            analyzer = Analyzer(
                ANALYSIS, prepare_model(model, task), task, cpu=cpu, output_dir=str(output_dir), disable_tqdm=True
            )
            data = {"dataset": list(examples), "per_device_batch_size": batch_size}
            loading = {"dataloader_kwargs": DataLoaderKwargs(collate_fn=_collate)}
            # The fits draw answers from the model. Each sets its seed, because an earlier stage may be skipped.
            torch.manual_seed(0)
            analyzer.fit_covariance_matrices(FACTORS, **data, **loading)
            analyzer.perform_eigendecomposition(FACTORS)
            torch.manual_seed(1)
            analyzer.fit_lambda_matrices(FACTORS, **data, **loading)
    finally:
        reference.free()  # kronfluence has wrapped its layers


def precondition(gradients: Gradients, folder: Path, damping: float | None) -> Gradients:
    """Multiplies gradients by the inverse of the damped curvature, layer by layer and in place.

    The result is U_G ((U_G^T g U_A) / (lambda + damping)) U_A^T, where U_G and U_A hold the eigenvectors of the
    covariances of output gradients and inputs.

    Args:
        gradients (`dict` of `torch.Tensor` of shape `(Q, O, I)`): One tensor for each layer.
        folder: The folder of the factors.
        damping: None takes 0.1 times the layer's mean lambda.
    """

    def read(name: str, layer: str) -> torch.Tensor:
        with safe_open(folder / f"{name}.safetensors", framework="pt") as file:
            return file.get_tensor(layer)

    for layer, gradient in gradients.items():
        left, right = (
            read(f"{side}_eigenvectors", layer).to(gradient.device, gradient.dtype)
            for side in ("gradient", "activation")
        )
        curvature = read("lambda_matrix", layer).double() / read("num_lambda_processed", layer)
        added = DAMPING_SHARE * curvature.mean() if damping is None else damping
        inverse = (1 / (curvature + added)).to(gradient.device, gradient.dtype)
        for row in gradient:  # one at a time: each is as large as the layer
            row.copy_(left @ ((left.T @ row @ right) * inverse) @ right.T)
    return gradients
