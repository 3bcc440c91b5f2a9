"""Do the documents name what exists? Links, files, tests, commands and recipes, in all Markdown files."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "circuitseer_trl"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/**/*.md")])
ARCHITECTURE = ROOT / "docs" / "architecture.md"
# Folders of the repository whose names stand first in a path; those of the package may be left out ("scoring/ifd.py").
FOLDERS = {path.name for path in [*ROOT.iterdir(), *PACKAGE.iterdir()] if path.is_dir()}
FILE = re.compile(r"(?<![\w./{$-])([\w.-]+/[\w./*-]+\.(?:py|md|ya?ml|json|sbatch|jsonl))(?:::(\w+))?")


def names(pattern: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for found in re.finditer(pattern, page.read_text(encoding="utf-8")):
            yield page.name, found[1]


def headings(page: Path) -> set[str]:
    """The anchors that code hosts give to headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@cache
def functions(test: Path) -> set[str]:
    return set(re.findall(r"^def (\w+)", test.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}, which does not exist"
        assert not anchor or anchor in headings(file), f"{page.name} links to {target}, which has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_tests_exist(page: Path):
    for path, function in FILE.findall(page.read_text(encoding="utf-8")):
        if path.split("/")[0] not in FOLDERS | {PACKAGE.name} or Path(path).stem.isupper():
            continue  # a file of a run, or a placeholder such as NAME
        found = [file for base in (ROOT, PACKAGE) for file in base.glob(path)]
        assert found, f"{page.name} names {path}, which does not exist"
        assert not function or function in functions(found[0]), f"{page.name} names {function}, which {path} has not"


def test_commands_exist():
    steps = {path.stem.replace("_", "-") for path in (PACKAGE / "scripts").glob("*.py")} - {"--init--", "main"}
    for page, name in names(r"(?m)(?:^ +|`)circuitseer ([a-z][a-z-]+)(?= |`|$)"):
        assert name in steps, f"{page} names `circuitseer {name}`"
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for page, name in names(r"(?m)(?:^ +|`)make ([a-z]+)"):
        assert name in targets, f"{page} names `make {name}`"
    for page, name in names(r"-m ((?:circuitseer_trl|eval|bench)[\w.]*\w)"):
        file = ROOT.joinpath(*name.split("."))
        assert file.with_suffix(".py").is_file() or file.is_dir(), f"{page} names the module {name}"


def test_recipes_named_by_name_exist():
    for page, name in names(r"--(?:config|data|selection|sft|eval|accelerate_config) ([\w.-]+(?:/[\w.-]+)?)"):
        if name.isupper() or name.endswith(".yaml"):
            continue  # a placeholder, or a path that another test looks at
        files = [*ROOT.glob(f"recipes/{name}.yaml"), *ROOT.glob(f"recipes/*/{name}.yaml")]
        assert files or (ROOT / "accelerate_configs" / f"{name}.yaml").is_file(), f"{page} names the recipe {name}"


def test_the_tree_is_the_package():
    tree = ARCHITECTURE.read_text(encoding="utf-8").split("## Tree")[1].split("```")[1]
    named, above = set[Path](), dict[int, Path]()
    for line in tree.splitlines():
        if found := re.match(r"( *)(\w+)/", line):
            depth = len(found[1])
            above[depth] = above.get(depth - 4, ROOT) / found[2]
            named.add(above[depth])
    assert not (missing := [str(path) for path in named if not path.is_dir()]), f"no such folders: {missing}"
    folders = {path.parent for path in PACKAGE.rglob("__init__.py")}
    assert not (unnamed := folders - named), f"folders that the tree leaves out: {unnamed}"


def test_private_names_of_others_are_listed():
    page = ARCHITECTURE.read_text(encoding="utf-8").split("## Private names")[1]
    for path in PACKAGE.rglob("*.py"):
        code = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
        for owner, name in re.findall(r"(\w+|\))\.(_[a-z]\w*)", code):
            own = owner in ("self", "cls", "os") or re.search(rf"^ *{name}\b|self\.{name} =", code, re.MULTILINE)
            assert own or (f"{name}`" in page and path.name in page), (
                f"docs/architecture.md leaves out {path.name}'s {name}"
            )


def test_files_for_code_hosts_are_valid():
    files = [*ROOT.glob(".github/**/*.yml"), ROOT / "CITATION.cff"]
    assert len(files) >= 4
    parsed = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files}
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert str(parsed["CITATION.cff"]["version"]) == version[1]
    for step in parsed["check.yml"]["jobs"]["check"]["steps"]:
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1")), "actions are pinned by major version"
