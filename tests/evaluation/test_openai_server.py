"""The openai backend against `transformers serve`, and against the same server behind a proxy with faults."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.evaluation.benchmarks import load_benchmark
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import evaluate
from tests.helpers.faulty_server import SLOW_SECONDS, FaultyServer
from tests.helpers.launch import launch
from tests.helpers.tiny_models import save_model

pytestmark = pytest.mark.engine
pytest.importorskip("openai")
pytest.importorskip("uvicorn")
NUM_PROBLEMS, NUM_SAMPLES = 5, 3
FAULTS = ("500", "429", "slow", "drop", "half_body", "half_json", "no_finish", "no_choices")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> str:
    wide = {"max_position_embeddings": 512, "initializer_range": 0.3}
    folder = save_model(tmp_path_factory.mktemp("served") / "tiny", tokenizer, **wide)
    # `transformers serve` samples only where the model's own settings do.
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(settings | {"do_sample": True}))
    return str(folder)


@pytest.fixture(scope="module")
def server(model: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "transformers.cli.transformers", "serve", model, "--device", "cpu"]
    words += ["--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/health").close()
                break
            except urllib.error.URLError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.2)
        yield f"{address}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def benchmarks_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "word_problems").mkdir()
    rows = [{"problem": f"What is {n} + {n}?" + " Think." * n, "answer": str(2 * n)} for n in range(NUM_PROBLEMS)]
    (folder / "word_problems" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def config(model: str, benchmarks_dir: str, folder: Path, url: str, **changes) -> EvaluationConfig:
    # One request at a time: the server's threads share one generator of random numbers.
    values = {"max_new_tokens": 12, "num_samples": NUM_SAMPLES, "concurrency": 1, "temperature": 0.9} | changes
    return EvaluationConfig(
        model, str(folder), ["word_problems"], benchmarks_dir, backend="openai", base_url=url, **values
    )


def answers(folder: Path) -> dict[tuple, dict]:
    lines = (folder / "generations" / "word_problems.jsonl").read_text().split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        del row["made_with"], row["check"]  # of the settings, which name the backend
    return {(row["id"], row["greedy"], row["sample"]): row for row in rows}


def asked(proxy: FaultyServer) -> list[dict]:
    """The requests without those for one token, which find out what the server takes."""
    return [body for body in proxy.bodies if body["max_tokens"] > 1]


def texts(folder: Path) -> dict[tuple, str]:
    return {key: line["text"] for key, line in answers(folder).items()}


@pytest.fixture(scope="module")
def direct(model: str, server: str, benchmarks_dir: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("direct") / "run"
    evaluate(config(model, benchmarks_dir, folder, server))
    return folder


def test_greedy_answers_are_those_of_the_model_in_this_process(
    direct: Path, model: str, benchmarks_dir: str, tmp_path: Path
):
    here = EvaluationConfig(
        model, str(tmp_path), ["word_problems"], benchmarks_dir, max_new_tokens=12, num_samples=0, dtype="float32"
    )
    evaluate(here)
    expected = answers(tmp_path)
    assert len(expected) == NUM_PROBLEMS
    # Text, number of tokens, why they end, and the prompt's fingerprint: the whole line.
    assert {key: line for key, line in answers(direct).items() if line["greedy"]} == expected
    measured = json.loads((direct / "results.json").read_text())
    assert measured["settings"]["backend"] == "openai"
    assert measured["benchmarks"]["word_problems"]["tokens_per_second"] > 0


def test_draws_differ(direct: Path):
    drawn = [text for (_, greedy, _), text in texts(direct).items() if not greedy]
    assert len(drawn) == len(set(drawn)) == NUM_PROBLEMS * NUM_SAMPLES


def test_one_request_a_problem_gives_what_one_an_answer_gives(
    direct: Path, model: str, server: str, benchmarks_dir: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    with FaultyServer(server, tokenizer) as proxy:
        evaluate(config(model, benchmarks_dir, tmp_path, proxy.url))
    assert texts(tmp_path) == texts(direct)
    assert [body.get("n", 1) for body in asked(proxy)].count(NUM_SAMPLES) == NUM_PROBLEMS
    assert len(asked(proxy)) == len(proxy.bodies) - 2 == 2 * NUM_PROBLEMS
    assert all(isinstance(body["prompt"], list) for body in proxy.bodies)
    assert {(body["top_k"], body["repetition_penalty"], tuple(body["stop_token_ids"])) for body in proxy.bodies} == {
        (-1, 1.0, (tokenizer.eos_token_id,))
    }
    # The server tells the sum over the answers of a request.
    total, expected = (sum(line["num_tokens"] for line in answers(each).values()) for each in (tmp_path, direct))
    assert total == expected


@pytest.mark.parametrize("refuses", [("n",), ("ids",), ("top_k",), ("n", "ids", "min_p")])
def test_what_a_server_refuses_is_left_out(
    direct: Path,
    model: str,
    server: str,
    benchmarks_dir: str,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    refuses: tuple,
):
    with FaultyServer(server, tokenizer, refuses=refuses) as proxy:
        evaluate(config(model, benchmarks_dir, tmp_path, proxy.url))
    assert texts(tmp_path) == texts(direct)
    refused = [body for body in proxy.bodies if any(name in body for name in refuses)]
    assert len(refused) <= 2  # what finds out how to ask
    if "n" in refuses:
        taken = [
            body
            for body in proxy.bodies
            if body not in refused and isinstance(body["prompt"], str) == ("ids" in refuses)
        ]
        seeds = {(str(body["prompt"]), body["seed"]) for body in taken if body["temperature"]}
        assert len(seeds) == NUM_PROBLEMS * NUM_SAMPLES


def test_a_server_that_gives_fewer_answers_than_asked_for(
    direct: Path, model: str, server: str, benchmarks_dir: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    with FaultyServer(server, tokenizer, takes_n=False) as proxy:
        evaluate(config(model, benchmarks_dir, tmp_path, proxy.url))
    assert texts(tmp_path) == texts(direct)
    assert len(asked(proxy)) == NUM_PROBLEMS * (1 + NUM_SAMPLES)


def test_a_server_that_refuses_several_answers_as_llama_cpp_does(
    direct: Path, model: str, server: str, benchmarks_dir: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    with FaultyServer(server, tokenizer, lambda number, body: "500" if "n" in body else None) as proxy:
        evaluate(config(model, benchmarks_dir, tmp_path, proxy.url))
    assert texts(tmp_path) == texts(direct)
    assert ["n" in body for body in proxy.bodies].count(True) == 2  # it was tried again once
    assert all(isinstance(body["prompt"], list) for body in proxy.bodies)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_change_no_answer(
    direct: Path,
    model: str,
    server: str,
    benchmarks_dir: str,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    fault: str,
):
    every = 4  # first tries and tries again, with one answer and with several
    with FaultyServer(server, tokenizer, lambda number, body: fault if number % every == 0 else None) as proxy:
        patience = (
            SLOW_SECONDS / 3 if fault == "slow" else 60
        )  # on a busy machine a sound answer takes longer than the first
        evaluate(config(model, benchmarks_dir, tmp_path, proxy.url, request_timeout_seconds=patience))
    assert texts(tmp_path) == texts(direct)
    assert proxy.faults.count(fault) >= 3
    assert len(proxy.bodies) == 2 + 2 * NUM_PROBLEMS + proxy.faults.count(fault)


def test_a_server_that_dies_leaves_what_is_finished(
    direct: Path,
    model: str,
    server: str,
    benchmarks_dir: str,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("circuitseer_trl.evaluation.answering.backends.completions.MAX_RETRIES", 2)
    with FaultyServer(server, tokenizer, lambda number, body: "503" if number >= 4 else None) as proxy:
        with pytest.raises(ConnectionError, match=r"fails for .* 503 .*run the command again") as raised:
            evaluate(config(model, benchmarks_dir, tmp_path, proxy.url, concurrency=2))
        assert "busy" in str(raised.value)
        kept = answers(tmp_path)
        assert 4 <= len(kept) < NUM_PROBLEMS * (1 + NUM_SAMPLES)
        assert not (tmp_path / "results.json").exists()
    with pytest.raises(ConnectionError, match="Connection"):  # the port is closed now
        evaluate(config(model, benchmarks_dir, tmp_path, proxy.url))
    with FaultyServer(server, tokenizer) as proxy:
        evaluate(config(model, benchmarks_dir, tmp_path, proxy.url, concurrency=1))
    assert texts(tmp_path).keys() == texts(direct).keys()
    assert kept.items() <= answers(tmp_path).items()
    assert sum(body.get("n", 1) for body in asked(proxy)) == len(texts(direct)) - len(kept)


def test_half_answers_that_go_on_are_an_error(
    model: str, server: str, benchmarks_dir: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("circuitseer_trl.evaluation.answering.backends.completions.MAX_RETRIES", 1)
    for fault in ("half_json", "no_finish"):
        with (
            FaultyServer(server, tokenizer, lambda number, body, fault=fault: fault) as proxy,
            pytest.raises(ConnectionError, match="half an answer to word_problems-4, 2 times"),
        ):
            evaluate(config(model, benchmarks_dir, tmp_path, proxy.url))
    assert not list((tmp_path / "generations").glob("*.jsonl"))


def test_a_penalty_that_the_server_does_not_take_is_refused(
    model: str, server: str, benchmarks_dir: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    with pytest.raises(ValueError, match=r"does not take repetition_penalty 1\.05 .*Unexpected fields"):
        evaluate(config(model, benchmarks_dir, tmp_path, server, preset="paper"))
    with FaultyServer(server, tokenizer) as proxy:
        evaluate(config(model, benchmarks_dir, tmp_path, proxy.url, preset="paper"))
    assert {body["repetition_penalty"] for body in proxy.bodies} == {1.05}


def test_an_end_of_turn_that_only_the_template_knows_must_be_taken(
    model: str, server: str, benchmarks_dir: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    """As after fine-tuning a base model: its generation_config.json has the base model's end alone."""
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": 0}))
    with pytest.raises(ValueError, match=rf"stop_token_ids \[{tokenizer.eos_token_id}\], which generation_config"):
        evaluate(config(str(folder), benchmarks_dir, tmp_path / "run", server, served_model_name=model))


def test_the_servers_context_and_the_wrong_name(
    model: str, server: str, benchmarks_dir: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    with pytest.raises(ValueError, match="pinned"):
        evaluate(config(model, benchmarks_dir, tmp_path / "name", server, served_model_name="other"))
    questions = [problem.question for problem in load_benchmark("word_problems", benchmarks_dir)]
    lengths = [len(PromptFormat(tokenizer).token_ids(question)) for question in questions]
    context = max(lengths) + 5
    with FaultyServer(server, tokenizer, max_model_len=context) as proxy:
        proxy.served = model
        evaluate(config(model, benchmarks_dir, tmp_path / "run", proxy.url))
    limits = [body["max_tokens"] for body in asked(proxy)]
    assert limits == [min(12, context - len(body["prompt"])) for body in asked(proxy)]
    assert min(limits) == 5
    assert sorted(len(body["prompt"]) for body in asked(proxy)) == sorted(lengths * 2)


def test_two_processes_ask_for_half_each(
    direct: Path, model: str, server: str, benchmarks_dir: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    with FaultyServer(server, tokenizer) as proxy:
        done = launch(
            "tests.programs.two_ranks",
            *("--model_name_or_path", model, "--benchmarks", "word_problems", "--benchmarks_dir", benchmarks_dir),
            *("--backend", "openai", "--base_url", proxy.url, "--num_samples", NUM_SAMPLES, "--max_new_tokens", 12),
            *("--temperature", 0.9, "--output_dir", tmp_path),
            num_processes=2,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    # Five problems: three for the first process, two for the second.
    assert sorted(re.findall(r"rank (\d) of 2 answered (\d+)", done.stdout)) == [("0", "12"), ("1", "8")]
    assert list(answers(tmp_path)) == list(answers(direct))
    greedy = {key for key in answers(direct) if key[1]}
    assert {key: answers(tmp_path)[key] for key in greedy} == {key: answers(direct)[key] for key in greedy}
    measured = json.loads((tmp_path / "results.json").read_text())["benchmarks"]["word_problems"]
    tokens = sum(line["num_tokens"] for line in answers(tmp_path).values())
    assert measured["tokens_per_second"] == pytest.approx(tokens / measured["seconds"], rel=0.01)
