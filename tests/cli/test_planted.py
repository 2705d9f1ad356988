"""When the planted model's SAE is built, and when it is only opened."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featurehub.cli.demo import planted
from featurehub.errors import ArtifactNotFound
from featurehub.runs.basis import CalibrationBasis
from featurehub.runs.progress import SILENT
from labeling.judge import WordJudge

KEPT = SimpleNamespace(folder=None)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Says "built" whenever the planted model's SAE is built."""
    said: list[str] = []
    monkeypatch.setattr(planted, "planted_sae", lambda: tmp_path)
    monkeypatch.setattr(planted, "build_planted", lambda: said.append("built"))
    monkeypatch.setattr(planted, "open_artifact", lambda folder: KEPT)
    return said


def keep(folder: Path, **fields: Any) -> None:
    CalibrationBasis.of(WordJudge(), ["the loan"], made_from="x", **fields).keep(folder, SILENT)


def test_it_is_built_on_first_use(built: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(folder: Path) -> Any:
        raise ArtifactNotFound("nothing there")

    monkeypatch.setattr(planted, "open_artifact", missing)
    planted.ensure_planted()
    assert built == ["built"]


@pytest.mark.parametrize(("done", "times"), [(True, 0), (False, 1)])
def test_one_whose_calibration_was_stopped_is_built_to_its_end(
    built: list[str], tmp_path: Path, done: bool, times: int
) -> None:
    keep(tmp_path, done=done)
    planted.ensure_planted()
    assert len(built) == times


def test_one_that_says_nothing_of_its_calibration_is_taken_as_it_is(built: list[str]) -> None:
    assert planted.ensure_planted() is KEPT
    assert built == []
