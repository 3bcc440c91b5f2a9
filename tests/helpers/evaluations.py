"""Folders as `eval.run` leaves them, with answers made up for tests."""

import json
from pathlib import Path

QUESTIONS = [
    ("What is 3 + 3?", "3 + 3 = 6, so \\boxed{6}"),
    ("Ann has 5 pens and loses 2. How many are left?", "5 - 2 = 3.\n\\boxed{3}"),
    ("Double 8.", "\\boxed{16}"),
    ("Is 9 prime?", "Yes, it is: \\boxed{1}"),
    ("Find 4 times 6.", "4 * 6 = \\boxed{26}"),
    ("How many hours are in 2 days?", "2 * 24 = \\boxed{48}"),
]


def write_evaluation(folder: Path, verdicts: list[bool], benchmark: str = "word_problems") -> str:
    """An evaluation of the first questions with these verdicts; every answer has a greedy and a drawn sample."""
    lines: dict[str, list[dict]] = {"generations": [], "verdicts": []}
    for number, verdict in enumerate(verdicts):
        question, text = QUESTIONS[number]
        for greedy, shown in ((False, "A draw, which does not count."), (True, text)):
            key = {"id": f"{benchmark}-{number}", "greedy": greedy, "sample": 0}
            lines["generations"].append(key | {"text": shown, "num_tokens": 9, "finish_reason": "stop"})
            lines["verdicts"].append(key | {"verdict": verdict == greedy, "question": question, "reason": "test"})
    for name, rows in lines.items():
        (folder / name).mkdir(parents=True)
        (folder / name / f"{benchmark}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def two_evaluations(parent: Path) -> dict[str, str]:
    """Before and after a training that turned two problems right and two wrong; made once a folder."""
    folders = {"before": parent / "before", "after": parent / "after"}
    if not folders["before"].exists():
        write_evaluation(folders["before"], [False, True, False, True, True, True])
        write_evaluation(folders["after"], [True, True, True, False, False, True])
    return {name: str(folder) for name, folder in folders.items()}
