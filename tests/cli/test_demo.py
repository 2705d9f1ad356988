"""When the demo's SAE is built, and when it is only opened."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featurehub.cli import demo
from featurehub.errors import ArtifactNotFound
from featurehub.runs.basis import CalibrationBasis
from featurehub.runs.progress import SILENT
from labeling.judge import WordJudge

KEPT = SimpleNamespace(folder=None)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Says "built" whenever the demo is built."""
    said: list[str] = []
    monkeypatch.setattr(demo, "demo_sae", lambda: tmp_path)
    monkeypatch.setattr(demo, "build_demo", lambda: said.append("built"))
    monkeypatch.setattr(demo, "open_artifact", lambda folder: KEPT)
    return said


def keep(folder: Path, **fields: Any) -> None:
    CalibrationBasis.of(WordJudge(), ["the loan"], made_from="x", **fields).keep(folder, SILENT)


def test_it_is_built_on_first_use(built: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(folder: Path) -> Any:
        raise ArtifactNotFound("nothing there")

    monkeypatch.setattr(demo, "open_artifact", missing)
    demo.ensure_demo()
    assert built == ["built"]


@pytest.mark.parametrize(("done", "times"), [(True, 0), (False, 1)])
def test_one_whose_calibration_was_stopped_is_built_to_its_end(
    built: list[str], tmp_path: Path, done: bool, times: int
) -> None:
    keep(tmp_path, done=done)
    demo.ensure_demo()
    assert len(built) == times


def test_one_that_says_nothing_of_its_calibration_is_taken_as_it_is(built: list[str]) -> None:
    assert demo.ensure_demo() is KEPT
    assert built == []
