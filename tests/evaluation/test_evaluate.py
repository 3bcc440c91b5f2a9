import json
import re
import shutil
from pathlib import Path

import pytest

from circuitseer_trl.evaluation.evaluation_config import EvaluationConfig
from circuitseer_trl.evaluation.run import evaluate
from circuitseer_trl.scripts.report import main as report
from tests.helpers.launch import launch


@pytest.fixture(scope="module")
def benchmarks_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("benchmarks")
    (folder / "word_problems").mkdir()
    rows = [{"problem": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(6)]
    (folder / "word_problems" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def config(model: str, benchmarks_dir: str, output_dir: Path, **changes) -> EvaluationConfig:
    values = {"benchmarks": ["word_problems"], "max_new_tokens": 12, "num_samples": 4, "dtype": "float32"} | changes
    return EvaluationConfig(
        model_name_or_path=model, output_dir=str(output_dir), benchmarks_dir=benchmarks_dir, **values
    )


@pytest.fixture(scope="module")
def finished(tiny_model: str, benchmarks_dir: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "tiny"
    evaluate(config(tiny_model, benchmarks_dir, folder))
    return folder


def test_results_of_a_tiny_model(finished: Path):
    results = json.loads((finished / "results.json").read_text())
    measured = results["benchmarks"]["word_problems"]
    assert (measured["num_problems"], measured["num_samples"], measured["pass_at_1_from"]) == (6, 4, "greedy")
    for key in ("pass_at_1", "majority_at_n", "truncated_ratio", "unanswered_ratio"):
        assert 0 <= measured[key] <= 1
    assert measured["seconds"] > 0
    assert measured["tokens_per_second"] > 0
    assert results["average"]["pass_at_1"] == measured["pass_at_1"]
    assert results["settings"]["repetition_penalty"] == 1.0
    assert results["settings"]["prompt_template"] == "chat"
    samples = [json.loads(line) for line in (finished / "generations" / "word_problems.jsonl").read_text().splitlines()]
    verdicts = [json.loads(line) for line in (finished / "verdicts" / "word_problems.jsonl").read_text().splitlines()]
    keys = [
        (f"word_problems-{n}", greedy, s)
        for n in range(6)
        for greedy, s in [(True, 0), *((False, s) for s in range(4))]
    ]
    assert [(line["id"], line["greedy"], line["sample"]) for line in samples] == keys
    assert [(line["id"], line["greedy"], line["sample"]) for line in verdicts] == keys
    of_all = {"id", "greedy", "sample", "extracted", "verdict", "reason", "undecided", "vote_class"}
    assert set(verdicts[0]) == of_all | {"question", "reference"}
    assert set(verdicts[1]) == of_all
    assert (measured["benchmark_size"], results["format"], results["settings"]["limit"]) == (6, 2, None)


def test_progress_tells_answers_tokens_and_the_time_left(
    tiny_model: str, benchmarks_dir: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("circuitseer_trl.evaluation.answering.schedule._REFRESH_SECONDS", 0.0)
    evaluate(config(tiny_model, benchmarks_dir, tmp_path))
    bars = capsys.readouterr().err
    assert re.search(r"word_problems: 100%.* 30/30 \[\d+:\d+<00:00, .*answer/s, \d+ tokens/s\]", bars)
    # It moves with tokens, before the first answer is finished.
    assert re.search(r" 0/30 \[\d+:\d+<\?, \?answer/s, \d+ tokens/s\]", bars)


def test_resume_after_a_torn_line(finished: Path, tiny_model: str, benchmarks_dir: str, tmp_path: Path):
    whole = (finished / "generations" / "word_problems.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    for kept in (b"", lines[0][:20], b"".join(lines[::2]) + lines[1][:-1]):
        folder = tmp_path / str(len(kept))
        file = folder / "generations" / "word_problems.jsonl"
        file.parent.mkdir(parents=True)
        file.write_bytes(kept)
        evaluate(config(tiny_model, benchmarks_dir, folder, batch_size=5))
        assert file.read_bytes() == whole


def test_what_is_damaged_is_made_again(
    finished: Path, tiny_model: str, benchmarks_dir: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    generations, results = folder / "generations" / "word_problems.jsonl", folder / "results.json"
    whole, measured = generations.read_bytes(), json.loads(results.read_text())["benchmarks"]
    lines = whole.splitlines(keepends=True)
    generations.write_bytes(
        b"".join([*lines[:7], lines[7].replace(b'"seed": 42', b'"seed": 43'), lines[8][:30], *lines[9:]])
    )
    results.write_text(results.read_text()[:200])
    (folder / "verdicts" / "word_problems.jsonl").write_bytes(b"")
    evaluate(config(tiny_model, benchmarks_dir, folder, batch_size=3))
    assert generations.read_bytes() == whole
    assert f"{generations}: 2 lines are left out, and their answers are generated again. Line 8 of" in caplog.text
    assert "results.json is not JSON that can be read" in caplog.text
    again = json.loads(results.read_text())["benchmarks"]
    times = {"seconds": 0, "tokens_per_second": 0}
    assert again["word_problems"] | times == measured["word_problems"] | times
    assert (folder / "verdicts" / "word_problems.jsonl").read_bytes() == (
        finished / "verdicts" / "word_problems.jsonl"
    ).read_bytes()
    # Another limit changes the verdicts, and keeps the time of the answers.
    evaluate(config(tiny_model, benchmarks_dir, folder, limit=4))
    fewer = json.loads(results.read_text())["benchmarks"]["word_problems"]
    assert (fewer["num_problems"], fewer["benchmark_size"]) == (4, 6)
    assert fewer["seconds"] == again["word_problems"]["seconds"] > 0
    assert generations.read_bytes() == whole


def test_answers_of_another_folder_are_refused(finished: Path, other_model: str, benchmarks_dir: str, tmp_path: Path):
    other = config(other_model, benchmarks_dir, tmp_path / "other", num_samples=0)
    evaluate(other)
    shutil.copy(finished / "generations" / "word_problems.jsonl", tmp_path / "other" / "generations")
    with pytest.raises(ValueError, match=r"Line 1 of .* is an answer of an evaluation with other settings"):
        evaluate(other)


def test_a_finished_run_generates_nothing_again(
    finished: Path, tiny_model: str, benchmarks_dir: str, monkeypatch: pytest.MonkeyPatch
):
    before = json.loads((finished / "results.json").read_text())
    monkeypatch.setattr(
        "circuitseer_trl.modeling.loading.load_model",
        lambda *args, **kwargs: pytest.fail("the model was loaded"),
    )
    evaluate(config(tiny_model, benchmarks_dir, finished))
    assert json.loads((finished / "results.json").read_text()) == before


def test_other_settings_are_refused_by_name(finished: Path, tiny_model: str, other_model: str, benchmarks_dir: str):
    with pytest.raises(ValueError, match=r"temperature was 0\.6 and is now 0\.7"):
        evaluate(config(tiny_model, benchmarks_dir, finished, temperature=0.7))
    with pytest.raises(ValueError, match="model_fingerprint"):
        evaluate(config(other_model, benchmarks_dir, finished))


def test_another_benchmark_file_is_refused(finished: Path, tiny_model: str, tmp_path: Path):
    (tmp_path / "word_problems").mkdir()
    (tmp_path / "word_problems" / "test.jsonl").write_text('{"problem": "What is 1 - 1?", "answer": "0"}\n')
    with pytest.raises(ValueError, match="another prompt than it has now"):
        evaluate(config(tiny_model, str(tmp_path), finished))


@pytest.mark.engine
def test_two_processes_give_the_samples_of_one(finished: Path, tiny_model: str, benchmarks_dir: str, tmp_path: Path):
    flags = ["--model_name_or_path", tiny_model, "--benchmarks_dir", benchmarks_dir, "--benchmarks", "word_problems"]
    flags += ["--max_new_tokens", 12, "--num_samples", 4, "--dtype", "float32", "--output_dir", tmp_path / "run"]
    done = launch("tests.programs.two_ranks", *flags, num_processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "word_problems Pass@1" in done.stdout
    assert sorted(re.findall(r"rank (\d) of 2 answered (\d+)", done.stdout)) == [("0", "15"), ("1", "15")]
    files = sorted(path.name for path in (tmp_path / "run" / "generations").iterdir())
    assert files == ["word_problems.jsonl"]
    name = Path("generations") / "word_problems.jsonl"
    assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()


def test_presets_and_plans():
    paper = EvaluationConfig(model_name_or_path="m", output_dir="o", preset="paper")
    assert (paper.repetition_penalty, paper.vote, paper.max_new_tokens, paper.temperature, paper.top_p) == (
        1.05,
        "raw",
        16384,
        0.6,
        0.95,
    )
    assert len(paper.benchmarks) == 9
    assert (paper.plan("aime24"), paper.plan("math500")) == ((False, 16), (True, 0))
    assert EvaluationConfig(model_name_or_path="m", output_dir="o", num_samples=8).plan("aime24") == (True, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0}, "num_samples: 0"),
        ({"top_p": 1.5}, "top_p"),
        ({"num_samples": -1}, "num_samples"),
        ({"benchmarks": ["aime26"]}, "Unknown benchmark"),
        ({"backend": "sglang"}, "`backend` must be one of transformers, vllm, openai, replay"),
        ({"backend": "openai"}, "base_url"),
        ({"backend": "openai", "base_url": "localhost:8000"}, "http://localhost:8000/v1"),
        ({"backend": "openai", "base_url": "http://localhost:8000/v1", "concurrency": 0}, "concurrency"),
        ({"backend": "openai", "base_url": "http://x/v1", "request_timeout_seconds": 0}, "request_timeout_seconds"),
        (
            {"backend": "openai", "base_url": "http://x/v1", "dtype": "float16"},
            "`dtype` is for `backend: transformers or",
        ),
        ({"base_url": "http://localhost:8000/v1"}, "`base_url` is for `backend: openai`"),
        ({"backend": "vllm", "tensor_parallel_size": 0}, "tensor_parallel_size"),
        ({"tensor_parallel_size": 2}, "`tensor_parallel_size` is for `backend: vllm`"),
        ({"backend": "replay"}, "replay_from"),
        ({"backend": "vllm", "replay_from": "runs/a"}, "`replay_from` is for `backend: replay`"),
        ({"preset": "papers"}, "preset"),
        ({"limit": 0}, "limit"),
        ({"batch_size": "8"}, "batch_size"),
        ({"num_grading_workers": 0}, "num_grading_workers"),
        ({"benchmarks": None}, "`benchmarks` must be a list of names, got None"),
        ({"benchmarks": [5]}, "A benchmark cannot be called 5"),
    ],
)
def test_bad_values_are_named(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(model_name_or_path="m", output_dir="o", **changes)


def test_a_model_without_a_chat_template_is_told_everywhere(
    tiny_model: str, benchmarks_dir: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    for file in base.glob("chat_template*"):
        file.unlink()
    settings = json.loads((base / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (base / "tokenizer_config.json").write_text(json.dumps(settings))
    results = evaluate(config(str(base), benchmarks_dir, tmp_path / "run"))
    assert results is not None
    assert results["settings"]["prompt_template"] == "plain"
    assert f"{base} has no chat template; the plain template is used" in caplog.text
    report([str(tmp_path / "run"), "--output", str(tmp_path / "report.html")])
    assert "prompt_template plain" in (tmp_path / "report.html").read_text()
    shutil.copy(Path(tiny_model) / "tokenizer_config.json", base)
    for file in Path(tiny_model).glob("chat_template*"):
        shutil.copy(file, base)
    with pytest.raises(ValueError, match="prompt_template was 'plain' and is now 'chat'"):
        evaluate(config(str(base), benchmarks_dir, tmp_path / "run"))
