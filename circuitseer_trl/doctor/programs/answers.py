"""Answers prompts with a backend in a process of its own: `python -m circuitseer_trl.doctor.programs.answers JOB.json`.

The job has `backend`, `model`, `questions`, `max_new_tokens` and `output`; the texts of the answers go to the file `output`.
"""

import sys

from circuitseer_trl.artifacts import read_json, write_json
from circuitseer_trl.evaluation.answering.backends.base import Job, Request, SamplingSettings
from circuitseer_trl.evaluation.answering.backends.registry import backend_class
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.modeling.loading import load_tokenizer


def greedy_answers(backend_name: str, model: str, questions: list[str], max_new_tokens: int) -> list[str]:
    """The greedy answer to each question, in float32."""
    prompts = PromptFormat(load_tokenizer(model), "")
    requests = [
        Request(str(index), tuple(prompts.token_ids(question)), "", greedy=True, sample=0)
        for index, question in enumerate(questions)
    ]
    longest = max(len(request.prompt_ids) for request in requests)
    backend = backend_class(backend_name)(dtype="float32")  # type: ignore[call-arg]  # a field of those that hold a model
    backend.open(Job(model, None, prompts, SamplingSettings(max_new_tokens), longest_prompt=longest))
    samples = {sample.id: sample for group in backend.generate(requests, lambda tokens: None) for sample in group}
    return [samples[request.id].text for request in requests]


def main(path: str) -> None:
    job = read_json(path)
    texts = greedy_answers(job["backend"], job["model"], job["questions"], job["max_new_tokens"])
    write_json(job["output"], texts)


if __name__ == "__main__":
    main(sys.argv[1])
