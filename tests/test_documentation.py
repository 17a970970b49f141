"""What is written about the project is true, and every public function says what it takes."""

import ast
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    *(PROJECT / "docs").rglob("*.md"),
    *(PROJECT / "examples").rglob("*.md"),
]
SOURCES = sorted(
    file for name in ("steelyard", "tasks", "flows") for file in (PROJECT / name).rglob("*.py")
)
ARRAYS = re.compile(r"Floats|Bools|Ints|NDArray|ndarray|DataFrame|Series")
SHAPES = re.compile(r"shape|row|column|\(n", re.IGNORECASE)
SHARE_WITH_ARGS = 0.9

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions() -> Iterator[tuple[str, Function]]:
    """Yield place and definition of every public function and method that takes something.

    Commands are documented by the help of their options.
    """
    for file in SOURCES:
        module = ast.parse(file.read_text())
        classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
        for node in [*module.body, *(member for owner in classes for member in owner.body)]:
            if not isinstance(node, Function) or node.name.startswith("_") or is_command(node):
                continue
            if parameters(node):
                yield f"{file.relative_to(PROJECT)}:{node.lineno} {node.name}", node


def is_command(function: Function) -> bool:
    return any("app.command" in ast.unparse(decorator) for decorator in function.decorator_list)


def parameters(function: Function) -> list[ast.arg]:
    arguments = [*function.args.args, *function.args.kwonlyargs]
    return [argument for argument in arguments if argument.arg not in ("self", "cls")]


def test_public_functions_document_their_parameters() -> None:
    """At least nine in ten of those with two parameters or more have Args.

    Ruff holds the names in them (D417).
    """
    several = {where: node for where, node in public_functions() if len(parameters(node)) > 1}
    silent = [
        where for where, node in several.items() if "Args:" not in str(ast.get_docstring(node))
    ]

    assert len(silent) <= (1 - SHARE_WITH_ARGS) * len(several), "\n".join(silent)


def test_arrays_and_frames_have_their_shape() -> None:
    """Whoever takes one says its shape, its rows or its columns."""
    silent = [
        where
        for where, node in public_functions()
        if any(a.annotation and ARRAYS.search(ast.unparse(a.annotation)) for a in parameters(node))
        and not SHAPES.search(str(ast.get_docstring(node)))
    ]

    assert not silent, "\n".join(silent)


def test_the_example_in_the_readme_runs() -> None:
    """As it stands there, in a fresh process."""
    [example] = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    ended = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, cwd=PROJECT, check=True
    )

    assert ended.stdout.splitlines()[0] == ("weight 0%: [72. 68. 75.], traded: [ True False  True]")


def test_the_readme_is_short() -> None:
    """About 600 words; the rest is in docs."""
    assert len((PROJECT / "README.md").read_text().split()) < 700


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file of the project."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_files_that_are_named_are_there(page: Path) -> None:
    """A file of the project that a page names, such as ``conf/weight.yaml``, exists."""
    folders = "steelyard|tasks|flows|tests|e2e|docs|conf|expectations|examples|benchmarks"
    named = re.findall(rf"`((?:{folders})/[\w./-]+\.\w+)`", page.read_text())

    assert [file for file in named if not (PROJECT / file).exists()] == []


def test_the_pictures_are_drawn_by_the_rules_and_the_imports() -> None:
    """``make pictures`` would draw the same; simulated lives are left out, which take seconds."""
    site = PROJECT / "docs" / "_site"
    architecture, concepts = (
        runpy.run_path(str(site / name)) for name in ("architecture.py", "concepts.py")
    )
    drawn = {architecture["PICTURE"]: architecture["draw"]()} | {
        concepts["PICTURES"] / name: draw() for name, draw in concepts["AT_ONCE"].items()
    }

    stale = [file.name for file, now in drawn.items() if file.read_text(encoding="utf-8") != now]
    assert stale == [], "make pictures"


def test_every_page_is_in_the_menu_of_the_site() -> None:
    """Decisions are listed on their own page."""
    menu = (PROJECT / "mkdocs.yml").read_text()
    pages = [
        page.relative_to(PROJECT / "docs").as_posix() for page in (PROJECT / "docs").rglob("*.md")
    ]

    missing = [page for page in pages if f" {page}\n" not in menu]
    assert [page for page in missing if not page.startswith("decisions/0")] == []
