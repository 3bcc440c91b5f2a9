"""The response losses of a whole pool, computed once and kept in `losses/`."""

from collections.abc import Sequence
from pathlib import Path
from weakref import WeakSet

import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedModel

from circuitseer_trl.distributed.shards import MAX_ERROR_SHARE, run_shards
from circuitseer_trl.modeling.encoding import EncodedExample, encode_example, has_chat_template
from circuitseer_trl.modeling.losses import check_head, response_losses
from circuitseer_trl.modeling.reference import Reference
from circuitseer_trl.pool.rows import Example, Pool

ROWS_PER_SHARD = 256


# A truncated row with fewer tokens of its answer left says little about how hard the answer is; our choice.
MIN_TRUNCATED_TOKENS = 16


# So many examples may be without finite logits before the model is held to be broken.
NUM_CHECKED = 8

_checked: WeakSet[PreTrainedModel] = WeakSet()  # models whose losses were compared with their own logits


LOSS_COLUMNS = pa.schema(
    [
        ("uid", pa.string()),
        ("row", pa.int64()),
        ("loss_nats", pa.float64()),
        ("num_prompt_tokens", pa.int64()),
        ("num_completion_tokens", pa.int64()),
        ("truncated", pa.bool_()),
    ]
)


def probe_form(reference: Reference, form: str | None) -> str:
    """The form that probe examples take: the one asked for, or chat where the tokenizer has a template."""
    return form or ("chat" if has_chat_template(reference.tokenizer) else "plain")


def encode_all(
    examples: list[Example], reference: Reference, form: str | None, system_prompt: str
) -> list[EncodedExample]:
    return [
        encode_example(
            reference.tokenizer,
            example.uid,
            example.problem,
            example.completion,
            form=probe_form(reference, form),
            system_prompt=system_prompt,
            max_length=reference.max_length,
        )
        for example in examples
    ]


def checked_model(
    reference: Reference, examples: Sequence[EncodedExample], *, for_scores: bool = False
) -> PreTrainedModel:
    """The reference model, after one comparison of our losses with its own logits.

    Args:
        examples: The first of them on which the model's logits are finite is compared.
    """
    model = reference.model(for_scores=for_scores)
    if model not in _checked:
        tried = examples[:NUM_CHECKED]
        if not any(check_head(model, example) for example in tried):
            raise ValueError(
                f"The logits of {reference.name} are not finite on example {tried[0].uid}"
                + (f", nor on the {len(tried) - 1} after it" if len(tried) > 1 else "")
                + ". Are its weights whole? If its dtype is float16, use float32."
            )
        _checked.add(model)
    return model


def check_finite(num_not_finite: int, num_rows: int, first: str, max_share: float = MAX_ERROR_SHARE) -> None:
    """Raises where the response losses of a larger share of the rows are not finite."""
    if num_not_finite > max_share * num_rows:
        raise ValueError(
            f"The response losses of {num_not_finite} of {num_rows} rows are not finite, for instance of {first}. Are the "
            "model's weights whole? If its dtype is float16, set `reference_dtype: float32`."
        )


def loss_table(
    examples: list[Example], reference: Reference, form: str | None, system_prompt: str, max_batch_tokens: int
) -> pa.Table:
    """Mean response losses of examples, in the columns of `losses/`; null where truncation left no token of the completion."""
    encoded = encode_all(examples, reference, form, system_prompt)
    answered = [item for item in encoded if item.num_completion_tokens > 0]
    losses = dict(
        zip(
            [item.uid for item in answered],
            response_losses(checked_model(reference, answered), answered, max_batch_tokens) if answered else [],
            strict=True,
        )
    )
    rows = [
        {
            "uid": item.uid,
            "row": example.row,
            "loss_nats": losses.get(item.uid),
            "num_prompt_tokens": item.num_prompt_tokens,
            "num_completion_tokens": item.num_completion_tokens,
            "truncated": item.truncated,
        }
        for example, item in zip(examples, encoded, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=LOSS_COLUMNS)


def pool_losses(
    pool: Pool,
    reference: Reference,
    output_dir: str | Path,
    *,
    form: str | None = None,
    system_prompt: str,
    max_batch_tokens: int = 8192,
) -> pa.Table:
    """Mean response loss of every row of the pool, computed once and kept in `losses/`.

    Returns:
        A table of the pool's rows in their order: `uid`, `row`, `loss_nats` (nats per completion token; null where truncation
        left no token of the completion, not finite where the model's output is not), `num_prompt_tokens`,
        `num_completion_tokens`, `truncated`.
    """

    def compute(shard: int) -> pa.Table:
        examples = pool.take(range(shard * ROWS_PER_SHARD, min((shard + 1) * ROWS_PER_SHARD, len(pool))))
        return loss_table(examples, reference, form, system_prompt, max_batch_tokens)

    made_from = {
        "pool": pool.fingerprint,
        "model": reference.describe(),
        "form": probe_form(reference, form),
        "system_prompt": system_prompt,
        "max_batch_tokens": max_batch_tokens,
    }
    num_shards = -(-len(pool) // ROWS_PER_SHARD)
    table = run_shards(Path(output_dir) / "losses", num_shards, made_from, compute, "Response losses")
    # NaN is not null: a row without a completion left has no loss, which is no error.
    bad = table.filter(pc.invert(pc.is_finite(table["loss_nats"])))
    if len(bad):
        check_finite(len(bad), len(table), bad["uid"][0].as_py())
    return table
