"""What `featurehub serve` says of an SAE before it serves, and which judge a drift check asks."""

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from api.model import ServedModel
from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli import serve as serving
from featurehub.cli.serve import freshness
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.server import ServeOptions
from featurehub.errors import ArtifactNotFound, IncompatibleArtifact, InvalidInput
from featurehub.features import State
from featurehub.runs.judges import RecognizerJudge, judge_called
from featurehub.store import open_store
from featurehub.verdicts import DriftReport
from labeling.judge import WordJudge

HOOK = HookPoint(layer=1)


def made(
    folder: Path, name: str, latents: int = 8, hook: HookPoint = HOOK, width: int = 192, **changed: object
) -> Artifact:
    """An SAE of the bundled model, changed."""
    folder.mkdir()
    rows, zeros = torch.eye(latents, width), torch.zeros(latents)
    Dictionary(rows, rows, zeros, torch.zeros(width), zeros).save(folder / WEIGHTS)
    fields = {
        "name": name, "architecture": "batchtopk", "d_model": width, "d_sae": latents, "k": 2.0, "hook": hook,
        "model": identify(bundled_model(), HOOK).model_copy(update=changed), "dataset": {}, "training": {},
        "metrics": {}, "created": "2026-01-01",
    }  # fmt: skip
    return seal(folder, fields)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """An SAE of the bundled model's second layer."""
    return made(tmp_path / "sae", "one[/x]")


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
        ((), {}, None, r"SAE one.* at layers\.1\.resid_post: fresh.*the model is the function"),
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


class Launched(NamedTuple):
    names: tuple[str, ...] = ("m",)
    overrides: tuple[str, ...] = ()


def launched(
    artifacts: Sequence[Artifact], registered: Sequence[Artifact], tmp_path: Path, patch: pytest.MonkeyPatch
) -> tuple[EngineConfig, ServedModel]:
    """What vLLM's server would be started with."""
    kept: list[tuple[EngineConfig, ServedModel]] = []
    patch.setattr(serving, "prepare", lambda model, options: Launched())
    patch.setattr(
        serving, "serve", lambda launch, config, told: kept.append((config, ServedModel.model_validate_json(told)))
    )
    with closing(open_store(tmp_path / "f.db")) as store, store.write() as writer:
        for each in registered:
            writer.put_artifact(each.manifest, each.folder)
    folders = [each.folder for each in artifacts]
    serving.serve_model(bundled_model(), folders, str(tmp_path / "f.db"), serving.Policy(), "", ServeOptions())
    [started] = kept
    return started


def test_several_saes_are_served_in_the_order_in_which_they_were_given(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And held by the engine in that of their hook points; a line is said of each."""
    late = made(tmp_path / "late", "late", 16, HookPoint(layer=3), whole="other")
    config, served = launched([late, artifact], [artifact, late], tmp_path, monkeypatch)
    assert served.saes == (late.manifest.id, artifact.manifest.id)
    assert [(str(hook.point), [sae.folder for sae in hook.saes]) for hook in config.hooks] == [
        ("layers.1.resid_post", [artifact.folder]),
        ("layers.3.resid_post", [late.folder]),
    ]
    first, second = (line for line in capsys.readouterr().err.splitlines() if line.startswith("SAE"))
    assert re.match(r"SAE late at layers\.3\.resid_post: not checked", first)
    assert re.match(r"SAE one.* at layers\.1\.resid_post: fresh", second)


def test_the_same_sae_twice_is_refused_whatever_it_is_called(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = made(tmp_path / "copy", "copy")
    for twice in ([artifact, artifact], [artifact, copy]):
        with pytest.raises(InvalidInput, match="is given twice"):
            launched(twice, [artifact], tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        ({"width": 64, "d_model": 64}, r"other reads a stream of width 64"),
        ({"hook": HookPoint(layer=9), "layers": 12}, r"other reads layers\.9.*has the layers 0 to 4"),
        ({"layers": 12}, r"other was trained on \w+ \(LlamaForCausalLM, 12 layers.*one.* on .*, 5 layers"),
    ],
)
def test_saes_of_different_models_are_refused_by_name(
    other: dict[str, Any], wanted: str, artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = made(tmp_path / "other", "other", 16, **other)
    with pytest.raises(IncompatibleArtifact, match=wanted):
        launched([artifact, second], [artifact, second], tmp_path, monkeypatch)


def test_each_must_be_registered(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = made(tmp_path / "late", "late", 16, HookPoint(layer=3))
    with pytest.raises(ArtifactNotFound, match=r"late is not registered"):
        launched([artifact, late], [artifact], tmp_path, monkeypatch)


@pytest.mark.parametrize(("name", "kind"), [("", WordJudge), ("words", WordJudge), ("recognizer", RecognizerJudge)])
def test_the_judge_that_judged_first_is_asked_again(name: str, kind: type) -> None:
    assert isinstance(judge_called(name), kind)


def test_a_judge_that_nobody_knows_here_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"'llm'.*recognizer, words"):
        judge_called("llm")
