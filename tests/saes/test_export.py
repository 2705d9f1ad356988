"""Exported SAEs: sae-lens opens them, they encode, decode and score the same, and come back as they were."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE
from torch import Tensor

from featurehub.artifacts.artifact import WEIGHTS, Artifact, seal
from featurehub.artifacts.manifest import HookPoint, ModelIdentity, Site
from featurehub.dictionary import Dictionary
from featurehub.errors import CorruptArtifact, InvalidInput
from saes.evaluate import evaluate
from saes.export import export, write_saelens
from saes.formats.hooks import find_hook
from saes.formats.saelens import read_saelens

D_MODEL, D_SAE = 12, 40
KINDS = ("standard", "jumprelu", "gated")


def x_of(seed: int = 5, tokens: int = 300) -> Tensor:
    return torch.randn(tokens, D_MODEL, generator=torch.Generator().manual_seed(seed)) * 2


def dictionary_of(kind: str) -> Dictionary:
    g = torch.Generator().manual_seed(1)
    jump, gated = kind == "jumprelu", kind == "gated"
    W_dec = torch.nn.functional.normalize(torch.randn(D_SAE, D_MODEL, generator=g), dim=-1)
    return Dictionary(
        W_enc=W_dec + 0.1 * torch.randn(D_SAE, D_MODEL, generator=g),
        W_dec=W_dec,
        b_enc=torch.randn(D_SAE, generator=g) * 0.3,
        b_dec=torch.randn(D_MODEL, generator=g),
        threshold=torch.rand(D_SAE, generator=g) * jump,
        gain=torch.rand(D_SAE, generator=g) + 0.5 if gated else None,
        offset=torch.randn(D_SAE, generator=g) if gated else None,
    )


def seal_in(folder: Path, dictionary: Dictionary, site: Site = Site.RESID_POST) -> Artifact:
    folder.mkdir()
    dictionary.save(folder / WEIGHTS)
    model = ModelIdentity(
        name="org/small", architecture="LlamaForCausalLM", d_model=D_MODEL, layers=4, dtype="float32",
        reads="r" * 64, whole="w" * 64, tokenizer="t" * 64, chat_template="", revision="5" * 40,
    )  # fmt: skip
    fields = {
        "name": "sae", "architecture": "batchtopk", "d_model": D_MODEL, "d_sae": D_SAE, "k": 2.0,
        "hook": HookPoint(layer=3, site=site), "model": model, "dataset": {"name": "org/texts", "tokens": 100},
        "training": {"lr": 0.1}, "metrics": {"explained_variance": 0.9}, "created": "2026-01-01", "parent": "p" * 64,
    }  # fmt: skip
    return seal(folder, fields)


def explained_variance(x: Tensor, reconstructed: Tensor) -> float:
    error, mean = (x - reconstructed).square().sum(-1).mean(), x.mean(dim=0)
    return float(1 - error / (x.square().sum(-1).mean() - mean.square().sum()))


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_sae_lens_encodes_decodes_and_scores_the_same(self, kind: str, tmp_path: Path) -> None:
        ours, x = dictionary_of(kind), x_of()
        assert export(seal_in(tmp_path / "sae", ours), tmp_path / "out") == kind
        theirs: Any = SAE.load_from_disk(tmp_path / "out")
        with torch.no_grad():
            a = theirs.encode(x)
            assert 0.02 < float((a > 0).float().mean()) < 0.98
            torch.testing.assert_close(a, ours.encode(x), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(theirs.decode(a), ours.decode(a), rtol=1e-4, atol=1e-5)
            quality = evaluate(ours, [x])
            assert explained_variance(x, theirs(x)) == pytest.approx(quality.explained_variance, abs=1e-5)
            assert float((a > 0).sum(-1).float().mean()) == pytest.approx(quality.l0, abs=0.02)

    def test_it_comes_back_as_it_was(self, kind: str, tmp_path: Path) -> None:
        ours = dictionary_of(kind)
        write_saelens(ours, tmp_path, {})
        back = read_saelens(tmp_path)
        for name, tensor in ours._asdict().items():
            found = getattr(back, name)
            if tensor is None or kind != "gated":
                assert found is tensor if tensor is None else torch.equal(found, tensor), name
            else:
                torch.testing.assert_close(found, tensor, rtol=1e-5, atol=1e-6)

    def test_what_sae_lens_saves_of_it_is_the_same(self, kind: str, tmp_path: Path) -> None:
        write_saelens(dictionary_of(kind), tmp_path, {})
        SAE.load_from_disk(tmp_path).save_model(tmp_path / "theirs")
        first, second = read_saelens(tmp_path), read_saelens(tmp_path / "theirs")
        x = x_of()
        assert torch.equal(first.encode(x), second.encode(x))


LENS = {"attn_in": "attn.hook_in", "z": "attn.hook_z", "mlp_in": "mlp.hook_in", "mlp_act": "mlp.hook_post",
        "router": "mlp.gate.hook_out"}  # fmt: skip
"""What TransformerLens calls the sites that are not ``hook_…`` there."""


@pytest.mark.parametrize("site", list(Site))
def test_sae_lens_learns_where_it_belongs_and_where_it_comes_from(site: Site, tmp_path: Path) -> None:
    artifact = seal_in(tmp_path / "sae", dictionary_of("jumprelu"), site)
    export(artifact, tmp_path / "out")
    said: Any = SAE.load_from_disk(tmp_path / "out").cfg.metadata
    name = "ln_final.hook_out" if site is Site.FINAL_NORM else f"blocks.3.{LENS.get(site, f'hook_{site}')}"
    assert (said.model_name, said.hook_name, said.dataset_path) == ("org/small", name, "org/texts")
    assert find_hook(name) == (artifact.manifest.hook if site is not Site.FINAL_NORM else None)
    assert said.featurehub["id"] == artifact.manifest.id
    assert said.featurehub["parent"] == "p" * 64
    assert ModelIdentity.model_validate(said.featurehub["model"]) == artifact.manifest.model


def test_a_gate_with_a_threshold_keeps_it(tmp_path: Path) -> None:
    ours = dictionary_of("gated")._replace(threshold=torch.rand(D_SAE), offset=None)
    write_saelens(ours, tmp_path, {})
    theirs: Any = SAE.load_from_disk(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(theirs.encode(x_of()), ours.encode(x_of()), rtol=1e-4, atol=1e-5)


def test_a_gain_that_sae_lens_does_not_know_is_named(tmp_path: Path) -> None:
    ours = dictionary_of("gated")
    assert ours.gain is not None
    ours.gain[7] = -0.5
    with pytest.raises(InvalidInput, match=r"latent 7 has a gain of -0\.5"):
        export(seal_in(tmp_path / "sae", ours), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_a_new_or_empty_folder_is_written_to(tmp_path: Path) -> None:
    artifact, out = seal_in(tmp_path / "sae", dictionary_of("standard")), tmp_path / "out"
    out.mkdir()
    export(artifact, out)
    assert sorted(path.name for path in out.iterdir()) == ["cfg.json", "sae_weights.safetensors"]
    assert json.loads((out / "cfg.json").read_text())["architecture"] == "standard"
    for taken in (out, artifact.weights):
        with pytest.raises(InvalidInput, match="is there already"):
            export(artifact, taken)


def test_a_damaged_artifact_is_not_exported(tmp_path: Path) -> None:
    artifact = seal_in(tmp_path / "sae", dictionary_of("standard"))
    artifact.weights.write_bytes(artifact.weights.read_bytes()[:-1] + b"!")
    with pytest.raises(CorruptArtifact, match="does not match its hash"):
        export(artifact, tmp_path / "out")
