"""Before a model is served, SAEs that nothing is known of are checked on it, and only these."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import featurehub.cli.first_check
import featurehub.cli.serve
from featurehub.artifacts.artifact import open_artifact
from featurehub.artifacts.fingerprint import identify
from featurehub.cli.first_check import check_first
from featurehub.cli.main import app
from featurehub.demo.bundle import bundled_model, sibling
from featurehub.errors import EngineUnavailable
from featurehub.features import State
from featurehub.store import open_store
from featurehub.verdicts import DriftReport
from tests.runs.test_watch import write_artifact


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "features.db")


@pytest.fixture
def sae(tmp_path: Path, database: str) -> Path:
    """Registered."""
    artifact = write_artifact(tmp_path / "sae", 1)
    with closing(open_store(database)) as store, store.write() as writer:
        writer.put_artifact(artifact.manifest, artifact.folder)
    return artifact.folder


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run, in place of running them; the first word is the exit code that the next ends with."""
    run: list[list[str]] = [["3"]]

    def record(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        run.append(command)
        return subprocess.CompletedProcess(command, int(run[0][0]))

    monkeypatch.setattr(subprocess, "run", record)
    return run


def known(sae: Path, database: str, model: Path, state: State) -> None:
    manifest = open_artifact(sae).manifest
    report = DriftReport(
        id="dr_1", artifact=manifest.id, model="m", fingerprint=identify(model, manifest.hook).function,
        created="2026-01-02T00:00:00+00:00", state=state, reason="", metrics={},
    )  # fmt: skip
    with closing(open_store(database)) as store, store.write() as writer:
        writer.put_report(report)


def test_one_that_nothing_is_known_of_is_checked_within_the_budget(
    sae: Path, database: str, commands: list[list[str]]
) -> None:
    check_first(sibling("changed"), [sae], database, "90s")
    (command,) = commands[1:]
    assert command[:3] == [sys.executable, "-m", "featurehub.cli.main"]
    options = ["--model", str(sibling("changed")), "--db", database, "--budget", "90s"]
    assert command[3:] == ["drift", "check", str(sae), *options]


def test_on_the_model_that_it_was_trained_on_there_is_nothing_to_check(
    sae: Path, database: str, commands: list[list[str]]
) -> None:
    check_first(bundled_model(), [sae], database, "90s")
    assert not commands[1:]


@pytest.mark.parametrize(
    ("state", "again"), [(State.STALE, False), (State.SUSPECT, False), (State.FRESH, False), (State.UNCHECKED, True)]
)
def test_a_report_that_says_something_is_taken_as_it_is(
    sae: Path, database: str, commands: list[list[str]], state: State, again: bool
) -> None:
    known(sae, database, sibling("changed"), state)
    check_first(sibling("changed"), [sae], database, "90s")
    assert bool(commands[1:]) is again


@pytest.mark.parametrize(("code", "ends"), [(0, True), (3, True), (4, True), (1, False), (2, False), (-9, False)])
def test_a_check_that_breaks_off_stops_the_server_before_it_starts(
    sae: Path, database: str, commands: list[list[str]], code: int, ends: bool
) -> None:
    commands[0] = [str(code)]
    if ends:
        check_first(sibling("changed"), [sae], database, "90s")
        return
    with pytest.raises(EngineUnavailable, match=f"the check of sae ended with exit code {code}"):
        check_first(sibling("changed"), [sae], database, "90s")


@pytest.mark.parametrize(("options", "first"), [([], []), (["--drift-budget", "90s"], ["checked within 90s"])])
def test_serve_checks_first_where_a_budget_is_given(
    sae: Path, database: str, options: list[str], first: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(
        featurehub.cli.first_check, "check_first", lambda *given: done.append(f"checked within {given[3]}")
    )
    monkeypatch.setattr(featurehub.cli.serve, "serve_model", lambda *_: done.append("served"))
    result = CliRunner().invoke(app, ["serve", str(bundled_model()), "--sae", str(sae), "--db", database, *options])
    assert result.exit_code == 0, result.output
    assert done == [*first, "served"]
