"""What `featurehub serve` says of an SAE before it serves, and which judge a drift check asks."""

import re
from pathlib import Path

import pytest
import torch

from api.model import ServedModel
from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.serve import freshness
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from featurehub.features import State
from featurehub.runs.judges import RecognizerJudge, judge_called
from featurehub.store import open_store
from featurehub.verdicts import DriftReport
from labeling.judge import WordJudge

HOOK = HookPoint(layer=1)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A random SAE of the bundled model's second layer."""
    folder = tmp_path / "sae"
    folder.mkdir()
    Dictionary(*(torch.eye(8, 192),) * 2, torch.zeros(8), torch.zeros(192), torch.zeros(8)).save(folder / WEIGHTS)
    fields = {
        "name": "one[/x]", "architecture": "batchtopk", "d_model": 192, "d_sae": 8, "k": 2.0, "hook": HOOK,
        "model": identify(bundled_model(), HOOK), "dataset": {}, "training": {}, "metrics": {}, "created": "2026-01-01",
    }  # fmt: skip
    return seal(folder, fields)


def said(artifact: Artifact, tmp_path: Path, *overrides: str, report: State | None = None, **changed: str) -> str:
    """On the bundled model, changed."""
    model = artifact.manifest.model.model_copy(update=changed)
    served = ServedModel(store="", saes=(artifact.manifest.id,), model=model, overrides=overrides)
    store = open_store(tmp_path / "f.db")
    with store.write() as writer:
        writer.put_artifact(artifact.manifest, artifact.folder)
        if report is not None:
            writer.put_report(
                DriftReport(
                    id="dr_1", artifact=artifact.manifest.id, model="m", fingerprint=model.function, created="now",
                    state=report, reason="measured [so]", metrics={},
                )
            )  # fmt: skip
        line = freshness(writer.reader, artifact, served)
    store.close()
    return line.plain


@pytest.mark.parametrize(
    ("overrides", "changed", "report", "wanted"),
    [
        ((), {}, None, r"fresh.*the model is the function"),
        (("--dtype",), {}, None, r"not checked.*--dtype"),
        ((), {"config": "other"}, None, r"not checked.*differs.*configuration.*drift check"),
        ((), {"chat_template": "other"}, State.STALE, r"stale.* by report dr_1: measured"),
        (("--dtype",), {"chat_template": "other"}, State.STALE, r"stale.* by report dr_1"),
        ((), {"whole": "other"}, State.FRESH, r"fresh.* by report dr_1"),
        (("--dtype",), {"whole": "other"}, State.FRESH, r"not checked.*--dtype"),
    ],
)
def test_what_is_known_of_an_sae_is_said_before_it_is_served(
    artifact: Artifact,
    tmp_path: Path,
    overrides: tuple[str, ...],
    changed: dict[str, str],
    report: State | None,
    wanted: str,
) -> None:
    assert re.search(wanted, said(artifact, tmp_path, *overrides, report=report, **changed), re.DOTALL)


@pytest.mark.parametrize(("name", "kind"), [("", WordJudge), ("words", WordJudge), ("recognizer", RecognizerJudge)])
def test_the_judge_that_judged_first_is_asked_again(name: str, kind: type) -> None:
    assert isinstance(judge_called(name), kind)


def test_a_judge_that_nobody_knows_here_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"'llm'.*recognizer, words"):
        judge_called("llm")
