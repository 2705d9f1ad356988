"""`featurehub transcoder`, with the bundled model's tokenizer and identity, and a stand-in for the engine."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer
from typer.testing import CliRunner

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.cli.main import app
from featurehub.demo.bundle import bundled_model
from featurehub.engine.config import EngineConfig
from featurehub.errors import InvalidInput
from featurehub.runs import engines
from featurehub.runs import transcoder as module
from featurehub.runs.transcoder import TranscoderPlan, TranscoderTraining, train_and_write
from saes.budget import Budget
from saes.run import TrainConfig
from saes.transcoders.folder import open_transcoder
from saes.transcoders.trainable import TranscoderRecipe

D_MODEL = 192
TEXTS = [f"the pirate counts {'the loan ' * (i % 5)}and the cook eats {'a cake ' * (i % 7)}." for i in range(120)]
TRAIN = TrainConfig(tokens=1280, batch_tokens=128)


class StandIn:
    """Reads as an engine does: the stream is a token's vector, and each MLP adds another of it."""

    passes = 0

    def __init__(self, model: Path, config: EngineConfig, options: Any) -> None:
        self.config, self.longest = config, 127
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.table = torch.randn(len(self.tokenizer), D_MODEL, generator=torch.Generator().manual_seed(0))

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(self, *error: object) -> None: ...

    def capture(self, documents: Sequence[Sequence[int]], *points: HookPoint) -> list[Tensor]:
        StandIn.passes += 1
        tables = {Site.RESID_MID: self.table, Site.MLP_OUT: self.table.relu()}
        beside = torch.cat([tables[point.site] * (point.layer + 1) for point in points], dim=1)
        return [beside[list(document)] for document in documents]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "Engine", StandIn)


def plan(out: Path, **fields: Any) -> TranscoderPlan:
    training = TranscoderTraining(recipe=TranscoderRecipe(d_sae=32, k=3), config=TRAIN, buffer_tokens=512)
    return TranscoderPlan(model=bundled_model(), out=out, **{"layers": (3, 1), "training": training} | fields)


def test_it_is_harvested_in_one_pass_trained_measured_and_written(tmp_path: Path) -> None:
    manifest = train_and_write(plan(tmp_path / "t"), TEXTS)
    transcoder, again = open_transcoder(tmp_path / "t")
    assert again == manifest
    assert [str(point) for point in again.reads] == ["layers.1.resid_mid", "layers.3.resid_mid"]
    assert [str(point) for point in again.writes] == ["layers.1.mlp_out", "layers.3.mlp_out"]
    assert transcoder.layers == len(again.metrics.explained_variance) == 2
    assert min(again.metrics.explained_variance) > 0
    assert [each.name for each in tmp_path.iterdir()] == ["t"]


def test_one_that_was_stopped_goes_on_to_the_same_and_reads_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_and_write(plan(tmp_path / "whole"), TEXTS)
    with monkeypatch.context() as patch:
        patch.setattr(module, "measured", stop)
        with pytest.raises(KeyboardInterrupt):
            train_and_write(plan(tmp_path / "stopped"), TEXTS)
    assert not (tmp_path / "stopped").exists()
    before = StandIn.passes
    assert train_and_write(plan(tmp_path / "stopped"), TEXTS).id == whole.id
    # Two are to measure what it will cost.
    assert StandIn.passes == before + 2


def stop(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_without_a_layer_it_is_the_one_at_most_of_the_depth(tmp_path: Path) -> None:
    manifest = train_and_write(plan(tmp_path / "t", layers=()), TEXTS)
    assert [point.layer for point in manifest.reads] == [3]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"layers": (5,)}, "layers 0 to 4"),
        ({"training": TranscoderTraining(recipe=TranscoderRecipe(d_sae=8, k=9))}, "k = 9"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        train_and_write(plan(tmp_path / "t", **fields), TEXTS)
    with pytest.raises(InvalidInput, match="d_sae"):
        TranscoderPlan.of(0, k=1, tokens=1, budget=Budget(), text="", max_tokens=None, model=tmp_path, out=tmp_path)


def test_the_commands_train_and_export(tmp_path: Path) -> None:
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(TEXTS))
    options = ["--layer", "2", "--latents", "16", "--k", "2", "--tokens", "4096", "--out", str(tmp_path / "t")]
    done = CliRunner().invoke(app, ["transcoder", "train", str(bundled_model()), "--text", str(texts), *options])
    assert done.exit_code == 0, done.output
    assert "explained variance" in done.output
    for form, file in (("sae-lens", "cfg.json"), ("circuit-tracer", "W_dec_4.safetensors")):
        out = tmp_path / form
        done = CliRunner().invoke(app, ["transcoder", "export", str(tmp_path / "t"), "--to", form, "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert (out / file).is_file()
