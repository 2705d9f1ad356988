"""`featurehub watch` in a shell: what it prints, how it ends, and what a pipeline that runs it again sees."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from featurehub.cli.main import app
from featurehub.features import State
from tests.runs.test_watch import ALIAS, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def run(world: World, *options: str) -> Result:
    where = ["--alias", ALIAS, "--db", world.database, "--log", str(world.log)]
    return CliRunner().invoke(app, ["watch", str(world.models), *where, *options])


def test_the_same_function_holds_by_construction_and_no_engine_is_started(world: World) -> None:
    world.checkpoint("step-1")
    first = run(world, "--once")
    assert first.exit_code == 0, first.output
    assert first.output.startswith(f"holds  {ALIAS}: ")
    again = run(world, "--once")
    assert (again.exit_code, again.output) == (0, "")
    assert [json.loads(line)["outcome"] for line in world.log.read_text().splitlines()] == ["holds"]


@pytest.mark.parametrize(("state", "code"), [(State.STALE, 4), (State.UNCHECKED, 3)])
def test_a_pipeline_that_runs_it_again_stays_stopped(
    world: World, state: State, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.state = state
    world.checkpoint("step-1", shift=0.1)
    monkeypatch.setattr("featurehub.cli.watch.checking", lambda *_: world.check)
    assert [run(world, "--once").exit_code for _ in range(3)] == [code] * 3
    assert world.checked == ["step-1"]


def test_a_dry_run_says_what_is_new_and_writes_nothing(world: World) -> None:
    world.checkpoint("step-1", shift=0.1)
    result = run(world, "--dry-run")
    assert result.exit_code == 0
    assert "another function: weights; it would be checked" in " ".join(result.output.split())
    assert (world.log.read_text(), world.checked) == ("", [])
    world.checkpoint("step-2")
    assert "the same function" in run(world, "--dry-run").output
    run(world, "--once")
    assert run(world, "--dry-run").output == "nothing is new\n"


def test_it_goes_on_looking_where_what_is_watched_is_away_for_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = world.models.rename(world.folder / "away")
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            away.rename(world.models)
            world.checkpoint("step-1")
        elif looks == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("featurehub.cli.watch.time.sleep", sleep)
    result = run(world, "--every", "5")
    assert "Looking again in 5 s." in result.output
    assert [json.loads(line)["outcome"] for line in world.log.read_text().splitlines()] == ["holds"]


def test_options_that_cannot_be_are_refused(world: World) -> None:
    assert run(world, "--refresh-budget", "much").exit_code != 0
    assert run(world, "--names", "1.5").exit_code == 2
    result = CliRunner().invoke(app, ["watch", str(world.models)])
    assert result.exit_code == 2
    assert "--alias" in result.output
