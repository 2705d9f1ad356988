"""Where SAEs come from. The hub is its local cache here, offline: what is fetched is not, what is found is real."""

import json
from pathlib import Path

import pytest
import torch

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.errors import InvalidInput
from saes.formats.recognise import read_sae
from saes.formats.registry import registry
from saes.formats.saelens import SCALE
from saes.formats.source import fetch, wanted
from tests.saes.written import D_MODEL, D_SAE, gemma_scope, goodfire, qwen_scope, snapshot, store, weights, x_of


def test_a_path_is_taken_as_it_lies(tmp_path: Path) -> None:
    path = goodfire(tmp_path).path
    assert fetch(str(path)) == (path, str(path), "", {})


def test_a_folder_of_the_hub_is_read_at_one_commit(cache: Path) -> None:
    root = snapshot(cache, "google/gemma-scope-2b-pt-res")
    gemma_scope(root)
    (root / "gemma-scope-2b-pt-mlp").rename(root / "moved")
    (root / "moved" / "layer_20").rename(root / "layer_20")
    name = "hf:google/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71"
    source = fetch(name)
    assert (source.name, source.revision) == (name, root.name)
    assert fetch(name.replace("-res/", f"-res@{root.name}/")).path == source.path
    format, imported = read_sae(source.path)
    assert (format, imported.hook) == ("Gemma Scope", HookPoint(layer=20))
    assert imported.model == "gemma-2-2b"


def test_a_file_of_the_hub_is_read_with_the_configuration_beside_it(cache: Path) -> None:
    qwen_scope(snapshot(cache, "Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_50"))
    source = fetch("hf:Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_50/layer5.sae.pt")
    assert read_sae(source.path)[1].hook == HookPoint(layer=5)


def test_only_the_files_of_known_formats_are_asked_for() -> None:
    folder = wanted("a/b")
    assert {"a/b/cfg.json", "a/b/sae_weights.safetensors", "a/b/checkpoints/final.safetensors"} <= set(folder)
    assert not [pattern for pattern in folder if "*" in pattern]
    assert "a/b/layer5.sae.pt" in wanted("a/b/layer5.sae.pt")
    assert "cfg.json" in wanted("")


def saelens_folder(folder: Path, cfg: dict[str, object]) -> Path:
    w = weights()
    store(folder / "sae_weights.safetensors", {k: v for k, v in w._asdict().items() if k != "threshold"})
    (folder / "cfg.json").write_text(json.dumps({"d_in": D_MODEL, "d_sae": D_SAE, "dtype": "torch.float32", **cfg}))
    return folder


def test_a_name_of_the_registry_brings_what_the_registry_says(cache: Path) -> None:
    """GPT-2's first SAEs were trained on a model whose writing weights were centred; only the registry says so."""
    root = snapshot(cache, "jbloom/GPT2-Small-SAEs-Reformatted")
    former = {"hook_point": "blocks.7.hook_resid_pre", "hook_point_layer": 7, "hook_point_head_index": None}
    saelens_folder(root / "blocks.7.hook_resid_pre", {**former, "model_name": "gpt2-small", "use_ghost_grads": True})
    source = fetch("gpt2-small-res-jb/blocks.7.hook_resid_pre")
    assert source.revision == root.name
    imported = read_sae(source.path, source.overrides)[1]
    assert (imported.hook, imported.model) == (HookPoint(layer=7, site=Site.RESID_PRE), "gpt2-small")
    w, x = weights(), x_of() + 3
    centered = x - x.mean(dim=-1, keepdim=True)
    expected = torch.relu((centered - w.b_dec) @ w.W_enc + w.b_enc)
    torch.testing.assert_close(imported.dictionary.encode(x), expected, rtol=1e-4, atol=1e-4)


def test_the_registry_knows_a_scaling_that_was_never_folded_in(cache: Path) -> None:
    entries = registry()["gemma-2b-res-jb"].entries
    [id] = [id for id, entry in entries.items() if entry.scale is not None]
    hook = {"hook_name": "blocks.6.hook_resid_post", "normalize_activations": "expected_average_only_in"}
    saelens_folder(snapshot(cache, "jbloom/Gemma-2b-Residual-Stream-SAEs") / entries[id].path, hook)
    source = fetch(f"gemma-2b-res-jb/{id}")
    s, w = source.overrides[SCALE], weights()
    sae = read_sae(source.path, source.overrides)[1].dictionary
    a = torch.relu((s * x_of() - w.b_dec) @ w.W_enc + w.b_enc)
    torch.testing.assert_close(sae.encode(x_of()), a, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decode(a), (a @ w.W_dec + w.b_dec) / s, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("gemma-scope-2b-pt-res-canonica/layer_20/width_16k/canonical", "gemma-scope-2b-pt-res-canonical"),
        ("gemma-scope-2b-pt-res-canonical/layer_20/width_17k/canonical", "layer_20/width_16k/canonical"),
        ("gemma-scope-2b-pt-transcoders/layer_0/width_16k/average_l0_76", "transcoder"),
        ("./nowhere", "not a path"),
        ("hf:gemma", "hf:OWNER/NAME"),
        ("hf:nobody/nothing/here", "nobody/nothing cannot be fetched"),
    ],
)
def test_what_is_nowhere_is_refused_with_the_next_step(name: str, named: str, cache: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        fetch(name)
    assert named in refused.value.message
    assert "\n" not in refused.value.message


def test_a_repository_without_the_folder_is_named(cache: Path) -> None:
    snapshot(cache, "someone/saes")
    with pytest.raises(InvalidInput, match="someone/saes has no layer_3"):
        fetch("hf:someone/saes/layer_3")
