"""The house rules, as tests: layout, layers, style, types, and how long things may get."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

PACKAGES = ("featurehub", "saes", "labeling", "api")
TOP_LEVEL = {"LICENSE", "Makefile", "README.md", "api", "featurehub", "labeling", "pyproject.toml", "saes", "tests"}
FUNCTION_LINES, FILE_LINES, DOCSTRING_LINES = 60, 300, 30
Function = ast.FunctionDef | ast.AsyncFunctionDef


def run(root: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """A tool of this environment, whatever PATH says."""
    tool = Path(sys.executable).with_name(command[0])
    return subprocess.run([str(tool), *command[1:]], cwd=root, capture_output=True, text=True, timeout=500)


def sources(root: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "--no-cache", "."),
        ("ruff", "format", "--check", "--no-cache", "."),
        ("lint-imports", "--no-cache"),
        ("pyright",),
    ],
    ids=" ".join,
)
def test_the_tool_has_nothing_to_complain_of(root: Path, command: tuple[str, ...]) -> None:
    done = run(root, *command)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_nothing_else_stands_at_the_top(root: Path) -> None:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=root, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    found = {line.split("/")[0] for line in done.stdout.splitlines()}
    assert {name for name in found if not name.startswith(".")} == TOP_LEVEL


def test_tests_are_no_packages(root: Path) -> None:
    assert not list((root / "tests").rglob("__init__.py"))


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def test_functions_are_short_enough_to_read(root: Path) -> None:
    lengths = {
        f"{path.relative_to(root)}:{f.lineno} {f.name}": (f.end_lineno or f.lineno) - f.lineno + 1
        for path in sources(root, *PACKAGES)
        for f in functions(path)
    }
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_files_are_short_enough_to_read(root: Path) -> None:
    lengths = {
        str(path.relative_to(root)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources(root, *PACKAGES)
    }
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_only_the_command_line_prints(root: Path) -> None:
    calls = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in sources(root, *PACKAGES)
        if "cli" not in path.relative_to(root).parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert calls == []


def test_every_module_and_package_says_what_it_is_for(root: Path) -> None:
    for path in sources(root, *PACKAGES):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if path.name != "__init__.py" or path.read_text(encoding="utf-8").strip():
            assert docstring, path
        if path.name == "__init__.py":
            assert len(docstring.splitlines()) <= DOCSTRING_LINES, path


def modules() -> Iterator[str]:
    for package in PACKAGES:
        yield package
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            # Alembic runs these; they need its context.
            if ".migrations" not in found.name:
                yield found.name


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore::DeprecationWarning:vllm")
def test_every_module_can_be_imported_and_has_the_names_that_it_exports() -> None:
    for name in modules():
        module: ModuleType = importlib.import_module(name)
        exported: list[str] = list(getattr(module, "__all__", ()))
        missing = [each for each in exported if not hasattr(module, each)]
        assert not missing, f"{name}: {missing}"
        assert len(set(exported)) == len(exported), name


def test_the_four_packages_come_from_this_checkout(root: Path) -> None:
    for package in PACKAGES:
        assert Path(importlib.import_module(package).__file__ or "").resolve().parents[1] == root


def test_no_registry_host_stands_in_the_repository(root: Path) -> None:
    """Where packages come from is the machine's business."""
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "--index" + "-url", "--extra-index" + "-url"]
    files = [root / "Makefile", root / "pyproject.toml", *(root / ".requirements").glob("*"), *(root / ".ci").glob("*")]
    assert [f"{path.name}: {host}" for path in files for host in hosts if host in path.read_text()] == []
