"""Contenders in processes of their own: one that does not start ends the benchmark, unless it is a peer."""

import argparse
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurehub.errors import EngineUnavailable

RATE = "print('RATE 5', {digest}, flush=True)"
EACH = "import os, sys, time\nname = {name!r}\nfor line in sys.stdin:\n    edits = int(line.split()[1])\n    {answer}"
"""A contender without a model: it answers each line, and ends with its input."""


@pytest.fixture
def turns(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, which finds those beside it as a script does."""
    monkeypatch.syspath_prepend(root / "tests" / "benchmarks")
    import turns

    return turns


@pytest.fixture
def answering(turns: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """Contenders that answer so. Gives those that were started."""

    def answering(answer: str) -> list[Any]:
        workers: list[Any] = []

        class Scripted(turns.Worker):
            def __init__(self, name: str, *options: Any) -> None:
                program, pipe = EACH.format(name=name, answer=answer), subprocess.PIPE
                interpreter = [turns.sys.executable, "-c"]
                self.process = subprocess.Popen([*interpreter, program], stdin=pipe, stdout=pipe, text=True)
                self.log, self.peer = tmp_path / f"{name}.log", options[-1]
                workers.append(self)

        monkeypatch.setattr(turns, "Worker", Scripted)
        return workers

    return answering


def test_one_that_does_not_start_is_shown_with_what_it_said_last(turns: Any, tmp_path: Path) -> None:
    started = turns.started([turns.Arm("nobody")], "demo", tmp_path)
    said = r"(?s)^nobody ended: KeyError: 'nobody'; the end of its log:.*Traceback"
    with pytest.raises(EngineUnavailable, match=said):
        started.__enter__()


def test_processes_end_with_the_block_however_it_is_left(turns: Any, tmp_path: Path, answering: Any) -> None:
    workers = answering(RATE.format(digest=0))
    arms = [turns.Arm("one"), turns.Arm("two"), turns.Arm("one", edits=8)]
    block = turns.started(arms, "demo", tmp_path)
    found = block.__enter__()
    assert turns.measure(found, tuple(arms), 3, 2) == {arm: [5.0, 5.0] for arm in arms}
    assert [worker.process.poll() for worker in workers] == [None, None]
    assert not block.__exit__(TimeoutError, TimeoutError(), None)
    assert [worker.process.returncode for worker in workers] == [0, 0]


def test_a_peer_that_does_not_start_keeps_nobody_from_it(turns: Any, tmp_path: Path) -> None:
    with turns.started([turns.Arm("nobody")], "demo", tmp_path, peers={"nobody"}) as workers:
        rates = turns.measure(workers, (turns.Arm("nobody", edits=8),), 1, 1)
    assert workers["nobody"].failure == "KeyError: 'nobody'"
    assert rates == {turns.Arm("nobody", edits=8): [pytest.approx(float("nan"), nan_ok=True)]}


@pytest.mark.parametrize(
    ("answer", "patience", "failure"),
    [
        ("print('ERROR OSError: no room', flush=True); sys.exit(1)", 60, "OSError: no room"),
        ("os.kill(os.getpid(), 9)", 60, "ended by SIGKILL"),
        ("sys.exit(3)", 60, "ended with status 3, and said no error"),
        ("time.sleep(60)", 0.5, "no answer within 0.5 s"),
    ],
)
def test_a_peer_that_ends_says_why_in_one_line(
    turns: Any, tmp_path: Path, answering: Any, monkeypatch: Any, answer: str, patience: float, failure: str
) -> None:
    monkeypatch.setattr(turns, "PATIENCE", patience)
    answering(answer)
    with turns.started([turns.Arm("peer")], "demo", tmp_path, peers={"peer"}) as workers:
        assert workers["peer"].failure == failure
        assert not turns.without_effect(workers["peer"], 8)


@pytest.mark.parametrize(
    ("digest", "said"),
    [
        ("edits", ""),
        ("7", "does not steer here"),
        ("time.time_ns()", "its answers without edits are not the same after those with them"),
    ],
)
def test_edits_without_effect_are_told(turns: Any, tmp_path: Path, answering: Any, digest: str, said: str) -> None:
    answering(RATE.format(digest=digest))
    with turns.started([turns.Arm("one")], "demo", tmp_path) as workers:
        assert turns.without_effect(workers["one"], 8) == said


def test_a_table_has_a_line_for_whoever_cannot_run(turns: Any) -> None:
    plain, idle, gone = turns.Arm("plain"), turns.Arm("idle", edits=8), turns.Arm("gone")
    with turns.console.capture() as printed:
        turns.show(4, plain, {plain: [2.0], idle: [1.0]}, {idle: "does not steer here", gone: "cannot run: no room"})
    assert [" ".join(line.split()) for line in printed.get().splitlines()] == [
        "batch 4, of plain : 2 tokens/s",
        "plain 1.000 (1.000 to 1.000)",
        "idle 8 edits 0.500 (0.500 to 0.500) does not steer here",
        "gone cannot run: no room",
    ]


@pytest.mark.parametrize("mode", ["batches", "slope"])
def test_every_peer_stands_in_the_table(
    turns: Any, tmp_path: Path, answering: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Here, mia is missing, and hotwire answers the same whatever is asked."""
    import throughput

    gone = "print('ERROR ModuleNotFoundError: No module', name, flush=True) if name == 'mia' else "
    answering(gone + RATE.format(digest="0 if name == 'hotwire' else edits"))
    monkeypatch.setattr(throughput.SHAPES["demo"].__class__, "save", lambda *_: None)
    options = {"mode": mode, "model": "demo", "peers": True, "compiled": False}
    options |= {"rounds": 2, "batches": [2], "lengths": [2, 4]}
    with turns.console.capture() as printed:
        throughput.in_process(argparse.Namespace(**options), tmp_path)
    lines = [" ".join(line.split()) for line in printed.get().splitlines() if line.strip()]
    assert "mia cannot run here: ModuleNotFoundError: No module mia" in lines
    assert sum("mia" in line for line in lines) == 1
    assert [line for line in lines if line.startswith("hotwire 8 edits") and line.endswith(" does not steer here")]
    assert sum("does not steer" in line for line in lines) == 1
    assert {line.split(" ")[0] for line in lines} >= {"featurehub", "vllm-lens", "hooks", "transformerlens"}
