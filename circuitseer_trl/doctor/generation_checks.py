"""Does each backend give the greedy text that transformers' own `generate` gives?"""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from circuitseer_trl.artifacts import read_json, write_json
from circuitseer_trl.doctor.outcome import CannotError, Outcome, compared
from circuitseer_trl.doctor.programs.answers import greedy_answers
from circuitseer_trl.doctor.programs.run_program import run_program
from circuitseer_trl.doctor.subject import Subject, example_texts
from circuitseer_trl.evaluation.answering.backends.generation import end_token_ids
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.extras import install_command
from circuitseer_trl.modeling.encoding import decode_tokens
from circuitseer_trl.modeling.loading import load_model, load_tokenizer

NUM_QUESTIONS, MAX_NEW_TOKENS = 4, 16
VLLM_SECONDS = 600.0
# Another engine rounds differently. Where two tokens are nearly as likely, a text may take another way.
VLLM_BOUND = 0.25


def questions() -> list[str]:
    return [example.problem for example in example_texts(NUM_QUESTIONS)]


@torch.no_grad()
def answers_of_transformers(model_name: str) -> list[str]:
    """Greedy answers of `generate`, one question at a time, in float32."""
    model, tokenizer = load_model(model_name, dtype=torch.float32), load_tokenizer(model_name)
    prompts = PromptFormat(tokenizer, "")
    ends = end_token_ids(model, prompts.end_of_turn_ids())
    texts = []
    for question in questions():
        ids = torch.tensor([prompts.token_ids(question)], device=model.device)
        settings = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "max_new_tokens": MAX_NEW_TOKENS}
        output = model.generate(  # type: ignore[operator]  # a mixin of every causal model
            ids,
            attention_mask=torch.ones_like(ids),
            eos_token_id=sorted(ends) or None,
            pad_token_id=0,
            **settings,
        )
        answer = output[0, ids.shape[1] :].tolist()
        if answer[-1] in ends:
            answer.pop()
        texts.append(decode_tokens(tokenizer, answer, skip_special_tokens=True))
    return texts


def compare_texts(name: str, texts: list[str], expected: list[str], bound: float) -> list[Outcome]:
    """The share of texts that differ."""
    different = sum(text != right for text, right in zip(texts, expected, strict=True))
    detail = f"{len(texts) - different} of {len(texts)} texts of {MAX_NEW_TOKENS} tokens are the same"
    return [compared(f"generation, {name}", different / len(texts), bound, "of texts", detail)]


def check_transformers(subject: Subject) -> list[Outcome]:
    """The embedded backend, in batches, against `generate`."""
    subject.free()
    texts = greedy_answers("transformers", subject.name, questions(), MAX_NEW_TOKENS)
    return compare_texts("transformers", texts, answers_of_transformers(subject.name), 0.0)


def save_random_model(folder: Path, tokenizer_of: str) -> None:
    """A random model with heads of 64, which vLLM's kernels take, and weights so large that no two tokens are as likely."""
    tokenizer = load_tokenizer(tokenizer_of)
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}
    tokens = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(
            AutoConfig.for_model("llama", max_position_embeddings=512, **sizes, **heads, **tokens)
        ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def check_vllm_text(subject: Subject) -> list[Outcome]:
    """vLLM in a process of its own, on a random model that it can run, against `generate`."""
    if find_spec("vllm") is None:
        raise CannotError(f"vllm is not installed: {install_command('vllm')}")
    subject.free()  # vLLM takes nearly all memory of a GPU
    with tempfile.TemporaryDirectory() as folder:
        model, job, output = (Path(folder) / name for name in ("model", "job.json", "texts.json"))
        save_random_model(model, subject.name)
        values = {"backend": "vllm", "model": str(model), "questions": questions(), "max_new_tokens": MAX_NEW_TOKENS}
        write_json(job, values | {"output": str(output)})
        run_program(["-m", "circuitseer_trl.doctor.programs.answers", str(job)], VLLM_SECONDS)
        return compare_texts("vllm", read_json(output), answers_of_transformers(str(model)), VLLM_BOUND)
