"""README's commands are run: with the built demo for MODEL and SAE, and against its server where they talk to one."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from featurehub.cli.main import app
from featurehub.demo.bundle import bundled_model

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
# Run for hours or for minutes, or write into this tree: only that they exist and take these options is checked here;
# other tests run them.
LONG = (
    "featurehub build",
    "featurehub demo build",
    "featurehub serve",
    "featurehub train",
    "featurehub label",
    "featurehub calibrate",
    "featurehub refresh",
    "featurehub saes import",
    "featurehub saes eval",
    "featurehub saes serve",
    "featurehub transcoder",
    "featurehub demo train",
    "featurehub demo siblings",
    "featurehub demo bundle",
    "featurehub demo chats",
    "featurehub demo tune",
    "featurehub demo merge",
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.replace("'{\n", "'{").splitlines() if line.strip()]


SHELL = [command for command in commands() if command.startswith("featurehub ")]


def run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    arguments = [sys.executable, "-m", "featurehub.cli.main", *command[1:]] if command[0] == "featurehub" else command
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=500)


def test_the_readme_shows_commands_of_every_kind() -> None:
    assert len(SHELL) >= 8
    assert len(blocks("python")) == 1


@pytest.mark.parametrize("command", [c for c in SHELL if not c.startswith(LONG)])
def test_its_short_commands_run(command: str, built: Any, tmp_path: Path) -> None:
    words = shlex.split(command)
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(["the pirate counts the loan ."] * 20))
    names = {"SAE": str(built.artifact.folder), "RETRAINED": str(bundled_model()), "MODEL": str(bundled_model())}
    names |= {"TEXTS.json": str(texts), "HARVEST": str(tmp_path / "harvest")}
    names |= {"FOLDER": str(tmp_path / "folder"), "LABELS.json": str(tmp_path / "labels.json")}
    # Of a latent that is no feature, so that what other tests share keeps its names.
    label = {"modelId": "m", "layer": "1-res", "index": 1 << 20, "description": "nothing of ours"}
    (tmp_path / "labels.json").write_text(json.dumps([label]))
    if words[1] in ("drift", "features", "saes", "watch") and words[2] != "catalog":
        words += ["--db", built.database]
    if words[1] == "watch":
        shutil.copytree(bundled_model(), tmp_path / "models" / "step-1")
        names["MODELS"] = str(tmp_path / "models")
        words += ["--log", str(tmp_path / "decisions.jsonl")]
        assert run(["featurehub", "saes", "alias", names["SAE"], "production", "--db", built.database]).returncode == 0
    done = run([names.get(word, word) for word in words])
    # A drift check's exit code is its verdict.
    assert done.returncode in ((0, 3, 4) if words[1] == "drift" else (0,)), done.stderr
    assert done.stdout + done.stderr


@pytest.mark.parametrize("command", [c for c in SHELL if c.startswith(LONG)])
def test_its_long_commands_take_these_options(command: str) -> None:
    words = shlex.split(command)
    subcommand = [word for word in words[1:3] if word.islower()]
    shown = CliRunner().invoke(app, [*subcommand, "--help"], env={"COLUMNS": "200"}).output
    options = [word for word in words if word.startswith("--")]
    assert options
    assert all(option in shown for option in options)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_its_make_targets_exist(target: str) -> None:
    assert f"make {target}" in README
    assert run(["make", "-n", target]).returncode == 0


def test_its_python_runs(url: str) -> None:
    root = f"http://{urlsplit(url).netloc}"
    [program] = blocks("python")
    done = run([sys.executable, "-c", program.replace("http://localhost:8000", root)])
    assert done.returncode == 0, done.stderr
    assert "applied" not in done.stderr
    assert "weight=0.7" in done.stdout


def test_its_curl_commands_are_answered(url: str) -> None:
    found = re.findall(r"^curl .*?(?=^curl|^```)", README, flags=re.DOTALL | re.MULTILINE)
    assert len(found) == 2
    for command in found:
        words = shlex.split(command.replace("http://localhost:8000", f"http://{urlsplit(url).netloc}"))
        done = run([words[0], "--silent", "--fail", *words[1:]])
        assert done.returncode == 0, done.stdout
        assert "pirate" in done.stdout
