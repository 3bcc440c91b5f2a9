"""What was this model trained on? Every checkpoint and the model card say it."""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTTrainer

from circuitseer_trl.artifacts import write_json
from circuitseer_trl.data import Pool
from circuitseer_trl.training.rope import write_legacy_rope
from circuitseer_trl.training.rows import ChosenRows


class Provenance(TrainerCallback):
    """Puts the selection's card into every checkpoint, and the RoPE keys of older readers into its config."""

    def __init__(self, card: dict[str, Any] | None):
        self.card = card

    def finish(self, folder: Path) -> None:
        """Completes a saved model's folder; on one process."""
        write_legacy_rope(folder)
        if self.card is not None:
            write_json(folder / "selection.json", self.card)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.finish(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")


def write_model_card(trainer: SFTTrainer, folder: Path, pool: Pool, chosen: ChosenRows) -> None:
    """TRL's model card, and after it what the model was trained on."""
    local = Path(pool.name).expanduser().exists()
    trainer.create_model_card(model_name=folder.name, dataset_name=None if local else pool.name)
    lines = [
        "",
        "",
        "## Training data",
        "",
        f"{len(chosen.indices)} rows of the pool `{Path(pool.name).name if local else pool.name}`, which has "
        f"{len(pool)} usable rows (fingerprint `{pool.fingerprint}`).",
    ]
    if chosen.card is not None:
        lines += [
            "",
            f"They were selected by the method `{chosen.card.get('method')}` of circuitseer_trl "
            "([CircuitSeer](https://arxiv.org/abs/2510.18470)); its settings are in [selection.json](selection.json).",
        ]
    with open(folder / "README.md", "a", encoding="utf-8") as card:
        card.write("\n".join(lines) + "\n")
