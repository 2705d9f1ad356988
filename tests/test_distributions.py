"""Two distributions from one tree: they are built and installed as users get them, without the network."""

import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement

pytest.importorskip("hatchling", reason="hatchling builds the distributions: install the extra dev")

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "featurehub" / "demo" / "bundle"
MEGABYTE = 10**6
PLANTED = ("base", "siblings")


class Built(NamedTuple):
    """What one project builds."""

    wheel: Path
    sdist: Path

    @property
    def wheel_names(self) -> list[str]:
        with zipfile.ZipFile(self.wheel) as wheel:
            return wheel.namelist()

    @property
    def sdist_names(self) -> list[str]:
        """Without the folder that holds them all."""
        with tarfile.open(self.sdist) as sdist:
            return [name.partition("/")[2] for name in sdist.getnames()]

    @property
    def metadata(self) -> Any:
        [name] = [each for each in self.wheel_names if each.endswith(".dist-info/METADATA")]
        with zipfile.ZipFile(self.wheel) as wheel:
            return Parser().parsestr(wheel.read(name).decode())


def build(project: Path, out: Path) -> Built:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(out)]
    subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    return Built(next(out.glob("*.whl")), next(out.glob("*.tar.gz")))


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """featurehub."""
    return build(ROOT, tmp_path_factory.mktemp("main"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """featurehub-demo."""
    return build(BUNDLE, tmp_path_factory.mktemp("demo"))


def test_what_an_sdk_user_downloads_is_small(main: Built) -> None:
    assert main.wheel.stat().st_size < 1.5 * MEGABYTE
    assert main.sdist.stat().st_size < 1.5 * MEGABYTE


def test_the_main_wheel_has_the_packages_and_neither_bundle_nor_tests(main: Built) -> None:
    assert "featurehub/py.typed" in main.wheel_names
    assert {name.split("/")[0] for name in main.wheel_names if ".dist-info" not in name} == {
        "api", "featurehub", "labeling", "saes"
    }  # fmt: skip
    for name in (*main.wheel_names, *main.sdist_names):
        assert not name.endswith((".safetensors", ".db")), name
        assert "bundle/" not in name, name
        assert "test" not in name.split("/")[0], name
    assert "featurehub/demo/bundle.py" in main.wheel_names


def test_the_demo_wheel_has_the_whole_bundle_and_nothing_else(demo: Built) -> None:
    there = {str(path.relative_to(BUNDLE)) for path in tracked(BUNDLE / "featurehub_demo")}
    assert {name for name in demo.wheel_names if ".dist-info" not in name} == there
    assert there < set(demo.sdist_names)


def test_what_the_bundle_holds_stays_within_its_bounds() -> None:
    sizes = {path: path.stat().st_size for path in tracked(BUNDLE / "featurehub_demo")}
    planted = sum(size for path, size in sizes.items() if path.parts[len(BUNDLE.parts) + 1] in PLANTED)
    assert planted <= 20 * MEGABYTE
    assert sum(sizes.values()) - planted <= 25 * MEGABYTE


def test_both_have_one_version_one_license_and_the_extras_that_serve_ask_for_it(main: Built, demo: Built) -> None:
    version = main.metadata["Version"]
    assert demo.metadata["Version"] == version
    assert (BUNDLE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    serve = {name for name, asked in extras.items() if any(Requirement(each).name.startswith("vllm") for each in asked)}
    bring = {name for name, asked in extras.items() if f"featurehub-demo=={version}" in asked}
    assert serve == bring == {"cpu", "cuda"}


class Fresh(NamedTuple):
    """A virtual environment of its own."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def install(self, *wheels: Path) -> None:
        """Installs wheels; what they ask for is linked, not installed."""
        uv = Path(sys.executable).with_name("uv")
        asked = ["--no-deps", "--offline", "--no-index", "--quiet"]
        command = [str(uv), "pip", "install", "--python", str(self.python), *asked, *map(str, wheels)]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def link(self, distributions: Iterable[Distribution]) -> None:
        """Puts distributions of this environment there as they are."""
        site = next(self.folder.glob("lib/python*/site-packages"))
        for each in distributions:
            for top in {file.parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
                if not (site / top).exists():
                    (site / top).symlink_to(Path(str(each.locate_file(top))))

    def run(self, *command: str | Path) -> "subprocess.CompletedProcess[str]":
        """A command of this environment, away from the checkout."""
        words = [str(self.folder / "bin" / command[0]), *map(str, command[1:])]
        return subprocess.run(words, cwd=self.folder, env={"HOME": str(self.folder)}, capture_output=True, text=True)

    def python_says(self, code: str) -> str:
        done = self.run("python", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def fresh(folder: Path, built: Built, extras: tuple[str, ...] = (), *wheels: Path) -> Fresh:
    """An environment with the main wheel, what it asks for with these extras, and further wheels."""
    venv.create(folder, symlinks=True)
    environment = Fresh(folder)
    asked = (Requirement(each) for each in built.metadata.get_all("Requires-Dist"))
    environment.link(closure(asked, extras))
    environment.install(built.wheel, *wheels)
    return environment


def closure(asked: Iterable[Requirement], extras: tuple[str, ...] = ()) -> list[Distribution]:
    """The distributions that a list of requirements brings, each once."""
    found: dict[str, Distribution] = {}

    def follow(requirements: Iterable[Requirement], extras: Iterable[str]) -> None:
        for requirement in requirements:
            if not wanted(requirement, extras) or requirement.name in found:
                continue
            found[requirement.name] = distribution(requirement.name)
            assert requirement.specifier.contains(found[requirement.name].version, prereleases=True), requirement
            follow(map(Requirement, found[requirement.name].requires or ()), requirement.extras)

    follow(asked, extras)
    return list(found.values())


def wanted(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def tracked(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def test_the_sdk_works_alone_and_says_what_lacks_for_the_demo(main: Built, tmp_path: Path) -> None:
    alone = fresh(tmp_path / "venv", main)
    heavy = "from importlib.util import find_spec; print([n for n in ('torch', 'numpy', 'typer') if find_spec(n)])"
    assert alone.python_says(heavy) == "[]"
    assert alone.python_says("from featurehub import Client, Variant; print(Variant('demo').set('pirate', 0.7).model)")
    code = (
        "from featurehub.demo.bundle import bundled_model\nfrom featurehub.errors import ModelNotFound\n"
        "try:\n    bundled_model()\nexcept ModelNotFound as error:\n    print(error)"
    )
    said = alone.python_says(code)
    assert f"pip install featurehub-demo=={main.metadata['Version']}" in said
    assert "cpu" in said
    assert "cuda" in said


def test_the_command_line_works_with_the_registry_and_finds_an_installed_bundle(
    main: Built, demo: Built, tmp_path: Path
) -> None:
    both = fresh(tmp_path / "venv", main, ("registry",), demo.wheel)
    shown = both.run("featurehub", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Feature steering" in shown.stdout
    code = "from featurehub.demo import bundled_model, sibling; print(bundled_model()); print(sibling('changed'))"
    for folder in map(Path, both.python_says(code).splitlines()):
        assert folder.is_relative_to(tmp_path)
        assert (folder / "model.safetensors").is_file()


def test_in_a_checkout_the_bundle_of_the_tree_is_used() -> None:
    from featurehub.demo.bundle import bundle

    assert bundle() == BUNDLE / "featurehub_demo"
