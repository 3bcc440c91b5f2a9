"""Bad files that are given by hand: benchmarks, heads, selections, verdicts, answers, results."""

import json
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.trial.bad_input import BadInput
from tests.trial.tiny_run import Place, jsonl

ASKED = {"problem": "Double 8.", "answer": "16"}


def _benchmark(content: str | bytes, place: Place) -> list[object]:
    place.write("own/mine/test.jsonl", content)
    return place.evaluate(benchmarks="mine", benchmarks_dir="own")


def _rows(name: str, row: Any, says: str) -> BadInput:
    return BadInput(name, partial(_benchmark, jsonl([ASKED, row])), says)


def _spec(content: str, place: Place) -> list[object]:
    place.write("eval/benchmarks/mine.yaml", content)
    place.write("own/mine/test.jsonl", jsonl([ASKED]))
    return place.evaluate(benchmarks="mine", benchmarks_dir="own")


GOOD_SPEC = "hub: null\nnumber: 1\nquestion: problem\nanswer: answer\n"
BENCHMARKS = [
    BadInput("empty", partial(_benchmark, ""), "has no rows"),
    BadInput("no JSON", partial(_benchmark, jsonl([ASKED]) + "{"), "Line 2 of"),
    BadInput("not UTF-8", partial(_benchmark, b'{"problem": "\xff", "answer": "1"}\n'), "Line 1 of"),
    BadInput("key twice", partial(_benchmark, '{"problem": "a", "answer": "1", "answer": "2"}\n'), "there twice"),
    _rows("a list as row", [1], "Line 2 of"),
    _rows("no question", {"answer": "1"}, "no text in any of the fields"),
    _rows("number as question", ASKED | {"problem": 3}, "`problem` must be text"),
    _rows("blank question", ASKED | {"problem": " "}, "no text in any of the fields"),
    _rows("no answer", {"problem": "a"}, "there is no field `answer`"),
    _rows("list as answer", ASKED | {"answer": [1, 2]}, "the answer must be text"),
    _rows("NaN as answer", ASKED | {"answer": float("nan")}, "the answer must be text"),
    _rows("true as answer", ASKED | {"answer": True}, "the answer must be text"),
    _rows("list as uid", ASKED | {"uid": ["a"]}, "`uid` must be text"),
    BadInput("uid twice", partial(_benchmark, jsonl([ASKED | {"uid": "a"}] * 2)), "has the `uid` 'a' of Line 1"),
    BadInput("half a surrogate pair", partial(_benchmark, '{"problem": "a\\ud800", "answer": "1"}\n'), "Line 1 of"),
    BadInput(
        "another kind of file",
        lambda place: place.evaluate(benchmarks="b", benchmarks_dir=place.write("own/b/test.csv", "").parents[1]),
        "is not read: a benchmark's rows are JSONL",
    ),
    BadInput("spec: unknown key", partial(_spec, GOOD_SPEC + "anwser: x"), "Did you mean `answer`?"),
    BadInput("spec: key missing", partial(_spec, "hub: null\nnumber: 1\nquestion: problem"), "lacks the key `answer`"),
    BadInput("spec: wrong type", partial(_spec, GOOD_SPEC + "samples: many"), "`samples` in"),
    BadInput("spec: other number", partial(_spec, GOOD_SPEC.replace("1", "2")), "has 1 rows, but mine has 2 problems"),
    BadInput("spec: no such reader", partial(_spec, GOOD_SPEC + "reader: odd"), "must be one of"),
    BadInput("spec: no YAML", partial(_spec, "hub: ["), "mine.yaml is not YAML"),
]


def _heads(card: Any, place: Place) -> list[object]:
    path = place.write("heads.json", card if isinstance(card, str) else json.dumps(card))
    return place.select(heads_file=path)


def _selected(selected: Any) -> dict[str, Any]:
    return {"model": {"name": "m", "fingerprint": "0"}, "selected": selected}


HEADS = [
    BadInput("heads: no file", lambda place: place.select(heads_file="none.json"), "There is no none.json"),
    BadInput("heads: no JSON", partial(_heads, "{"), "heads.json is not JSON"),
    BadInput("heads: a list", partial(_heads, []), "it is no JSON object"),
    BadInput("heads: nothing", partial(_heads, {}), "it has no key 'selected'"),
    BadInput("heads: empty", partial(_heads, _selected([])), "holds no heads"),
    BadInput("heads: below 0", partial(_heads, _selected([[0, -1]])), "holds no heads"),
    BadInput("heads: twice", partial(_heads, _selected([[0, 1], [0, 1]])), "holds no heads"),
    BadInput("heads: fractions", partial(_heads, _selected([[0.7, 1.2]])), "holds no heads"),
    BadInput("heads: true", partial(_heads, _selected([[True, False]])), "holds no heads"),
    BadInput("heads: texts", partial(_heads, _selected([["0", "1"]])), "holds no heads"),
    BadInput("heads: three numbers", partial(_heads, _selected([[0, 1, 2]])), "holds no heads"),
    BadInput("heads: words", partial(_heads, _selected("all")), "holds no heads"),
    BadInput("heads: of another model", partial(_heads, _selected([[0, 1]])), "model"),
    BadInput("heads: model is a text", partial(_heads, _selected([[0, 1]]) | {"model": "m"}), "`model` is no object"),
    BadInput(
        "heads: model without weights", partial(_heads, _selected([[0, 1]]) | {"model": {}}), "the reference model is"
    ),
]


def _table(columns: dict[str, Any], card: Any, place: Place) -> list[object]:
    path = place.folder / "selection.parquet"
    pq.write_table(pa.table(columns), path)
    if card is not None:
        place.write("selection.json", card if isinstance(card, str) else json.dumps(card))
    return place.train(selection_file=path)


COLUMNS = {"row": [0, 1], "uid": ["a", "b"], "weight": [1.0, 1.0]}
CARD = {"method": "random", "pool": {"fingerprint": "0"}, "fingerprint": "0"}
SELECTIONS = [
    BadInput("selection: no card", partial(_table, COLUMNS, None), "There is no"),
    BadInput("selection: card is no JSON", partial(_table, COLUMNS, "{"), "selection.json is not JSON"),
    BadInput("selection: card is empty", partial(_table, COLUMNS, {}), "it has no key"),
    BadInput("selection: card was changed", partial(_table, COLUMNS, CARD), "was changed after it was written"),
    BadInput("selection: a folder", lambda place: place.train(selection_file=place.folder), "selection"),
    BadInput("selection: a pool", lambda place: place.train(selection_file=place.pool), "is no `selection.parquet`"),
]


def _verdicts(content: str, place: Place) -> list[object]:
    path = place.write("verdicts.jsonl", content)
    arguments = json.dumps({"verdicts": str(path)})
    return place.select(method="pass_rate", reference_model=None, method_args=arguments)


def _replay(content: str, place: Place) -> list[object]:
    path = place.write("answers.jsonl", content)
    return place.evaluate(backend="replay", replay_from=path, num_samples=0)


def _answers(**changes: Any) -> str:
    return jsonl([{"id": f"quiz-{number}", "text": "\\boxed{8}"} | changes for number in range(3)])


def _grade(content: str, place: Place) -> list[object]:
    return [
        "grade",
        "--input",
        place.write("in.jsonl", content),
        "--output",
        place.folder / "out.jsonl",
        "--num_workers",
        1,
    ]


RIGHT = {"response": "\\boxed{1}", "gold": "1"}
ANSWERS = [
    BadInput("verdicts: none", partial(_verdicts, ""), "are empty"),
    BadInput("verdicts: no JSON", partial(_verdicts, "{"), "Line 1 of"),
    BadInput("verdicts: no verdict", partial(_verdicts, '{"id": "a"}\n'), "it has no 'verdict'"),
    BadInput("verdicts: a number", partial(_verdicts, '{"id": "a", "verdict": 1}\n'), "It must be true or false"),
    BadInput("verdicts: of another pool", partial(_verdicts, '{"id": "a", "verdict": true}\n'), "has a verdict in"),
    BadInput(
        "verdicts: twice",
        partial(_verdicts, jsonl([{"id": "a", "sample": 0, "verdict": mark} for mark in (True, False)])),
        "another verdict on",
    ),
    BadInput("answers: none", partial(_replay, ""), "lacks 3 of 3 answers"),
    BadInput("answers: no JSON", partial(_replay, _answers() + "{"), "Line 4 of"),
    BadInput("answers: some missing", partial(_replay, _answers().split("\n", 1)[1]), "lacks 1 of 3 answers"),
    BadInput("answers: twice", partial(_replay, _answers() + _answers(text="no")), "once more"),
    BadInput("answers: no text", partial(_replay, _answers(text=None)), "`text` must be of type str"),
    BadInput("answers: number as id", partial(_replay, _answers(id=1)), "`id` must be of type str"),
    BadInput("answers: true as sample", partial(_replay, _answers(sample=True)), "`sample` must be of type int"),
    BadInput(
        "answers: unknown end", partial(_replay, _answers(finish_reason="tired")), "`finish_reason` must be one of"
    ),
    BadInput("answers: tokens below 0", partial(_replay, _answers(num_tokens=-5)), "num_tokens"),
    BadInput("answers: text as seed", partial(_replay, _answers(seed="x")), "`seed` must be of type int"),
    BadInput("answers: changed", partial(_replay, _answers(check="0123456789abcdef")), "Line 1 of"),
    BadInput("grade: no file", lambda place: ["grade", "--input", "none", "--output", "x"], "There is no file none"),
    BadInput("grade: empty", partial(_grade, ""), "in.jsonl"),
    BadInput("grade: no JSON", partial(_grade, jsonl([RIGHT]) + "{"), "Line 2 of"),
    BadInput("grade: no gold", partial(_grade, jsonl([RIGHT, {"response": "1"}])), "`gold` must be text"),
    BadInput("grade: number as gold", partial(_grade, jsonl([RIGHT | {"gold": 1}])), "`gold` must be text"),
    BadInput("grade: choices as text", partial(_grade, jsonl([RIGHT | {"choices": "AB"}])), "`choices` must be texts"),
    BadInput("grade: number as question", partial(_grade, jsonl([RIGHT | {"question": 3}])), "`question` must be text"),
]


def _report(files: dict[str, str], place: Place) -> list[object]:
    for name, content in files.items():
        place.write(f"run/{name}", content)
    return ["report", place.folder / "run", "--output", place.folder / "page.html"]


READERS = [
    BadInput("report: no folder", lambda place: ["report", "none"], "has no results.json"),
    BadInput("report: no JSON", partial(_report, {"results.json": "{"}), "results.json"),
    BadInput("report: a list", partial(_report, {"results.json": "[]"}), "results.json"),
    BadInput("report: nothing", partial(_report, {"results.json": "{}"}), "results.json"),
    BadInput("report: no numbers", partial(_report, {"results.json": '{"model": "m", "benchmarks": {"quiz": 1}}'}), "run"),
    BadInput("compare: no folder", lambda place: ["compare", "none", "nothing"], "none"),
    BadInput("compare: empty folder", lambda place: ["compare", place.write("x/y", "").parent, "."], "x"),
    BadInput("explain: no heads", lambda place: ["explain", *place.select()[1:], "--row", "1"], "heads.json"),
    BadInput(
        "explain: random",
        lambda place: ["explain", *place.select(method="random")[1:], "--row", "1"],
        "can be explained",
    ),
    BadInput("explain: no row", lambda place: ["explain", *place.select()[1:]], "--row"),
    BadInput(
        "pool-benchmark: no answers",
        lambda place: ["pool-benchmark", "--dataset_name", place.write("p.jsonl", '{"problem": "a", "solution": "b"}\n'),
                       "--benchmarks_dir", "own", "--name", "mine"],
        "p.jsonl",
    ),
    BadInput(
        "pool-benchmark: bad name",
        lambda place: ["pool-benchmark", "--dataset_name", place.pool, "--benchmarks_dir", "own", "--name", "../a"],
        "cannot be called",
    ),
]  # fmt: skip
