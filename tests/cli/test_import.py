"""Importing an SAE, on a stand-in for the engine: what its manifest says, and that a failure leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from featurehub.artifacts.artifact import verify
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.demo.bundle import bundled_model
from featurehub.dictionary import Dictionary
from featurehub.errors import CorruptArtifact, FeaturehubError, IncompatibleArtifact, InvalidInput
from featurehub.runs import adopt as adopting
from featurehub.runs import engines
from featurehub.runs.adopt import ImportPlan, adopt, hook_of, measured
from featurehub.runs.progress import SILENT, Progress
from featurehub.store import open_store
from labeling.judge import WordJudge
from saes.documents import Document
from saes.formats.imported import ImportedSae
from saes.formats.recognise import read_sae
from saes.reader import FakeReader
from tests.runs.fakes import WIDTH, FakeEngine, describe
from tests.runs.recording import Recording
from tests.saes.written import dictionary_learning, sparsify

D_SAE, K = 24, 4
TEXT = [f"the loan is good . number {i} is {'bad' if i % 3 else 'fine'} ." for i in range(40)]


def weights(width: int = WIDTH, seed: int = 0) -> dict[str, Tensor]:
    W = torch.nn.functional.normalize(torch.randn(D_SAE, width, generator=torch.Generator().manual_seed(seed)), dim=-1)
    return {"W_enc": W.T.contiguous(), "W_dec": W, "b_enc": torch.zeros(D_SAE), "b_dec": torch.zeros(width)}


def gemma_scope(root: Path, width: int = WIDTH, layer: int = 2, **other: Tensor) -> Path:
    """A tiny SAE as Gemma Scope writes it, in folders that name its layer."""
    folder = root / "gemma-scope-2b-pt-res" / f"layer_{layer}" / "width_16k" / "average_l0_9"
    folder.mkdir(parents=True)
    tensors = {**weights(width), "threshold": torch.full((D_SAE,), 0.5), **other}
    np.savez(folder / "params.npz", **{name: tensor.numpy() for name, tensor in tensors.items()})
    return folder


def plan_of(source: Path, tmp_path: Path, **other: Any) -> ImportPlan:
    out, database = tmp_path / "made" / "sae", str(tmp_path / "made" / "features.db")
    return ImportPlan(source=str(source), model=bundled_model(), out=out, database=database, name="sae", **other)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "Engine", FakeEngine)


def run(plan: ImportPlan, progress: Progress = SILENT) -> Any:
    return adopt(plan, TEXT, WordJudge(), ["the loan"], progress)


@pytest.fixture
def unlabelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labelling needs a model that says something; it has its own tests."""
    monkeypatch.setattr(adopting, "describe", describe)


@pytest.mark.usefixtures("engine", "unlabelled")
def test_the_artifact_says_where_it_comes_from_and_encodes_as_its_source(tmp_path: Path) -> None:
    source, heard = gemma_scope(tmp_path), Recording()
    artifact = run(plan_of(source, tmp_path), heard)
    verify(artifact)
    manifest = artifact.manifest
    assert manifest.training == {
        "source": str(source), "revision": "", "format": "Gemma Scope", "made_for": "gemma-2-2b",
        "threshold_measured": False,
    }  # fmt: skip
    assert (manifest.architecture, manifest.k, manifest.hook) == ("jumprelu", 9.0, HookPoint(layer=2))
    assert manifest.judge == "words"
    assert (manifest.d_model, manifest.d_sae, manifest.dataset["documents"]) == (WIDTH, D_SAE, len(TEXT))
    x, w = torch.randn(30, WIDTH), weights()
    z = x @ w["W_enc"]
    torch.testing.assert_close(Dictionary.load(artifact.weights).encode(x), z * (z > 0.5), rtol=1e-4, atol=1e-4)
    # 24 random directions explain little of a stream of 192.
    [warning] = heard.warnings
    assert warning.startswith("this SAE explains")
    assert "jumprelu SAE of 24 latents made for gemma-2-2b" in heard.messages[0]
    assert heard.messages[-1] == "6 features are calibrated"
    assert heard.works["reading held-out documents"].done == len(TEXT)


@pytest.mark.usefixtures("engine", "unlabelled")
def test_a_topk_saes_threshold_is_measured_on_documents_that_evaluation_does_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopting, "MEASURED_TOKENS", 200)
    folder = tmp_path / "run" / "layers.2.mlp"
    folder.mkdir(parents=True)
    (folder / "cfg.json").write_text('{"k": 4, "activation": "topk", "d_in": 192}')
    w = weights()
    tensors = {"encoder.weight": w["W_dec"], "encoder.bias": w["b_enc"], "W_dec": w["W_dec"].clone()}
    save_file({**tensors, "b_dec": w["b_dec"]}, folder / "sae.safetensors")
    manifest = run(plan_of(folder, tmp_path)).manifest
    assert manifest.hook == HookPoint(layer=2, site=Site.MLP_OUT)
    assert manifest.training["threshold_measured"] is True
    assert manifest.metrics["l0"] == pytest.approx(K, rel=0.2)
    assert 0 < int(manifest.dataset["documents"]) < len(TEXT)


@pytest.mark.usefixtures("engine")
def test_latents_whose_decoder_row_is_zero_get_labels_and_no_strength(tmp_path: Path) -> None:
    W_dec = weights()["W_dec"].clone()
    W_dec[::2] = 0.0
    texts = [f"the {animal} is good . number {i} is fine ." for i in range(60) for animal in ("dog", "loan", "rain")]
    plan = plan_of(gemma_scope(tmp_path, W_dec=W_dec), tmp_path)
    artifact = adopt(plan, texts, WordJudge(), ["the loan", "a dog"])
    with open_store(plan.database).read() as reader:
        features = [feature for feature in reader.features(artifact.manifest.id) if feature.label]
    silent = [feature for feature in features if feature.latent % 2 == 0]
    assert 0 < len(silent) < len(features)
    assert all(each.strength is None and each.steerability == 0.0 and not each.writes for each in silent)
    assert all(each.strength and each.writes for each in features if each.latent % 2)


def leave_earlier(tmp_path: Path) -> None:
    """What an earlier import left."""
    (tmp_path / "made" / "sae").mkdir(parents=True)
    (tmp_path / "made" / "sae" / "manifest.json").write_text("an earlier artifact")
    open_store(tmp_path / "made" / "features.db").close()


def left(tmp_path: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (tmp_path / "made").rglob("*") if path.is_file()}


def failure(tmp_path: Path, plan: ImportPlan, kind: type[Exception]) -> str:
    """What it says; folder and database are as they were."""
    before = left(tmp_path)
    with pytest.raises(kind) as failed:
        run(plan)
    assert left(tmp_path) == before
    return str(failed.value)


Breaks = Callable[[Path], Path]
BROKEN: dict[str, tuple[Breaks, dict[str, Any], type[FeaturehubError], str]] = {
    "nothing there": (lambda root: root / "nowhere", {}, InvalidInput, "not a path"),
    "unknown format": (lambda root: root, {}, InvalidInput, "no SAE of a known format"),
    "another width": (lambda root: gemma_scope(root, width=64), {}, IncompatibleArtifact, "width 64"),
    "NaN": (lambda root: gemma_scope(root, b_dec=torch.full((WIDTH,), torch.nan)), {}, CorruptArtifact, "b_dec"),
    "a layer that the model lacks": (lambda root: gemma_scope(root, layer=99), {}, InvalidInput, "hook layer 99"),
    "another layer": (gemma_scope, {"layer": 3}, InvalidInput, "not of layers.3.resid_post"),
    "another site": (gemma_scope, {"site": Site.MLP_OUT}, InvalidInput, "not of layers.2.mlp_out"),
    "too many tokens": (gemma_scope, {"max_tokens": 65}, InvalidInput, "this model reads 2 to 64"),
    "no latent fires": (
        lambda root: gemma_scope(root, threshold=torch.full((D_SAE,), 1e9)), {}, InvalidInput, "no latent",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("engine", "unlabelled")
@pytest.mark.parametrize("again", [False, True], ids=["new", "again"])
@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_refused_by_name_and_leaves_nothing(case: str, again: bool, tmp_path: Path) -> None:
    breaks, options, kind, named = BROKEN[case]
    if again:
        leave_earlier(tmp_path)
    (tmp_path / "their").mkdir()
    assert named in failure(tmp_path, plan_of(breaks(tmp_path / "their"), tmp_path, **options), kind)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("again", [False, True], ids=["new", "again"])
@pytest.mark.parametrize("stage", ["evaluated", "keep_baseline", "seal", "describe"])
def test_a_failure_at_any_step_leaves_nothing(
    stage: str, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(gemma_scope(tmp_path), tmp_path)
    if again:
        leave_earlier(tmp_path)

    def fail(*_: object) -> None:
        raise RuntimeError(f"{stage} failed")

    monkeypatch.setattr(adopting, stage, fail)
    assert failure(tmp_path, plan, RuntimeError) == f"{stage} failed"


def test_files_that_do_not_say_where_they_read_need_the_options(tmp_path: Path) -> None:
    silent = ImportedSae(Dictionary(*(torch.zeros(1, 1),) * 2, *(torch.zeros(1),) * 3), "standard")
    with pytest.raises(InvalidInput, match="give --layer"):
        hook_of(plan_of(tmp_path, tmp_path), silent)
    told = plan_of(tmp_path, tmp_path, layer=3, site=Site.ATTN_OUT)
    assert hook_of(told, silent) == HookPoint(layer=3, site=Site.ATTN_OUT)
    assert hook_of(plan_of(tmp_path, tmp_path, layer=3), silent) == HookPoint(layer=3)
    assert hook_of(told, silent._replace(hook=HookPoint(layer=3, site=Site.ATTN_OUT))).layer == 3


def renamed_sparsify(root: Path) -> Path:
    folder = sparsify(root).path
    return folder.rename(folder.with_name("my_sae"))


def saelens_of_an_unusual_name(root: Path) -> Path:
    w = weights(64)
    save_file({**w, "W_dec": w["W_dec"].clone()}, root / "sae_weights.safetensors")
    (root / "cfg.json").write_text(json.dumps({"architecture": "standard", "hook_name": "my_sae"}))
    return root


def dictionary_learning_of_an_unusual_name(root: Path) -> Path:
    folder = dictionary_learning(root, "AutoEncoder").path
    config = json.loads((folder / "config.json").read_text())
    config["trainer"]["submodule_name"] = "my_sae"
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    "write", [renamed_sparsify, saelens_of_an_unusual_name, dictionary_learning_of_an_unusual_name]
)
def test_the_options_say_where_an_sae_reads_whose_files_have_an_unusual_name_for_it(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    imported = read_sae(write(tmp_path))[1]
    with pytest.raises(InvalidInput, match=r"'my_sae' is no hook point's name; give --layer, and --site"):
        hook_of(plan_of(tmp_path, tmp_path), imported)
    assert hook_of(plan_of(tmp_path, tmp_path, layer=2), imported) == HookPoint(layer=2)
    told = plan_of(tmp_path, tmp_path, layer=2, site=Site.MLP_OUT)
    assert hook_of(told, imported) == HookPoint(layer=2, site=Site.MLP_OUT)


def test_too_few_documents_to_measure_and_evaluate_on() -> None:
    W = weights()["W_dec"]
    zeros = torch.zeros(D_SAE)
    imported = ImportedSae(Dictionary(W, W, zeros, torch.zeros(WIDTH), zeros), "topk", k=4.0, topk=True)
    documents = [Document([1, 2, 3], 1)] * 5
    with pytest.raises(InvalidInput, match="5 documents are too few"):
        measured(imported, FakeReader(8, WIDTH), documents, ())
    dictionary, rest = measured(imported, FakeReader(8, WIDTH), [Document([1, 2, 3] * 200, 1)] * 5, ())
    assert len(rest) == 1
    assert float(dictionary.threshold[0]) > 0
