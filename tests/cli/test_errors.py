"""Bad input to the commands ends as one line that names it, with exit code 2 and no traceback."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from featurehub.artifacts.artifact import WEIGHTS, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli import main as main_module
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The console script's function in this process: what it exits with, and what it says in how many lines."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["featurehub", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main_module.main()
        said = capsys.readouterr()
        text = said.out + said.err
        assert "Traceback" not in text
        return int(ended.value.code or 0), text

    return call


def assert_refused(outcome: tuple[int, str], *named: str) -> None:
    code, text = outcome
    assert code == 2
    errors = [line for line in text.splitlines() if line.startswith("error")]
    assert len(errors) == 1, text
    for each in named:
        assert each in errors[0]


def write_artifact(folder: Path, d_model: int = 192) -> Path:
    """A random SAE of the bundled model's second layer, sealed."""
    folder.mkdir()
    W = torch.randn(8, d_model, generator=torch.Generator().manual_seed(0))
    Dictionary(W.clone(), W, torch.zeros(8), torch.zeros(d_model), torch.zeros(8)).save(folder / WEIGHTS)
    hook = HookPoint(layer=1)
    fields = {
        "name": "sae", "architecture": "batchtopk", "d_model": d_model, "d_sae": 8, "k": 2.0, "hook": hook,
        "model": identify(bundled_model(), hook), "dataset": {}, "training": {}, "metrics": {}, "created": "2026-01-01",
    }  # fmt: skip
    seal(folder, fields)
    return folder


@pytest.fixture
def sae(tmp_path: Path) -> Path:
    return write_artifact(tmp_path / "sae")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the loan is good .\n\n" * 100)
    return path


def truncated(model: Path) -> Path:
    shutil.copytree(bundled_model(), model)
    weights = next(model.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    return model


def test_building_from_a_missing_text_file(run: Run, tmp_path: Path) -> None:
    arguments = ("--text", tmp_path / "nowhere.json", "--out", tmp_path / "out")
    assert_refused(run("build", bundled_model(), *arguments), "nowhere.json")


def test_building_from_a_text_file_that_is_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    assert_refused(run("build", bundled_model(), "--text", tmp_path / "bad.json", "--out", tmp_path / "o"), "bad.json")


def test_building_on_a_missing_model(run: Run, text: Path, tmp_path: Path) -> None:
    outcome = run("build", tmp_path / "gone", "--text", text, "--out", tmp_path / "out")
    assert_refused(outcome, "gone", "no model in", "Hugging Face format")
    assert not (tmp_path / "out").exists()


def test_building_on_a_truncated_model(run: Run, text: Path, tmp_path: Path) -> None:
    outcome = run("build", truncated(tmp_path / "cut"), "--text", text, "--out", tmp_path / "out")
    assert_refused(outcome, "model.safetensors is damaged", "Fetch or build it again")
    assert not (tmp_path / "out").exists()


def test_building_at_a_layer_that_the_model_lacks(run: Run, text: Path, tmp_path: Path) -> None:
    outcome = run("build", bundled_model(), "--text", text, "--out", tmp_path / "out", "--layer", 99)
    assert_refused(outcome, "hook layer 99", "has layers 0 to")


def test_an_architecture_that_the_engine_does_not_know(run: Run, text: Path, tmp_path: Path) -> None:
    model = shutil.copytree(bundled_model(), tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "architectures": ["StrangeForCausalLM"]}))
    assert_refused(run("build", model, "--text", text, "--out", tmp_path / "out"), "StrangeForCausalLM", "It knows")


@pytest.mark.parametrize("command", ["serve", "drift check"])
class TestArtifacts:
    def call(self, run: Run, command: str, model: Path, sae: Path) -> tuple[int, str]:
        database = ("--db", sae.parent / "features.db")
        if command == "serve":
            return run("serve", model, "--sae", sae, *database)
        return run("drift", "check", sae, "--model", model, *database)

    def test_a_missing_model(self, run: Run, command: str, sae: Path, tmp_path: Path) -> None:
        assert_refused(self.call(run, command, tmp_path / "gone", sae), "gone", "no model in")

    def test_a_truncated_model(self, run: Run, command: str, sae: Path, tmp_path: Path) -> None:
        assert_refused(self.call(run, command, truncated(tmp_path / "cut"), sae), "model.safetensors is damaged")

    def test_a_missing_sae(self, run: Run, command: str, tmp_path: Path) -> None:
        outcome = self.call(run, command, bundled_model(), tmp_path / "gone")
        assert_refused(outcome, "gone", "manifest.json is missing", "featurehub build")

    def test_an_sae_of_the_wrong_width(self, run: Run, command: str, tmp_path: Path) -> None:
        narrow = write_artifact(tmp_path / "narrow", d_model=64)
        assert_refused(self.call(run, command, bundled_model(), narrow), "width 64", "192", "featurehub build")

    def test_a_truncated_sae(self, run: Run, command: str, sae: Path) -> None:
        (sae / WEIGHTS).write_bytes((sae / WEIGHTS).read_bytes()[:-10])
        assert_refused(self.call(run, command, bundled_model(), sae), WEIGHTS, "does not match its hash")

    def test_an_sae_without_its_weights(self, run: Run, command: str, sae: Path) -> None:
        (sae / WEIGHTS).unlink()
        assert_refused(self.call(run, command, bundled_model(), sae), WEIGHTS, "is missing")


def test_serving_an_sae_that_the_database_does_not_have(run: Run, sae: Path, tmp_path: Path) -> None:
    outcome = run("serve", bundled_model(), "--sae", sae, "--db", tmp_path / "other.db")
    assert_refused(outcome, "other.db", "--db")


def test_serving_nothing(run: Run) -> None:
    assert_refused(run("serve"), "MODEL", "--sae", "--demo", "--planted")


def test_serving_two_demos(run: Run) -> None:
    assert_refused(run("serve", "--demo", "--planted"), "--demo and --planted", "one of them")


def test_the_console_script_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "featurehub.cli.main", "build", str(bundled_model())]
    arguments = ["--text", str(tmp_path / "nowhere.txt"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env={**os.environ, "COLUMNS": "40"}, timeout=300
    )
    assert done.returncode == 2
    said = done.stderr.strip().splitlines()
    assert len(said) == 1, said
    assert "nowhere.txt" in said[0]
    assert "Traceback" not in done.stdout + done.stderr
