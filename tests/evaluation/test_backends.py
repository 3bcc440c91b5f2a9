"""What the backends share, and the one that needs no model: replay."""

import copy
import inspect
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from itertools import chain
from pathlib import Path

import psutil
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerFast

from circuitseer_trl.answers import Sample
from circuitseer_trl.evaluation.answering.backends.base import (
    Job,
    Request,
    SamplingSettings,
    cut_to_context,
    draw_seed,
    draws_of_problems,
)
from circuitseer_trl.evaluation.answering.backends.ends_and_context import configured_end_ids, load_generation_config
from circuitseer_trl.evaluation.answering.backends.registry import BACKENDS
from circuitseer_trl.evaluation.answering.backends.replay import ReplayBackend
from circuitseer_trl.evaluation.answering.backends.vllm_engine import VllmBackend, cpu_arguments, sampling_arguments
from circuitseer_trl.evaluation.answering.backends.vllm_processes import (
    OWNER_VARIABLE,
    check_heads,
    devices_of_rank,
    end_with_owner,
    engine_environment,
)
from circuitseer_trl.evaluation.answering.prompts import PromptFormat
from circuitseer_trl.evaluation.answering.rope_check import check_rope_config
from circuitseer_trl.evaluation.answering.schedule import draws_repeat, share_of_rank
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import evaluate
from circuitseer_trl.scripts.report import main as report


def draw(id: str, sample: int, greedy: bool = False, num_prompt_tokens: int = 4) -> Request:
    return Request(id, (7,) * num_prompt_tokens, "prompt", greedy, sample)


def test_draws_whose_numbers_follow_make_one_request():
    wanted = [draw("a", 0, greedy=True), *(draw("a", number) for number in (5, 0, 1, 3, 4)), draw("b", 0), draw("b", 1)]
    made = draws_of_problems([(request, 10) for request in wanted])
    found = sorted((each.requests[0].id, each.requests[0].greedy, [r.sample for r in each.requests]) for each in made)
    assert found == [("a", False, [0, 1]), ("a", False, [3, 4, 5]), ("a", True, [0]), ("b", False, [0, 1])]


def test_the_seed_of_a_draw_is_that_of_the_first_one_and_its_number():
    settings = SamplingSettings(8)
    ids = [f"math500-{number}" for number in range(500)]
    seeds = {(id, number): draw_seed(settings, draw(id, number)) for id in ids for number in range(16)}
    for id in ids:
        assert [seeds[id, number] for number in range(16)] == list(range(seeds[id, 0], seeds[id, 0] + 16))
    assert len({seeds[id, 0] for id in ids}) == 500
    assert min(seeds.values()) >= 0
    assert max(seeds.values()) < 2**31
    assert draw_seed(SamplingSettings(8, seed=1), draw("a", 0)) != draw_seed(settings, draw("a", 0))


def test_answers_are_cut_where_the_context_ends(caplog: pytest.LogCaptureFixture):
    requests = [draw("short", 0, num_prompt_tokens=3), draw("long", 0, num_prompt_tokens=8)]
    requests.append(draw("too long", 0, num_prompt_tokens=10))
    limited, too_long = cut_to_context(requests, SamplingSettings(5), 10)
    assert [(request.id, limit) for request, limit in limited] == [("short", 5), ("long", 2)]
    assert [(sample.id, sample.num_tokens, sample.finish_reason) for sample in too_long] == [
        ("too long", 0, "prompt_too_long")
    ]
    assert "context of 10 tokens" in caplog.text
    caplog.clear()
    assert [limit for _, limit in cut_to_context(requests, SamplingSettings(5), None)[0]] == [5, 5, 5]
    assert not caplog.text


def test_ranks_share_whole_problems():
    class State:
        num_processes = 3

        def __init__(self, rank: int) -> None:
            self.process_index = rank

    requests = [draw(id, number, num_prompt_tokens=len(id)) for id in ("a", "bb", "ccc", "dddd") for number in range(2)]
    shares = [share_of_rank(requests, State(rank)) for rank in range(3)]
    assert [sorted({request.id for request in share}) for share in shares] == [["a", "dddd"], ["ccc"], ["bb"]]
    assert sorted(chain(*shares), key=requests.index) == requests


def test_draws_that_are_all_the_same_are_noticed():
    def samples(*texts: str, id: str = "a", greedy: bool = False) -> list[Sample]:
        return [Sample(id, greedy, number, text, 1, "stop", 0, "") for number, text in enumerate(texts)]

    assert draws_repeat([*samples("x", "x"), *samples("y", "y", id="b"), *samples("z", greedy=True)])
    assert not draws_repeat([*samples("x", "x"), *samples("y", "z", id="b")])
    assert not draws_repeat([*samples("x"), *samples("x", id="b"), *samples("x", greedy=True)])


def test_gpus_of_a_rank():
    visible = ["4", "5", "6", "7"]
    assert [devices_of_rank(visible, rank, 2) for rank in (0, 1)] == [["4", "5"], ["6", "7"]]
    with pytest.raises(ValueError, match="GPUs 4 to 5, but 4 are visible"):
        devices_of_rank(visible, 2, 2)


def test_a_machine_without_gpus_has_one_engine():
    assert devices_of_rank([], 0, 1) == []
    with pytest.raises(
        ValueError, match=r"`tensor_parallel_size: 2` splits a model over GPUs, and this machine has none"
    ):
        devices_of_rank([], 0, 2)
    with pytest.raises(ValueError, match="runs in one process"):
        devices_of_rank([], 1, 1)


@pytest.mark.parametrize(
    ("heads", "keys", "size", "fitting"),
    [(14, 2, 4, "1 or 2 or 14"), (14, 2, 7, "1 or 2 or 14"), (4, 2, 8, "1 or 2 or 4"), (4, 4, 3, "1 or 2 or 4")],
)
def test_heads_that_cannot_be_divided_are_refused(heads: int, keys: int, size: int, fitting: str):
    config = AutoConfig.for_model("llama", hidden_size=64 * heads, num_attention_heads=heads, num_key_value_heads=keys)
    with pytest.raises(
        ValueError, match=rf"{heads} query heads and {keys} key heads of m .*size: {size}`.*{fitting}\."
    ):
        check_heads("m", config, size)
    for each in fitting.split(" or "):
        check_heads("m", config, int(each))


def test_a_cpu_has_its_own_arguments(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    own = {"enforce_eager": True, "enable_chunked_prefill": False}
    assert cpu_arguments() == own | {"kv_cache_memory_bytes": 4 * 1024**3}
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    assert cpu_arguments() == own


OPENER = """
import os, subprocess, sys, time
os.environ[sys.argv[1]] = sys.argv[2] or str(os.getpid())
process = subprocess.Popen([sys.executable, "-c", sys.argv[3]], stdout=subprocess.PIPE)
process.stdout.readline()
print(process.pid, flush=True)
time.sleep(60)
"""
ENGINE = f"from {end_with_owner.__module__} import end_with_owner; end_with_owner()"


@pytest.mark.parametrize(("owner", "ends"), [("", True), (str(os.getpid()), False), ("0", False)])
def test_an_engine_ends_with_the_process_that_opened_it(owner: str, ends: bool):
    """Where SIGKILL ends that process; an engine of another process, or of no process, is left alone."""
    engine_code = f"{ENGINE}; print(flush=True); import time; time.sleep(60)"
    opener = subprocess.Popen(
        [sys.executable, "-c", OPENER, OWNER_VARIABLE, owner, engine_code], stdout=subprocess.PIPE
    )
    assert opener.stdout is not None
    engine = psutil.Process(int(opener.stdout.readline()))
    opener.kill()
    opener.communicate()
    gone, alive = psutil.wait_procs([engine], timeout=10 if ends else 0.5)
    for process in alive:
        process.kill()
    assert bool(gone) == ends


def test_an_engine_without_its_owner_does_not_start():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    environment = os.environ | {OWNER_VARIABLE: str(ended.pid)}
    assert subprocess.run([sys.executable, "-c", ENGINE], env=environment).returncode == -signal.SIGTERM


def test_the_environment_of_an_engine(monkeypatch: pytest.MonkeyPatch):
    launch = {"RANK": "1", "LOCAL_RANK": "1", "MASTER_PORT": "29500", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    for name, value in (launch | {"CUDA_VISIBLE_DEVICES": "2,3", "HF_HUB_OFFLINE": "1"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    before = dict(os.environ)
    with engine_environment(1, 1):
        assert os.environ[OWNER_VARIABLE] == str(os.getpid())
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
        assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
        assert not launch.keys() & os.environ.keys()
        assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert dict(os.environ) == before


def engine(context: int | None = 4096) -> dict:
    job = Job("Qwen/Qwen2.5-Math-7B", None, None, SamplingSettings(100, seed=7), longest_prompt=30)
    return VllmBackend(dtype="bfloat16", tensor_parallel_size=2).engine_arguments(job, context)


def test_arguments_of_an_engine():
    assert engine() == {
        "model": "Qwen/Qwen2.5-Math-7B", "revision": None, "tokenizer_revision": None, "dtype": "bfloat16",
        "tensor_parallel_size": 2, "max_model_len": 130, "enable_prefix_caching": True, "seed": 7,
    }  # fmt: skip
    assert [engine(context=context)["max_model_len"] for context in (120, None)] == [120, 130]
    settings = SamplingSettings(100, temperature=0.6, top_p=0.95, repetition_penalty=1.05)
    greedy, drawn = draws_of_problems([(draw("a", 0, greedy=True), 90), (draw("a", 2), 90), (draw("a", 3), 90)])[::-1]
    assert [len(each.requests) for each in (greedy, drawn)] == [1, 2]
    common = {"repetition_penalty": 1.05, "max_tokens": 90, "stop_token_ids": [2, 5], "detokenize": False}
    seed = draw_seed(settings, draw("a", 0))
    assert sampling_arguments(greedy, settings, [2, 5]) == common | {
        "n": 1, "temperature": 0.0, "top_p": 1.0, "seed": seed,
    }  # fmt: skip
    assert sampling_arguments(drawn, settings, [2, 5]) == common | {
        "n": 2, "temperature": 0.6, "top_p": 0.95, "seed": seed + 2,
    }  # fmt: skip


def test_vllm_knows_the_arguments():
    """Where vLLM is installed: nothing is imitated."""
    vllm = pytest.importorskip("vllm")
    engine_args = {each.name for each in fields(pytest.importorskip("vllm.engine.arg_utils").EngineArgs)}
    assert (engine() | cpu_arguments()).keys() <= engine_args
    assert {"prompts", "sampling_params", "use_tqdm"} <= inspect.signature(vllm.LLM.enqueue).parameters.keys()
    (drawn,) = draws_of_problems([(draw("a", 2), 90), (draw("a", 3), 90)])
    vllm.SamplingParams(**sampling_arguments(drawn, SamplingSettings(100), [2, 5]))


def test_end_tokens_without_the_model(tiny_model: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path):
    assert configured_end_ids(load_generation_config(tiny_model, None)) == {tokenizer.eos_token_id}
    assert configured_end_ids(GenerationConfig(eos_token_id=[3, 5])) == {3, 5}
    (tmp_path / "config.json").write_text((Path(tiny_model) / "config.json").read_text())
    assert configured_end_ids(load_generation_config(str(tmp_path), None)) == {tokenizer.eos_token_id}


def test_rope_base_without_the_model(tiny_model: str, tmp_path: Path):
    config = AutoConfig.from_pretrained(tiny_model)
    check_rope_config(tiny_model, config)
    (tmp_path / "training.json").write_text('{"settings": {"rope": {"rope_parameters": {"rope_theta": 300000.0}}}}')
    with pytest.raises(ValueError, match=r"base of 300000 .* loads with 10000"):
        check_rope_config(str(tmp_path), config)


def test_a_prompt_as_text_is_read_as_the_same_ids(tokenizer: PreTrainedTokenizerFast):
    prompt_text = pytest.importorskip("circuitseer_trl.evaluation.answering.backends.completions").prompt_text
    ids = PromptFormat(tokenizer, "Think.").token_ids("Is 7 prime?  \n")
    assert prompt_text(tokenizer, ids) == tokenizer.decode(ids)

    # Llama's way: the template writes the first token, and the tokenizer adds it to any text by itself.
    adding = copy.deepcopy(tokenizer)
    adding.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    assert adding("a")["input_ids"] == [0, *tokenizer("a")["input_ids"]]
    text = prompt_text(adding, [0, *ids])
    assert text == tokenizer.decode(ids)
    assert adding(text)["input_ids"] == [0, *ids]
    with pytest.raises(ValueError, match="Use a server that takes token ids"):
        prompt_text(adding, ids)
    # "an" in two tokens, which the tokenizer makes one of.
    apart = [tokenizer.convert_tokens_to_ids(letter) for letter in "an"]
    assert tokenizer("an")["input_ids"] != apart
    with pytest.raises(ValueError, match="as text it would read another prompt"):
        prompt_text(tokenizer, apart)


LIGHT = """
import sys
from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
options = {"openai": {"base_url": "http://x/v1"}, "replay": {"replay_from": "x"}}
for backend in ("transformers", "vllm", "openai", "replay"):
    EvaluationConfig("m", "o", ["paper", "gsm8k"], backend=backend, **options.get(backend, {})).plan("aime24")
print(*sys.modules)
"""


def test_names_and_keys_are_checked_without_heavy_packages():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "datasets", "pyarrow", "accelerate", "vllm", "openai", "numpy"}
    assert not heavy & set(done.stdout.split())


def test_the_registry_imports_no_backend():
    code = "import sys, circuitseer_trl.evaluation.answering.backends.registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if ".backends." in name] == [
        "circuitseer_trl.evaluation.answering.backends.registry"
    ]


BACKEND = """
from dataclasses import dataclass
from circuitseer_trl.answers import Sample
from circuitseer_trl.evaluation.answering.backends.base import Backend

@dataclass
class ParrotBackend(Backend):
    dtype: str = "auto"

    def open(self, job):
        self.job = job

    def generate(self, requests, on_tokens):
        for each in requests:
            yield [Sample(each.id, each.greedy, each.sample, r"\\boxed{2}", 1, "stop", self.job.settings.seed, each.prompt)]
"""


def test_a_backend_is_its_file_and_a_line(
    tiny_model: str, benchmarks_dir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "parrot_engine.py").write_text(BACKEND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, "parrot", "parrot_engine:ParrotBackend")
    config = EvaluationConfig(
        tiny_model, str(tmp_path / "run"), ["word_problems"], benchmarks_dir, backend="parrot", dtype="float32"
    )
    results = evaluate(config)
    assert results is not None
    assert results["benchmarks"]["word_problems"]["pass_at_1"] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="`attn_implementation` is for `backend: transformers`"):
        EvaluationConfig("m", "o", backend="parrot", attn_implementation="eager")
    with pytest.raises(ValueError, match="`dtype` is for `backend: transformers or vllm or parrot`"):
        EvaluationConfig("m", "o", backend="openai", base_url="http://x/v1", dtype="float32")


@pytest.mark.parametrize(
    ("total", "weights", "expected"),
    [
        (10, [1, 1], [5, 5]),
        (10, [2, 1, 1], [5, 3, 2]),  # 5, 2.5, 2.5: the first of equal remainders
        (7, [0, 0], [4, 3]),
        (100, [50, 30, 19], [51, 30, 19]),  # 50.5, 30.3, 19.2
        (3, [3], [3]),
    ],
)
def test_tokens_of_a_request_are_shared(total: int, weights: list[int], expected: list[int]):
    shares = pytest.importorskip("circuitseer_trl.evaluation.answering.backends.completions").shares
    assert shares(total, weights) == expected


def test_a_missing_package_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("circuitseer_trl.extras.find_spec", lambda name: None)
    for backend, options in (("vllm", {}), ("openai", {"base_url": "http://localhost:1/v1"})):
        config = EvaluationConfig("no/model", str(tmp_path / "run"), backend=backend, **options)
        with pytest.raises(ImportError, match=rf"`backend: {backend}` needs .*'circuitseer-trl\[{backend}\]'"):
            evaluate(config)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def benchmarks_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "word_problems").mkdir()
    rows = [{"problem": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(3)]
    (folder / "word_problems" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def replay(source: Path, folder: Path, benchmarks_dir: str, **changes) -> EvaluationConfig:
    return EvaluationConfig(
        "someone's model", str(folder), ["word_problems"], benchmarks_dir, backend="replay",
        replay_from=str(source), **changes,
    )  # fmt: skip


def opened(source: Path) -> ReplayBackend:
    backend = ReplayBackend(str(source))
    backend.open(Job("m", None, None, SamplingSettings(1)))
    return backend


def write_lines(path: Path, lines: list[dict]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_an_earlier_run_replayed_is_the_same(tiny_model: str, benchmarks_dir: str, tmp_path: Path):
    first = EvaluationConfig(
        tiny_model, str(tmp_path / "first"), ["word_problems"], benchmarks_dir, max_new_tokens=6, num_samples=2,
        temperature=0.8,
    )  # fmt: skip
    expected = evaluate(first)
    assert expected is not None
    for number, source in enumerate((tmp_path / "first", tmp_path / "first" / "generations")):
        folder = tmp_path / str(number)
        measured = evaluate(replay(source, folder, benchmarks_dir, num_samples=2))
        assert measured is not None
        for name in ("generations", "verdicts"):
            lines, originals = (
                [json.loads(line) for line in (each / name / "word_problems.jsonl").read_text().splitlines()]
                for each in (folder, tmp_path / "first")
            )
            for line in [*lines, *originals]:
                for key in ("prompt", "made_with", "check"):  # of the tokens, and of the settings
                    line.pop(key, None)
            assert lines == originals
        for result in (measured, expected):
            for key in ("seconds", "tokens_per_second"):
                result["benchmarks"]["word_problems"].pop(key, None)
        assert measured["benchmarks"] == expected["benchmarks"]
        settings = measured["settings"]
        assert (settings["backend"], settings["replayed_backend"]) == ("replay", "transformers")
        assert (settings["temperature"], settings["max_new_tokens"], settings["prompt_template"]) == (0.8, 6, "chat")
    (tmp_path / "first" / "generations" / "gsm8k.jsonl").write_text('{"id": "gsm8k-0", "text": "7"}\n')
    with pytest.raises(ValueError, match="replayed was"):
        evaluate(replay(tmp_path / "first", tmp_path / "0", benchmarks_dir, num_samples=2))


def test_answers_of_others_are_graded_and_nothing_is_made_up(benchmarks_dir: str, tmp_path: Path):
    texts = ["It is \\boxed{0}.", "\\boxed{3}", "\u2028 \\boxed{4}"]
    lines = [{"id": f"word_problems-{number}", "text": text} for number, text in enumerate(texts)]
    source = write_lines(tmp_path / "answers.jsonl", lines)
    results = evaluate(replay(source, tmp_path / "run", benchmarks_dir, num_samples=0))
    assert results is not None
    measured = results["benchmarks"]["word_problems"]
    assert measured["pass_at_1"] == pytest.approx(2 / 3)
    assert measured["pass_at_1_from"] == "greedy"
    # The file says nothing of these.
    assert (measured["mean_tokens"], measured["truncated_ratio"], measured["tokens_per_second"]) == (None, None, None)
    assert (results["settings"]["temperature"], results["settings"]["system_prompt"]) == (None, None)
    report([str(tmp_path / "run"), "--output", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text()
    assert "<td>3</td><td>-</td>" in page
    assert "backend replay" in page
    assert "temperature" not in page

    # The same lines with a second draw are sampled answers, where such are asked for.
    drawn = [line | {"sample": sample, "finish_reason": "length"} for line in lines for sample in range(2)]
    backend = opened(write_lines(tmp_path / "drawn.jsonl", drawn))
    requests = [draw("word_problems-1", sample) for sample in range(2)]
    counted: list[int] = []
    (samples,) = backend.generate(requests, counted.append)
    assert [(sample.sample, sample.text, sample.finish_reason) for sample in samples] == [
        (0, "\\boxed{3}", "length"),
        (1, "\\boxed{3}", "length"),
    ]
    assert counted == [0]


def test_missing_answers_are_counted_and_named(benchmarks_dir: str, tmp_path: Path):
    source = write_lines(tmp_path / "answers.jsonl", [{"id": "word_problems-1", "sample": 1, "text": "x"}])
    with pytest.raises(
        ValueError, match=r"lacks 8 of 9 answers: word_problems-0 \(greedy\), word_problems-0 \(sample 0\)"
    ):
        evaluate(replay(source, tmp_path / "run", benchmarks_dir, num_samples=2))
    assert not list((tmp_path / "run" / "generations").glob("*"))
    with pytest.raises(FileNotFoundError, match="no answers at"):
        evaluate(replay(tmp_path / "nothing", tmp_path / "run", benchmarks_dir))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Line 2 of .* is not JSON"),
        ("[1]", "not a JSON object"),
        ('{"text": "x"}', "`id` must be of type str, got None"),
        ('{"id": "a", "text": 5}', "`text` must be of type str, got 5"),
        ('{"id": "a", "text": "x", "sample": true}', "`sample` must be of type int"),
        ('{"id": "a", "text": "x", "finish_reason": "eos"}', "must be one of stop, length"),
        ('{"id": "b", "text": "other"}', r"answers b \(sample 0\) once more"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, message: str):
    (tmp_path / "answers.jsonl").write_text('{"id": "b", "text": "x"}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "answers.jsonl")
