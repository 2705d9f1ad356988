"""What cannot be imported is refused with one line that names it; nothing in a file is ever executed."""

import itertools
import json
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.errors import CorruptArtifact, FeaturehubError, InvalidInput
from saes.formats import files
from saes.formats.hooks import find_hook, hook_point
from saes.formats.recognise import read_sae
from tests.saes.written import (
    WRITERS,
    Written,
    dictionary_learning,
    gemma_scope,
    gemma_scope_2,
    goodfire,
    llama_scope,
    llama_scope_r1,
    qwen_scope,
    sparsify,
)


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def refusal(path: Path, kind: type[FeaturehubError] = InvalidInput) -> str:
    with pytest.raises(kind) as refused:
        read_sae(path)
    assert "\n" not in refused.value.message
    return refused.value.message


def test_pickles_are_never_executed(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "Llama-3.1-8B-Instruct-SAE-l19.pt"
    torch.save({"encoder.weight": torch.zeros(2, 2), "bomb": Bomb(trace)}, path)
    assert "pickles are never executed" in refusal(path)
    path.write_bytes(pickle.dumps({"encoder.weight": Bomb(trace)}))
    assert "pickles are never executed" in refusal(path)
    torch.save(Bomb(trace), path, _use_new_zipfile_serialization=False)
    assert "pickles are never executed" in refusal(path)
    np.savez(tmp_path / "params.npz", W_enc=np.array([Bomb(trace)], dtype=object))
    assert "pickles are never executed" in refusal(tmp_path / "params.npz")
    assert not trace.exists()


def test_a_module_instead_of_its_tensors_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 3), tmp_path / "module.pt")
    assert "holds more than tensors" in refusal(tmp_path / "module.pt")
    torch.save([torch.zeros(3)], tmp_path / "module.pt")
    assert "expected tensors by name" in refusal(tmp_path / "module.pt")


def test_a_tensor_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.pt"
    torch.save({"encoder.weight": torch.zeros(1, 1).expand(1 << 20, 1 << 20)}, path)
    assert path.stat().st_size < 10_000
    assert "GiB; at most" in refusal(path)


def test_files_beyond_the_bound_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = goodfire(tmp_path).path
    monkeypatch.setattr(files, "MAX_TENSOR_BYTES", 1000)
    monkeypatch.setattr(torch, "load", None)
    assert path.name in refusal(path)


def test_an_archive_that_unpacks_to_more_than_the_bound_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "params.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W_enc.npy", bytes(1 << 20))
    monkeypatch.setattr(files, "MAX_TENSOR_BYTES", 1 << 16)
    monkeypatch.setattr(np, "load", None)
    assert "GiB; at most" in refusal(tmp_path / "params.npz")


def test_an_unknown_format_is_refused_with_all_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("an SAE")
    said = refusal(tmp_path)
    for known in ("SAELens", "cfg.json", "params.npz", "sparsify", "ae.pt", "Llama Scope", "*.pth"):
        assert known in said
    assert "notes.txt" in refusal(tmp_path / "notes.txt")
    assert "there is no" in refusal(tmp_path / "nowhere")


def test_a_folder_with_several_saes_is_refused(tmp_path: Path) -> None:
    for layer in (3, 4):
        torch.save({}, tmp_path / f"layer{layer}.sae.pt")
    assert "2 SAEs" in refusal(tmp_path)
    folder = sparsify(tmp_path).path
    save_file({}, folder / "sae_weights.safetensors")
    assert "SAELens and sparsify" in refusal(folder)


def test_a_torch_file_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"lm_head.weight": torch.zeros(3)}, tmp_path / "model.pt")
    assert "lm_head.weight" in refusal(tmp_path / "model.pt")


def tensor_files(path: Path) -> list[Path]:
    candidates = [path] if path.is_file() else sorted(path.rglob("*"))
    return [file for file in candidates if file.suffix in files.TENSOR_SUFFIXES]


def change(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    [file] = tensor_files(path)
    if file.suffix == ".npz":
        tensors = {name: torch.from_numpy(array) for name, array in np.load(file).items()}
        edit(tensors)
        np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
        return
    load, save = (load_file, save_file) if file.suffix == ".safetensors" else (torch.load, torch.save)
    tensors = {name: tensor.clone() for name, tensor in load(file).items()}
    edit(tensors)
    save(tensors, file)


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    return WRITERS[request.param](tmp_path)


def decoder_of(tensors: dict[str, Tensor]) -> str:
    return next(name for name in tensors if name.lower() in ("w_dec", "decoder.weight", "decoder_linear.weight"))


def test_a_missing_tensor_is_named(written: Written) -> None:
    gone: list[str] = []
    change(written.path, lambda tensors: gone.append(decoder_of(tensors)) or tensors.pop(gone[0]))
    assert gone[0] in refusal(written.path, CorruptArtifact)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_named(written: Written, value: float) -> None:
    change(written.path, lambda tensors: tensors[decoder_of(tensors)].view(-1)[:1].fill_(value))
    assert "W_dec holds NaN or infinity" in refusal(written.path, CorruptArtifact)


@pytest.mark.parametrize("shape", [(7,), (7, 7), (1, 2, 3)])
def test_a_tensor_of_the_wrong_shape_is_refused(written: Written, shape: tuple[int, ...]) -> None:
    change(written.path, lambda tensors: tensors.update({decoder_of(tensors): torch.zeros(shape)}))
    assert "shape" in refusal(written.path, CorruptArtifact)


@pytest.mark.parametrize("left", [0, 10, 200])
def test_a_file_that_was_cut_short_is_refused(written: Written, left: int) -> None:
    [file] = tensor_files(written.path)
    file.write_bytes(file.read_bytes()[:left])
    assert file.name in refusal(written.path, FeaturehubError)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"trainer": 3}', '{"k": "many"}', " " * (2 << 20)])
def test_a_configuration_that_is_none_is_refused(written: Written, text: str) -> None:
    place = written.path if written.path.is_dir() else written.path.parent
    for config in place.glob("*.json"):
        config.write_text(text)
        assert str(place) in refusal(written.path, FeaturehubError)


STRANGE = (None, -1, 0, "x", [], {"k": 1}, True, 1e308, "blocks.3.attn.hook_q")
CONFIGURED = (
    "Gemma Scope 2",
    "Qwen Scope",
    "sparsify",
    "Llama Scope",
    "Llama Scope R1",
    "dictionary_learning BatchTopKSAE",
)


@pytest.mark.parametrize("format", CONFIGURED)
def test_whatever_a_configuration_says_is_read_or_refused(format: str, tmp_path: Path) -> None:
    """Never another error, and never an SAE that is not finite."""
    written = WRITERS[format](tmp_path)
    place = written.path if written.path.is_dir() else written.path.parent
    for config in place.glob("*.json"):
        told = json.loads(config.read_text())
        for key, value in itertools.product([*told, *told.get("trainer", ())], STRANGE):
            other = {"trainer": told["trainer"] | {key: value}} if key not in told else {key: value}
            config.write_text(json.dumps(told | other))
            with suppress(FeaturehubError):
                _, sae = read_sae(written.path)
                assert all(torch.isfinite(part).all() for part in sae.dictionary if part is not None)


def reconfigured(file: Path, **other: Any) -> Path:
    file.write_text(json.dumps(json.loads(file.read_text()) | other))
    return file.parent


@pytest.mark.parametrize("key", ["transcode", "skip_connection", "signed"])
def test_a_sparsify_coder_that_is_no_sae_is_refused(tmp_path: Path, key: str) -> None:
    assert key in refusal(reconfigured(sparsify(tmp_path).path / "cfg.json", **{key: True}))


def test_groupmax_is_refused(tmp_path: Path) -> None:
    assert "groupmax" in refusal(reconfigured(sparsify(tmp_path).path / "cfg.json", activation="groupmax"))


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"type": "transcoder"}, "transcoder"),
        ({"type": "crosscoder"}, "crosscoder"),
        ({"hf_hook_point_out": "model.layers.17.post_feedforward_layernorm.output"}, "writes elsewhere"),
        ({"hf_hook_point_in": "model.layers.17.self_attn.q_proj.input",
          "hf_hook_point_out": "model.layers.17.self_attn.q_proj.input"}, "q_proj.input"),
        ({"hf_hook_point_in": "model.layers.{5,9}.output", "hf_hook_point_out": "model.layers.{5,9}.output"}, "5,9"),
    ],
)  # fmt: skip
def test_what_gemma_scope_2_holds_besides_is_refused(tmp_path: Path, other: dict[str, str], named: str) -> None:
    assert named in refusal(reconfigured(gemma_scope_2(tmp_path).path / "config.json", **other))


@pytest.mark.parametrize("kind", ["transcoder_all", "clt", "crosscoder"])
def test_gemma_scope_2_is_refused_by_the_names_of_its_folders_too(tmp_path: Path, kind: str) -> None:
    folder = gemma_scope_2(tmp_path).path
    (folder / "config.json").unlink()
    moved = folder.parent.rename(tmp_path / kind) / folder.name
    assert kind.removesuffix("_all") in refusal(moved)


def test_gemma_scope_2_calls_z_attn_out(tmp_path: Path) -> None:
    folder = gemma_scope_2(tmp_path).path
    (folder / "config.json").unlink()
    moved = folder.parent.rename(tmp_path / "attn_out") / folder.name
    assert read_sae(moved)[1].hook == HookPoint(layer=17, site=Site.Z)


def test_gemma_scope_2_in_a_folder_that_says_nothing_says_nothing(tmp_path: Path) -> None:
    folder = gemma_scope_2(tmp_path).path
    (folder / "config.json").unlink()
    imported = read_sae(folder.rename(tmp_path / "downloaded"))[1]
    assert (imported.hook, imported.model, imported.k) == (None, "", None)


def test_a_transcoder_is_known_by_its_tensors_where_nothing_names_it(tmp_path: Path) -> None:
    folder = gemma_scope_2(tmp_path).path
    (folder / "config.json").unlink()
    change(folder, lambda tensors: tensors.update({"affine_skip_connection": torch.zeros(3, 3)}))
    assert "transcoder" in refusal(folder.rename(tmp_path / "downloaded"))


def test_qwen_scope_without_configuration_and_repository_lacks_its_k(tmp_path: Path) -> None:
    written = qwen_scope(tmp_path)
    (tmp_path / "config.json").unlink()
    assert "does not say its k" in refusal(written.path)


def renamed(tmp_path: Path, set_name: str) -> Path:
    folder = gemma_scope(tmp_path).path.parents[2]
    return folder.rename(folder.with_name(set_name)) / "layer_20" / "width_16k" / "average_l0_71"


def test_gemma_scope_of_transcoders_is_refused(tmp_path: Path) -> None:
    assert "gemma-scope-2b-pt-transcoders" in refusal(renamed(tmp_path, "gemma-scope-2b-pt-transcoders"))


def test_gemma_scope_of_attention_reads_z(tmp_path: Path) -> None:
    assert read_sae(renamed(tmp_path, "gemma-scope-2b-pt-att"))[1].hook == HookPoint(layer=20, site=Site.Z)


def test_gemma_scope_in_a_folder_that_says_nothing_says_nothing(tmp_path: Path) -> None:
    moved = gemma_scope(tmp_path).path.rename(tmp_path / "downloaded")
    imported = read_sae(moved)[1]
    assert (imported.hook, imported.model, imported.k) == (None, "", None)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"norm_activation": "token-wise"}, "token-wise"),
        ({"act_fn": "batchtopk"}, "batchtopk"),
        ({"use_glu_encoder": True}, "use_glu_encoder"),
        ({"hook_point_out": "blocks.16.hook_mlp_out"}, "writes elsewhere"),
        ({"dataset_average_activation_norm": None}, "norm"),
    ],
)
def test_what_llama_scope_cannot_mean_here_is_refused(tmp_path: Path, other: dict[str, Any], named: str) -> None:
    assert named in refusal(reconfigured(llama_scope(tmp_path).path / "hyperparams.json", **other))


def test_llama_scope_r1_without_its_norms_is_refused(tmp_path: Path) -> None:
    path = llama_scope_r1(tmp_path).path
    change(path, lambda tensors: [tensors.pop(name) for name in list(tensors) if "norm" in name])
    assert "norm" in refusal(path)


@pytest.mark.parametrize("theta", ["NaN", "1e999"])
def test_what_a_configuration_brings_must_be_finite_too(tmp_path: Path, theta: str) -> None:
    config = llama_scope(tmp_path).path / "hyperparams.json"
    config.write_text(config.read_text().replace('"jump_relu_threshold": 1.5', f'"jump_relu_threshold": {theta}'))
    assert theta in config.read_text()
    refusal(config.parent, FeaturehubError)


def test_an_unknown_dictionary_class_is_refused(tmp_path: Path) -> None:
    folder = dictionary_learning(tmp_path, "AutoEncoder").path
    reconfigured(folder / "config.json", trainer={"dict_class": "CrossCoder", "layer": 1})
    assert "CrossCoder" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("blocks.7.hook_resid_pre", HookPoint(layer=7, site=Site.RESID_PRE)),
        ("blocks.7.hook_resid_mid", HookPoint(layer=7, site=Site.RESID_MID)),
        ("blocks.7.hook_resid_post", HookPoint(layer=7)),
        ("blocks.7.hook_attn_out", HookPoint(layer=7, site=Site.ATTN_OUT)),
        ("blocks.7.hook_mlp_out", HookPoint(layer=7, site=Site.MLP_OUT)),
        ("model.layers.17.output", HookPoint(layer=17)),
        ("model.layers.17.post_feedforward_layernorm.output", HookPoint(layer=17, site=Site.MLP_OUT)),
        ("transformer.h.3", HookPoint(layer=3)),
        ("model.layers[3].output", HookPoint(layer=3)),
        ("model.layers[3].mlp", HookPoint(layer=3, site=Site.MLP_OUT)),
        ("layers.3.resid_mid", HookPoint(layer=3, site=Site.RESID_MID)),
        ("layers.0.attention", HookPoint(layer=0, site=Site.ATTN_OUT)),
        ("resid_post_layer_12", HookPoint(layer=12)),
        ("blocks.7.attn.hook_z", HookPoint(layer=7, site=Site.Z)),
        ("blocks.7.hook_z", HookPoint(layer=7, site=Site.Z)),
        ("layers.7.z", HookPoint(layer=7, site=Site.Z)),
        ("model.layers.17.self_attn.o_proj.input", HookPoint(layer=17, site=Site.Z)),
        ("model.layers[17].self_attn.o_proj.input", HookPoint(layer=17, site=Site.Z)),
        ("transformer.h[3].attn.c_proj.input", HookPoint(layer=3, site=Site.Z)),
        ("gpt_neox.layers.2.attention.dense.input", HookPoint(layer=2, site=Site.Z)),
        ("blocks.7.mlp.hook_post", HookPoint(layer=7, site=Site.MLP_ACT)),
        ("model.layers[17].mlp.down_proj.input", HookPoint(layer=17, site=Site.MLP_ACT)),
        ("model.decoder.layers.2.fc2.input", HookPoint(layer=2, site=Site.MLP_ACT)),
        ("mlp_act_layer_2", HookPoint(layer=2, site=Site.MLP_ACT)),
        ("blocks.7.attn.hook_in", HookPoint(layer=7, site=Site.ATTN_IN)),
        ("blocks.7.mlp.hook_in", HookPoint(layer=7, site=Site.MLP_IN)),
        ("model.layers[17].self_attn.input", HookPoint(layer=17, site=Site.ATTN_IN)),
        ("gpt_neox.layers.2.attention.input", HookPoint(layer=2, site=Site.ATTN_IN)),
        ("model.layers.17.mlp.input", HookPoint(layer=17, site=Site.MLP_IN)),
        ("model.decoder.layers.2.fc1.input", HookPoint(layer=2, site=Site.MLP_IN)),
        ("model.layers[5].mlp.gate.output", HookPoint(layer=5, site=Site.ROUTER)),
        ("mlp_in_layer_2", HookPoint(layer=2, site=Site.MLP_IN)),
        ("model.layers[3].self_attn.output", HookPoint(layer=3, site=Site.ATTN_OUT)),
    ],
)
def test_hook_points_by_the_names_of_other_projects(name: str, point: HookPoint) -> None:
    assert hook_point(name) == find_hook(name) == point


@pytest.mark.parametrize(
    "name",
    ["blocks.7.attn.hook_q", "blocks.7.hook_mlp_in", "blocks.7.hook_attn_in", "blocks.7.ln2.hook_normalized",
     "hook_embed", "embed_tokens", "blocks.x.hook_resid_post", "",
     "layers.3.self_attn.o_proj.output", "layers.3.self_attn.o_proj", "blocks.7.attn.hook_resid_post", "blocks.7",
     "model.layers.17.pre_feedforward_layernorm.output"],
)  # fmt: skip
def test_places_where_nothing_can_be_hooked_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidInput, match="hook points are resid_pre"):
        hook_point(name)


@pytest.mark.parametrize(
    "name", ["my_sae", "", "ln_final.hook_out", "model.norm.output", "layers.2_old", "residual stream of layer 3"]
)
def test_a_name_that_says_nothing_is_no_hook_point_and_no_error(name: str) -> None:
    assert find_hook(name) is None


@pytest.mark.parametrize(
    "name",
    ["blocks.7.attn.hook_q", "blocks.7.hook_mlp_in", "hook_embed", "model.embed_tokens", "layers[3].self_attn.q_proj"],
)
def test_a_name_that_says_another_place_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="hook points are resid_pre"):
        find_hook(name)
