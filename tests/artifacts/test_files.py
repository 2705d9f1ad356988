"""Files and folders are whole or not there: after an error, an interrupt, a kill, or a power cut."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featurehub.artifacts import files
from featurehub.artifacts.files import remove_leftovers, replace_file, replace_folder, write_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact, say, that is replaced."""
    folder = tmp_path / "made" / "artifact"
    folder.mkdir(parents=True)
    for name in ("weights", "manifest"):
        (folder / name).write_text(f"the old {name}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_replaced_folder_holds_only_the_new_files(folder: Path) -> None:
    with replace_folder(folder) as fresh:
        (fresh / "new").write_text("new")
        assert (folder / "weights").is_file()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in folder.parent.iterdir()] == ["artifact"]


def test_a_block_that_fails_leaves_the_old_folder_and_nothing_else(folder: Path) -> None:
    before = contents(folder)

    def fail() -> None:
        with replace_folder(folder) as fresh:
            (fresh / "weights").write_bytes(b"half")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail()
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["artifact"]


def test_a_block_that_fails_where_nothing_was_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half-way"), replace_folder(tmp_path / "deep" / "new"):
        raise RuntimeError("half-way")
    assert list((tmp_path / "deep").iterdir()) == []


def test_text_is_replaced_at_once_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"
    for text in ("one", "two: ÿ ✓"):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
        assert [each.name for each in path.parent.iterdir()] == ["report.json"]


KILLED = """
import os, signal, sys
from pathlib import Path
from featurehub.artifacts import files

replace, moment = os.replace, sys.argv[2]

def die_between(source, target):
    if moment == "moving" and Path(source).name == "new":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

files.os.replace = die_between
with files.replace_folder(Path(sys.argv[1])) as fresh:
    (fresh / "half").write_text("half")
    if moment == "writing":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["writing", "moving"])
def test_what_a_killed_process_left_is_cleared_up_and_the_old_folder_is_there(folder: Path, moment: str) -> None:
    before = contents(folder)
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder), moment]).returncode == -signal.SIGKILL
    assert len(list(folder.parent.glob(".artifact.*"))) == 1
    with pytest.raises(RuntimeError, match="half-way"), replace_folder(folder):
        raise RuntimeError("half-way")
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["artifact"]


def test_what_a_running_process_writes_is_left_alone(folder: Path) -> None:
    with replace_folder(folder) as theirs, replace_folder(folder) as ours:
        (theirs / "theirs").write_text("x")
        (ours / "ours").write_text("x")
    assert [path.name for path in folder.iterdir()] == ["theirs"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupt_between_the_two_renames_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Ctrl-C just when the old folder is moved away, or just before the new one takes its place."""
    before, replace = contents(folder), os.replace

    def interrupted(source: Path, target: Path) -> None:
        if moment == "before" and Path(source).name == "new":
            raise KeyboardInterrupt
        replace(source, target)
        if moment == "after" and Path(target).name == "old":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt), replace_folder(folder) as fresh:
            (fresh / "half").write_text("half")
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["artifact"]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"

    def fail() -> None:
        with replace_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail()
    assert contents(tmp_path) == {"report.json": b"old"}


def test_what_is_written_has_the_permissions_that_new_files_have(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    write_text(tmp_path / "deep" / "report.json", "text")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "deep/report.json")]
    assert modes[0] == modes[1]


def test_everything_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut keeps: contents, before the name that vouches for them, and the name before anything goes on."""
    events: list[str] = []
    flush, replace = os.fsync, os.replace

    def flushed(file: int) -> None:
        events.append(f"flush {Path(os.readlink(f'/proc/self/fd/{file}')).name}")
        flush(file)

    def replaced(source: Path, target: Path) -> None:
        events.append(f"rename to {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    with replace_file(tmp_path / "made" / "shard") as temporary:
        temporary.write_text("x")
    # The folder is new: the name of it is flushed first.
    assert events == [f"flush {tmp_path.name}", "flush new", "rename to shard", "flush made"]
    events.clear()
    with replace_folder(tmp_path / "made" / "sae") as fresh:
        (fresh / "weights").write_text("x")
    assert events == ["flush weights", "flush new", "rename to sae", "flush made"]


WRITING = """
import sys
from pathlib import Path
from featurehub.artifacts.files import replace_folder

with replace_folder(Path(sys.argv[1])) as fresh:
    (fresh / "theirs").write_text("x")
    print("writing", flush=True)
    sys.stdin.readline()
"""


def test_a_writer_that_no_process_id_leads_to_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another container, say, that shares the disk: its process ids say nothing here."""
    command = [sys.executable, "-c", WRITING, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        monkeypatch.setattr(os, "kill", lambda *_: (_ for _ in ()).throw(ProcessLookupError))
        with replace_folder(folder) as fresh:
            (fresh / "ours").write_text("x")
        assert [path.name for path in folder.iterdir()] == ["ours"]
        writer.stdin.write("go on\n")
        writer.stdin.close()
    assert writer.returncode == 0
    assert [path.name for path in folder.iterdir()] == ["theirs"]


def test_leftovers_of_another_name_stay(folder: Path) -> None:
    """``artifact`` and ``artifact.partial`` lie side by side."""
    left = folder.with_name(f".artifact.partial.{'0' * 16}")
    (left / "old").mkdir(parents=True)
    remove_leftovers(folder.parent, "artifact")
    assert left.is_dir()
    remove_leftovers(folder.parent, "artifact.partial")
    assert not left.exists()
    assert folder.with_name("artifact.partial").is_dir()


def test_where_nothing_can_be_locked_files_are_written_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is cleared up, since nobody can tell who is writing."""

    def refuse(*_: Any) -> None:
        raise OSError("no locks on this file system")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    left = folder.with_name(f".artifact.{'0' * 16}")
    left.mkdir()
    with replace_folder(folder) as fresh:
        (fresh / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert left.is_dir()


def test_one_makes_a_file_and_the_others_wait_for_it(tmp_path: Path) -> None:
    """Each in a process of its own, which writes the file only if it is not there."""
    path = tmp_path / "new" / "made"
    code = (
        "import sys, time; from pathlib import Path; from featurehub.artifacts.files import exclusive, write_text\n"
        "path = Path(sys.argv[1])\n"
        "with exclusive(path):\n"
        "    made = not path.exists()\n"
        "    time.sleep(0.3)\n"
        "    write_text(path, 'made')\n"
        "print(made)"
    )
    command = [sys.executable, "-c", code, str(path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sorted(run.communicate()[0].strip() for run in runs) == ["False", "False", "True"]
