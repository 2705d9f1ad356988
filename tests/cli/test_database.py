"""`featurehub db …`: backups, their way back, and moves; and that no password is shown."""

import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from featurehub.cli import main as main_module
from featurehub.cli.options import without_password
from featurehub.errors import InvalidConfig
from featurehub.store import count_rows, open_store
from tests.store.filled import fill_every_table


class Said(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`featurehub db …` in this process."""

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["featurehub", "db", *arguments])
        with pytest.raises(SystemExit) as ended:
            main_module.main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def filled(location: str) -> str:
    """Where a database with rows in every table lies."""
    with closing(open_store(location)) as store, store.write() as writer:
        fill_every_table(writer)
    return location


def test_a_backup_comes_back(run: Run, filled: str, bare: str, tmp_path: Path) -> None:
    file = str(tmp_path / "backup.db")
    said = run("backup", file, "--db", filled)
    assert (said.code, f"are in {file}" in said.out) == (0, True)
    assert f"featurehub db restore {file} --db" in said.out
    assert run("restore", file, "--db", bare).code == 0
    with closing(open_store(filled)) as old, closing(open_store(bare)) as new:
        assert count_rows(new) == count_rows(old)
        with old.read() as before, new.read() as after:
            assert after.feature_set("demo") == before.feature_set("demo")


def test_a_move_says_how_many_rows_and_is_refused_a_second_time(run: Run, filled: str, bare: str) -> None:
    said = run("move", filled, bare)
    assert said.code == 0
    assert said.out.split()[1:3] == ["rows", "of"]
    again = run("move", filled, bare)
    assert (again.code, "is not empty" in again.err) == (2, True)


def test_what_is_not_there_is_not_made(run: Run, tmp_path: Path) -> None:
    for command in (("restore", "none.db", "--db", "new.db"), ("move", "none.db", "new.db")):
        told = run(*(str(tmp_path / each) if each.endswith(".db") else each for each in command))
        assert (told.code, "there is no feature database" in told.err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_password_goes_into_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "other")
    for plain in ("", "features.db", "postgresql://me@host/db?sslmode=require"):
        assert without_password(plain) == plain
    assert os.environ["PGPASSWORD"] == "other"
    assert without_password("postgresql://me:h%40sh@host:5433/db") == "postgresql://me@host:5433/db"
    assert os.environ["PGPASSWORD"] == "h@sh"
    assert without_password("postgresql://host/db?user=me&password=hush") == "postgresql://host/db?user=me"
    assert os.environ["PGPASSWORD"] == "hush"
    with pytest.raises(InvalidConfig):
        without_password("postgresql://me:hush@host:port/db")


@pytest.mark.parametrize("location", ["postgresql"], indirect=True)
def test_no_command_shows_a_password(run: Run, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "")
    secret = filled.replace("postgres@", "postgres:hush@")
    file = str(tmp_path / "backup.db")
    said = [run("backup", file, "--db", secret), run("move", file, secret), run("move", secret, file)]
    assert [each.code for each in said] == [0, 2, 2]
    assert not [each for each in said if "hush" in each.out + each.err]
