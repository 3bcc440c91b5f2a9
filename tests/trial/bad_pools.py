"""Bad pools: files that are refused, and rows that are dropped and counted."""

from functools import partial
from typing import Any

from tests.trial.bad_input import BadInput
from tests.trial.tiny_run import PROBLEMS, Place, jsonl

GOOD_ROWS: list[Any] = [
    {"problem": problem, "solution": solution, "id": str(number)}
    for number, (problem, solution) in enumerate(PROBLEMS[:12])
]
WHOLE = jsonl(GOOD_ROWS)
CSV = "problem,solution\n" + "".join(f'"{row["problem"]}","{row["solution"]}"\n' for row in GOOD_ROWS)


def _file(name: str, content: str | bytes, place: Place, **keys: Any) -> list[object]:
    return place.select(dataset_name=place.write(name, content), method="random", reference_model=None, **keys)


def _case(name: str, file: str, content: str | bytes, says: str, **keys: Any) -> BadInput:
    return BadInput(name, partial(_file, file, content, **keys), says)


def _row(text: str) -> str:
    """The pool with one more line."""
    return WHOLE + text + "\n" + WHOLE


FILES = [
    _case("empty", "pool.jsonl", "", "is empty"),
    _case("blank lines", "pool.jsonl", "\n \n", "pool.jsonl"),
    _case("cut line", "pool.jsonl", WHOLE[:-20], "Line 12 of"),
    _case("no JSON", "pool.jsonl", _row("problem: 1"), "Line 13 of"),
    _case("a list as row", "pool.jsonl", _row('["a", "b"]'), "Line 13 of"),
    _case("a number as row", "pool.jsonl", _row("3"), "Line 13 of"),
    _case("two rows in a line", "pool.jsonl", _row('{"problem": "a"} {"problem": "b"}'), "Line 13 of"),
    _case("key twice", "pool.jsonl", _row('{"problem": "a", "problem": "b", "solution": "c"}'), "'problem' is there twice"),
    _case("too deep", "pool.jsonl", _row('{"problem": ' + "[" * 200 + "]" * 200 + "}"), "Line 13 of"),
    _case("much too deep", "pool.jsonl", _row('{"problem": ' + "[" * 200_000), "Line 13 of"),
    _case("not UTF-8", "pool.jsonl", WHOLE.encode() + b'{"problem": "\xff", "solution": "1"}\n', "Line 13 of"),
    _case("half a surrogate pair", "pool.jsonl", _row('{"problem": "a\\ud800", "solution": "1"}'), "Line 13 of"),
    _case("UTF-16", "pool.jsonl", WHOLE.encode("utf-16"), "Line 1 of"),
    _case("array without end", "pool.json", "[" + ",".join(WHOLE.splitlines()), "pool.json"),
    _case("array with text after it", "pool.json", f"[{','.join(WHOLE.splitlines())}] 3", "text after its end"),
    _case("empty array", "pool.json", "[]", "pool.json"),
    _case("Parquet that is text", "pool.parquet", WHOLE, "pool.parquet is not a parquet file"),
    _case("cut Parquet", "pool.parquet", b"PAR1" + bytes(200), "pool.parquet is not a parquet file"),
    _case("another ending", "pool.txt", WHOLE, "known endings are"),
    _case("CSV: too many fields", "pool.csv", CSV + "a,b,c\n", "Line "),
    _case("CSV: too few fields", "pool.csv", CSV + "a\n", "Line "),
    _case("CSV: open quote", "pool.csv", CSV + '"a,b\n', "is not CSV"),
    _case("CSV: column twice", "pool.csv", CSV.replace("solution", "problem", 1), "'problem' twice"),
    _case("no such column", "pool.jsonl", WHOLE, "no column 'question'", prompt_column="question"),
    _case("no such category", "pool.jsonl", WHOLE, "no column 'topic'", category_column="topic"),
    _case("ids twice", "pool.jsonl", _row(""), "does not identify the rows", id_column="id"),
    _case("no usable row", "pool.jsonl", '{"problem": "", "solution": "1"}\n', "No row of the pool"),
    _case("budget above the pool", "pool.jsonl", WHOLE, "only 12 usable rows", budget_size=13),
    _case("reference of decontamination is not text", "pool.jsonl", WHOLE, "decontaminate_against",
          decontaminate_against='{"dataset_name": 3}'),
    _case("no such reference of decontamination", "pool.jsonl", WHOLE, "There is no dataset file",
          decontaminate_against="none.jsonl"),
]  # fmt: skip
FILES += [
    BadInput(
        "no such file", lambda place: place.select(dataset_name="none.jsonl"), "There is no dataset file none.jsonl"
    ),
    BadInput(
        "empty folder",
        lambda place: place.select(dataset_name=place.write("d/x/y", "").parent),
        "No (supported) data files found",
    ),
    BadInput(
        "no such split",
        lambda place: place.select(dataset_name=place.write("d/train.jsonl", WHOLE).parent, dataset_split="x"),
        "no files of the split 'x'",
    ),
    BadInput("no name", lambda place: place.select(dataset_name=""), "`dataset_name` is empty"),
    BadInput(
        "a password in the address",
        lambda place: place.select(dataset_name="https://me:secret@host/pool.jsonl"),
        "`dataset_name` is an address with a user or password",
    ),
]

GOOD = {"problem": "Double 4.", "solution": "\\boxed{8}", "id": "x"}
# A row beside good ones, the reason that counts it on the card, and keys of the command.
ROWS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "no problem": (GOOD | {"problem": None}, "no problem", {}),
    "blank problem": (GOOD | {"problem": " \n"}, "blank problem", {}),
    "list as problem": (GOOD | {"problem": ["a", "b"]}, "problem is not text", {}),
    "object as problem": (GOOD | {"problem": {"a": 1}}, "problem is not text", {}),
    "NaN as problem": (GOOD | {"problem": float("nan")}, "no problem", {}),
    "true as problem": (GOOD | {"problem": True}, "problem is not text", {}),
    "number as problem": (GOOD | {"problem": 3}, "problem is not text", {}),
    "NUL in the problem": (GOOD | {"problem": "a\0b"}, "problem has a NUL character", {}),
    "no solution": (GOOD | {"solution": ""}, "no completion", {}),
    "number as solution": (GOOD | {"solution": 8}, "completion is not text", {}),
    "chat of two turns": (
        GOOD | {"problem": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}, "problem", {},
    ),
    "chat without content": (GOOD | {"problem": [{"role": "user"}]}, "problem", {}),
    "traces, none right": (GOOD | {"solution": ["a", "b"], "ok": [False, False]}, "no trace marked correct",
                           {"correct_column": "ok"}),
    "traces, no marks": (GOOD | {"solution": ["a", "b"]}, "no trace marked correct", {}),
    "no id": (GOOD | {"id": None}, "no id", {"id_column": "id"}),
    "float as id": (GOOD | {"id": 1.5}, "id is not text or a whole number", {"id_column": "id"}),
    "list as category": (GOOD | {"topic": ["a"]}, "category is not text or a number", {"category_column": "topic"}),
    "true as difficulty": (GOOD | {"topic": True}, "difficulty is not text or a number", {"difficulty_column": "topic"}),
}  # fmt: skip


def row_words(name: str, place: Place) -> list[object]:
    """A selection from twelve good rows and a bad one."""
    row, _, keys = ROWS[name]
    pool = place.write("pool.jsonl", jsonl([*GOOD_ROWS, row]))
    return place.select(dataset_name=pool, method="random", reference_model=None, **keys)
