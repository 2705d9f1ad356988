"""Whoever starts a run hears what it does; without a listener it says nothing at all."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from featurehub.cli import progress as shown
from featurehub.cli.progress import ConsoleProgress, console
from featurehub.demo.bundle import bundled_model
from featurehub.runs import engines
from featurehub.runs.harvest import HarvestPlan, harvest
from featurehub.runs.progress import SILENT, Progress
from saes.harvest import HarvestConfig
from tests.runs.fakes import FakeEngine
from tests.runs.recording import RecordedWork, Recording

TEXT = [f"the loan is good . number {i} is fine ." for i in range(40)]
HEARD = ["identifying the model", "starting the engine", "tokenizing the text", "harvesting"]


@pytest.fixture(autouse=True)
def no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "Engine", FakeEngine)


def test_a_run_tells_its_phases_and_how_far_its_work_is(tmp_path: Path) -> None:
    heard = Recording()
    made = harvest(HarvestPlan(model=bundled_model(), out=tmp_path / "harvest"), TEXT, heard)
    assert heard.phases == HEARD
    work = heard.works["harvesting"]
    assert (work.done, work.total, work.unit) == (made.record.tokens, made.record.tokens, "tokens")
    assert work.words.endswith(" MB")


def test_a_listener_that_raises_ends_the_run_which_goes_on_from_there(tmp_path: Path) -> None:
    class Impatient(RecordedWork):
        def say(self, words: str) -> None:
            raise KeyboardInterrupt

    heard, out = Recording(), tmp_path / "harvest"
    plan = HarvestPlan(model=bundled_model(), out=out, harvest=HarvestConfig(documents_per_shard=10))
    heard.kind = Impatient
    with pytest.raises(KeyboardInterrupt):
        harvest(plan, TEXT, heard)
    assert [path.name for path in out.glob("shard-*")] == ["shard-00000.safetensors"]
    assert not harvest(plan, TEXT).missing


def test_without_a_listener_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    harvest(HarvestPlan(model=bundled_model(), out=tmp_path / "harvest"), TEXT)
    assert capfd.readouterr() == ("", "")
    with SILENT.phase("a phase"), SILENT.work("work", 3) as work:
        work(1)
        work.at(2, 4)
        work.say("words")
    SILENT.say("a message")
    SILENT.warn("a warning")
    assert capfd.readouterr() == ("", "")


def test_without_a_terminal_long_work_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(shown, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with ConsoleProgress().work("training", 1000, "tokens") as work:
        for _ in range(10):
            clock.now += 10.0
            work.say("EV 0.8")
            work(50)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "  training: 150 of 1,000 tokens, 5.0 tokens/s, about 3 min left  EV 0.8",
        "  training: 300 of 1,000 tokens, 5.0 tokens/s, about 2 min left  EV 0.8",
        "  training: 450 of 1,000 tokens, 5.0 tokens/s, about 2 min left  EV 0.8",
        "✓ training 100 s",
    ]


def test_a_terminal_shows_what_a_run_says_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress: Progress = ConsoleProgress()
    progress.say("a folder [bold] of that name")
    progress.warn("[red]")
    with progress.work("reading", 2, "documents") as work:
        work(2)
    said = capsys.readouterr().err
    assert "  a folder [bold] of that name\n" in said
    assert "warning [red]\n" in said
    assert "✓ reading" in said
    assert console.stderr
