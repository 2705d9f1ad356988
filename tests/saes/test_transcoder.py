"""Transcoders against loops over layers and latents, on disk, and in the forms of other projects."""

import json
from pathlib import Path

import pytest
import torch
from sae_lens import SAE
from safetensors.torch import load_file, save_file
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.errors import ArtifactNotFound, CorruptArtifact, InvalidInput
from saes.transcoders.exports import export
from saes.transcoders.folder import OpenTranscoder, TranscoderManifest, open_transcoder, write_transcoder
from saes.transcoders.form import Form
from saes.transcoders.pairs import READ, WRITTEN, Pairs, pairs
from saes.transcoders.quality import TranscoderQuality, evaluate_transcoder
from saes.transcoders.transcoder import Transcoder

D_SAE, D_MODEL = 7, 5
MODEL = ModelIdentity(
    name="tiny", architecture="LlamaForCausalLM", d_model=D_MODEL, layers=6, dtype="float32", reads="r", whole="w",
    tokenizer="t", chat_template="",
)  # fmt: skip
QUALITY = TranscoderQuality(explained_variance=(0.5,), l0=(2.0,), dead=(0.0,), tokens=9)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make(layers: int) -> Transcoder:
    return Transcoder(
        W_enc=random(layers, D_SAE, D_MODEL, seed=1),
        b_enc=random(layers, D_SAE, seed=2),
        threshold=random(layers, D_SAE, seed=3).abs() / 2,
        W_dec=tuple(random(m + 1, D_SAE, D_MODEL, seed=4 + m) for m in range(layers)),
        b_dec=random(layers, D_MODEL, seed=20),
    )


def opened(*layers: int) -> OpenTranscoder:
    manifest = TranscoderManifest(
        name="t",
        reads=tuple(HookPoint(layer=layer, site=READ) for layer in layers),
        writes=tuple(HookPoint(layer=layer, site=WRITTEN) for layer in layers),
        d_model=D_MODEL, d_sae=D_SAE, k=2, model=MODEL, dataset={}, training={}, metrics=QUALITY, created="now",
    )  # fmt: skip
    return OpenTranscoder(make(len(layers)), manifest)


def naive(t: Transcoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """One token: a [layers, d_sae] and ŷ [layers, d_model]."""
    a, y = torch.zeros(t.layers, t.d_sae), t.b_dec.clone()
    for layer in range(t.layers):
        for i in range(t.d_sae):
            z = float(t.W_enc[layer, i] @ x[layer] + t.b_enc[layer, i])
            a[layer, i] = z if z > 0 and z > t.threshold[layer, i] else 0.0
            for m in range(layer, t.layers):
                y[m] += a[layer, i] * t.W_dec[m][layer, i]
    return a, y


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_it_encodes_and_decodes_as_the_sums_say(layers: int) -> None:
    t, x = make(layers), random(5, layers, D_MODEL, seed=9)
    a = t.encode(x)
    for token in range(5):
        by_hand, y = naive(t, x[token])
        torch.testing.assert_close(a[token], by_hand)
        torch.testing.assert_close(t.decode(a)[token], y, rtol=1e-4, atol=1e-4)


def test_an_earlier_layer_is_never_written_by_a_later_one() -> None:
    t, a = make(3), torch.zeros(1, 3, D_SAE)
    a[0, 1] = 1.0
    change = (t.decode(a) - t.b_dec).abs().sum(dim=-1)[0]
    assert (change > 0).tolist() == [False, True, True]


def test_pairs_are_taken_from_columns_in_the_order_in_which_a_token_passes_them() -> None:
    columns = torch.arange(4 * 2 * 3 * 2).view(4, 12).float()
    x, y = pairs(columns, 3)
    assert x.shape == y.shape == (4, 3, 2)
    assert torch.equal(x[:, 1], columns[:, 4:6])
    assert torch.equal(y[:, 2], columns[:, 10:12])


def test_quality_is_by_the_formulas_layer_by_layer_however_the_set_is_cut() -> None:
    t, x, y = make(2), random(60, 2, D_MODEL, seed=5), random(60, 2, D_MODEL, seed=6) + 3
    quality = evaluate_transcoder(t, [Pairs(x[:17], y[:17]), Pairs(x[17:], y[17:])])
    a = t.encode(x)
    for layer in range(2):
        error = (y - t.decode(a))[:, layer].square().sum(dim=1).mean()
        variance = (y[:, layer] - y[:, layer].mean(dim=0)).square().sum(dim=1).mean()
        assert quality.explained_variance[layer] == pytest.approx(float(1 - error / variance), rel=1e-4)
        assert quality.l0[layer] == pytest.approx(float((a[:, layer] > 0).sum(dim=1).float().mean()))
        assert quality.dead[layer] == pytest.approx(float((~(a[:, layer] > 0).any(dim=0)).float().mean()))
    assert quality.tokens == 60


def test_predicting_the_mean_explains_nothing() -> None:
    t, y = make(2), random(60, 2, D_MODEL, seed=6) + 3
    silent = t._replace(threshold=torch.full_like(t.threshold, 1e9), b_dec=y.mean(dim=0))
    quality = evaluate_transcoder(silent, [Pairs(y, y)])
    assert quality.explained_variance == pytest.approx((0.0, 0.0), abs=1e-5)
    assert quality.dead == (1.0, 1.0)


@pytest.mark.parametrize("layers", [(2,), (1, 3, 4)])
def test_what_was_written_opens_as_it_was(tmp_path: Path, layers: tuple[int, ...]) -> None:
    t, manifest = opened(*layers)
    sealed = write_transcoder(tmp_path / "t", t, manifest)
    again = open_transcoder(tmp_path / "t")
    assert again.manifest == sealed
    assert sealed.id
    assert torch.equal(again.transcoder.W_enc, t.W_enc)
    assert all(torch.equal(a, b) for a, b in zip(again.transcoder.W_dec, t.W_dec, strict=True))
    assert all(torch.equal(getattr(again.transcoder, n), getattr(t, n)) for n in ("b_enc", "threshold", "b_dec"))


def test_what_is_missing_changed_or_no_transcoder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFound, match="featurehub transcoder train"):
        open_transcoder(tmp_path)
    write_transcoder(tmp_path / "t", *opened(1, 2))
    (tmp_path / "t" / "transcoder.safetensors").write_bytes(b"x" * 99)
    with pytest.raises(CorruptArtifact, match="does not match its hash"):
        open_transcoder(tmp_path / "t")
    (tmp_path / "t" / "transcoder.json").write_text('{"format": 3}')
    with pytest.raises(CorruptArtifact, match="not a manifest of format 1"):
        open_transcoder(tmp_path / "t")
    write_transcoder(tmp_path / "other", make(1), opened(1, 2).manifest)
    with pytest.raises(CorruptArtifact, match=r"\(1, 7, 5\).*says \(2, 7, 5\)"):
        open_transcoder(tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "tensor", "named"),
    [
        ("W_dec_1", None, "lacks the tensor W_dec_1"),
        ("b_dec", torch.zeros(2, 9), "b_dec has shape"),
        ("b_enc", torch.full((2, D_SAE), torch.nan), "b_enc does not hold finite"),
        ("W_enc", torch.zeros(3), "no W_enc of three sides"),
    ],
)
def test_weights_that_cannot_be_are_refused(tmp_path: Path, name: str, tensor: Tensor | None, named: str) -> None:
    path = tmp_path / "w.safetensors"
    make(2).save(path)
    tensors = {key: each for key, each in load_file(path).items() if key != name}
    save_file(tensors | ({name: tensor} if tensor is not None else {}), path)
    with pytest.raises(CorruptArtifact, match=named):
        Transcoder.load(path)


def test_sae_lens_opens_a_transcoder_of_one_layer_and_computes_the_same(tmp_path: Path) -> None:
    export(opened(3), Form.SAE_LENS, tmp_path / "lens")
    theirs, t, x = SAE.load_from_disk(str(tmp_path / "lens")), make(1), random(50, 1, D_MODEL, seed=9)
    assert theirs.cfg.architecture() == "jumprelu_transcoder"
    assert theirs.cfg.metadata.hook_name_out == "blocks.3.hook_mlp_out"
    with torch.no_grad():
        a = theirs.encode(x[:, 0])
        torch.testing.assert_close(a, t.encode(x)[:, 0])
        torch.testing.assert_close(theirs.decode(a), t.decode(t.encode(x))[:, 0])
    assert 0 < float((a > 0).float().mean()) < 1


def test_several_layers_are_no_transcoder_of_sae_lens(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="this one has 2; give --to circuit-tracer"):
        export(opened(1, 2), Form.SAE_LENS, tmp_path / "lens")
    assert not (tmp_path / "lens").exists()


@pytest.mark.parametrize("layers", [(2,), (1, 2, 4), (0, 1, 2, 3, 4, 5)])
def test_read_as_circuit_tracer_does_it_computes_the_same(tmp_path: Path, layers: tuple[int, ...]) -> None:
    """The sums of that project's documentation, over every layer of the model."""
    each = opened(*layers)
    export(each, Form.CIRCUIT_TRACER, tmp_path)
    x = random(20, MODEL.layers, D_MODEL, seed=8)
    encoders = [load_file(tmp_path / f"W_enc_{i}.safetensors") for i in range(MODEL.layers)]
    y = torch.stack([encoders[i][f"b_dec_{i}"].expand(20, -1) for i in range(MODEL.layers)], dim=1).clone()
    for i, tensors in enumerate(encoders):
        z = x[:, i] @ tensors[f"W_enc_{i}"].T + tensors[f"b_enc_{i}"]
        a = z * (z > tensors[f"threshold_{i}"])
        W_dec = load_file(tmp_path / f"W_dec_{i}.safetensors")[f"W_dec_{i}"]
        assert W_dec.shape == (D_SAE, MODEL.layers - i, D_MODEL)
        y[:, i:] += torch.einsum("ts,smd->tmd", a, W_dec)
        assert i in layers or not a.any()
    own = list(layers)
    torch.testing.assert_close(y[:, own], each.transcoder.decode(each.transcoder.encode(x[:, own])))
    assert not y[:, [i for i in range(MODEL.layers) if i not in own]].any()
    config = dict(line.split(": ") for line in (tmp_path / "config.yaml").read_text().splitlines())
    assert json.loads(config["model_kind"]) == "cross_layer_transcoder"
    assert json.loads(config["feature_input_hook"]) == "hook_resid_mid"
    assert json.loads(config["feature_output_hook"]) == "hook_mlp_out"
