"""How does the grader do on other graders' own test cases? They are fetched into a folder of yours; none is in this repository.

    python -m bench.grader_suites DIR            # fetches what is not in DIR, and prints counts and disagreements
    python -m bench.grader_suites DIR --missing  # only the disagreements that have no judgement in suite_judgements.tsv

A suite that cannot be fetched is left out with a line; a file that is put into DIR by hand under its name is taken as it is.
"""

import argparse
import ast
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.grader_cases import Case, boxed
from circuitseer_trl.grading.extraction import extract_answer
from circuitseer_trl.grading.grader import Grader, Question

JUDGEMENTS = Path(__file__).with_name("suite_judgements.tsv")
_GITHUB = "https://raw.githubusercontent.com/{}/{}"
_FORMULA = r"\$\$.*?\$\$|\$[^$]*\$|\\\(.*?\\\)|\\\[.*?\\\]"
# Options that a row of theirs sets and no other grader has.
_OPTIONS = {"strict", "precision", "allow_set_relation_comp", "config"}


@dataclass(frozen=True)
class Suite:
    """The test cases of a grader.

    Attributes:
        files: Their files, by the name in the folder of suites.
        package: Source distribution on PyPI that has them.
        repository: Repository and commit that have them.
    """

    files: dict[str, str]
    package: str | None = None
    repository: tuple[str, str] | None = None


_MATH_VERIFY = ("all", "boxed", "numina_cases", "open_thoughts", "yujianll")
SUITES = {
    "math-verify": Suite(
        {f"math_verify_{name}.py": f"tests/test_{name}.py" for name in _MATH_VERIFY}, package="math-verify==0.9.0"
    ),
    "lighteval": Suite(
        {"lighteval.py": "tests/unit/metrics/test_extractive_match.py"},
        repository=("huggingface/lighteval", "3fd15266bc8448b797e61462d293aa3fd40b3580"),
    ),
    "inspect-ai": Suite(
        {"inspect_ai.json": "tests/scorer/math_cases.json"},
        repository=("UKGovernmentBEIS/inspect_ai", "499e6152e7b8fc8cbd8ac5283536572aa6e4ab17"),
    ),
    "nemo-skills": Suite(
        {"nemo_skills.py": "tests/test_math_equal.py"},
        repository=("NVIDIA/NeMo-Skills", "0b012df8a09cd4730d31b16e90a0d8f13d145fb8"),
    ),
}


def fetch(suite: Suite, folder: Path) -> None:
    """Fetches the files of a suite that are not in the folder.

    Raises:
        OSError: They cannot be fetched.
    """
    missing = {name: path for name, path in suite.files.items() if not (folder / name).is_file()}
    if not missing:
        return
    if suite.repository is not None:
        for name, path in missing.items():
            with urllib.request.urlopen(f"{_GITHUB.format(*suite.repository)}/{path}", timeout=60) as answer:
                (folder / name).write_bytes(answer.read())
        return
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run([*command, "--dest", temporary, str(suite.package)], capture_output=True, text=True)
        archives = list(Path(temporary).glob("*.tar.gz"))
        if done.returncode or not archives:
            raise OSError(f"pip cannot download {suite.package}: {done.stderr.strip()[-200:]}")
        with tarfile.open(archives[0]) as archive:
            for member in archive.getmembers():
                for name, path in missing.items():
                    if member.name.endswith(f"/{path}") and (content := archive.extractfile(member)) is not None:
                        (folder / name).write_bytes(content.read())


def read_suites(folder: Path) -> dict[str, list[Case]]:
    """The cases of the suites whose files are there, without answers in prose."""
    return {
        name: [case for file in suite.files for case in read_cases(folder / file) if not is_prose(case.response)]
        for name, suite in SUITES.items()
        if all((folder / file).is_file() for file in suite.files)
    }


def read_cases(path: Path) -> list[Case]:
    """The cases of a file: of inspect_ai's JSON, or of the tests of a Python file, which is read and not run."""
    if path.suffix == ".json":
        rows = json.loads(path.read_text(encoding="utf-8"))
        triples = [(row["target"], row["output"], row["expected"] == "C") for row in rows]
        known = [(gold, answer, right) for gold, answer, right in triples if isinstance(gold, str)]
        return [make_case(*each) for each in known]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [each for each in tree.body if isinstance(each, ast.FunctionDef)]
    return [make_case(*each) for function in functions for each in _triples(function)]


def make_case(gold: str, answer: str, right: bool) -> Case:
    """A case with a digest of its texts as its id. Of a text with a box that is the answer, and otherwise all of it."""
    digest = hashlib.blake2b(f"{gold}\n{answer}".encode(), digest_size=4).hexdigest()
    whole = extract_answer(answer) is not None or is_prose(answer)
    reference = extract_answer(gold) or gold
    return Case(digest, reference, answer if whole else boxed(answer.strip().strip("$")), right)


def is_prose(response: str) -> bool:
    """Whether an answer without a box stands in sentences. Where it is there is a question of extraction: here, of the box."""
    if extract_answer(response) is not None:
        return False
    plain = re.sub(rf"\\text\{{[^{{}}]*\}}|{_FORMULA}|\\[A-Za-z]+", " ", response, flags=re.DOTALL)
    words = len(re.findall(r"[^\W\d_]{2,}", plain))
    return words >= (1 if re.search(_FORMULA, response, re.DOTALL) else 3) or len(response) > 300


def _triples(function: ast.FunctionDef) -> Iterator[tuple[str, str, bool]]:
    """The (reference, answer, verdict) of a test with `parametrize`."""
    for decorator in function.decorator_list:
        if not (isinstance(decorator, ast.Call) and len(decorator.args) == 2):
            continue
        names, rows = _value(decorator.args[0]), decorator.args[1]
        named = [each.strip() for each in names.split(",")] if isinstance(names, str) else []
        for row in rows.elts if isinstance(rows, ast.List) else []:
            cells = row.elts if isinstance(row, ast.Tuple) else row.args if isinstance(row, ast.Call) else []
            values = [_value(cell) for cell in cells]
            if named == ["output_pair"] and None not in values:  # NeMo-Skills' tests are of pairs, both ways
                one, other = (str(value) for value in values)
                yield from [
                    (one, other, "incorrect" not in function.name),
                    (other, one, "incorrect" not in function.name),
                ]
            by_name = dict(zip(named, values, strict=False))
            verdict = by_name.get("expected", by_name.get("result"))
            texts = (by_name.get("gold"), by_name.get("pred"))
            if verdict is not None and all(isinstance(text, str) for text in texts) and not _OPTIONS & set(named):
                yield str(texts[0]), str(texts[1]), bool(verdict)


def _value(node: ast.expr) -> object:
    """A literal; None for anything else."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


def judgements() -> dict[str, str]:
    """What was found of each disagreement, by the case's digest: who is right, and why."""
    lines = JUDGEMENTS.read_text(encoding="utf-8").splitlines()[1:]
    return {digest: said for _, digest, said in (line.split("\t") for line in lines)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Folder for the files of the suites.")
    parser.add_argument("--missing", action="store_true", help="Print only disagreements that have no judgement yet.")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, suite in SUITES.items():
        try:
            fetch(suite, options.folder)
        except (OSError, urllib.error.URLError) as error:
            print(f"{name} is left out: {error}")
    known = judgements()
    with Grader() as grader:
        for name, cases in read_suites(options.folder).items():
            distinct = list({case.id: case for case in cases}.values())
            verdicts = grader.grade([(case.response, Question(case.gold)) for case in distinct])
            differ = [
                (case, verdict)
                for case, verdict in zip(distinct, verdicts, strict=True)
                if verdict.correct != case.right
            ]
            print(f"{name}: {len(distinct)} cases, {len(distinct) - len(differ)} as theirs, {len(differ)} not")
            for case, verdict in differ:
                if not (options.missing and case.id in known):
                    theirs = "right" if case.right else "wrong"
                    texts = f"{case.gold!r} / {case.response!r}"
                    print(f"  {case.id} {theirs} for them, {verdict.reason} here: {texts}. {known.get(case.id, '')}")


if __name__ == "__main__":
    main()
