"""Contenders in processes of their own: one that does not start ends the benchmark, and the others with it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from featurehub.errors import EngineUnavailable


@pytest.fixture
def turns(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, which finds those beside it as a script does."""
    monkeypatch.syspath_prepend(root / "tests" / "benchmarks")
    import turns

    return turns


def test_one_that_does_not_start_is_shown_with_what_it_said_last(turns: Any, tmp_path: Path) -> None:
    started = turns.started([turns.Arm("nobody")], "demo", tmp_path)
    with pytest.raises(EngineUnavailable, match=r"(?s)nobody ended; the end of its log:.*KeyError: 'nobody'"):
        started.__enter__()


def test_processes_end_with_the_block_however_it_is_left(turns: Any, tmp_path: Path, monkeypatch: Any) -> None:
    workers: list[Any] = []

    class Waiting(turns.Worker):
        """Waits for its input to end, as a contender does, and has no model."""

        def __init__(self, name: str, *_: Any) -> None:
            program = "import sys; [print('RATE', 5, flush=True) for _ in sys.stdin]"
            pipe = subprocess.PIPE
            self.process = subprocess.Popen([turns.sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True)
            self.log = tmp_path / f"{name}.log"
            workers.append(self)

    monkeypatch.setattr(turns, "Worker", Waiting)
    arms = [turns.Arm("one"), turns.Arm("two"), turns.Arm("one", edits=8)]
    block = turns.started(arms, "demo", tmp_path)
    found = block.__enter__()
    assert turns.measure(found, tuple(arms), 3, 2) == {arm: [5.0, 5.0] for arm in arms}
    assert [worker.process.poll() for worker in workers] == [None, None]
    assert not block.__exit__(TimeoutError, TimeoutError(), None)
    assert [worker.process.returncode for worker in workers] == [0, 0]
