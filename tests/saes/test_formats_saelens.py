"""Folders of sae-lens, read without it: every architecture encodes as sae-lens itself does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens.saes.gated_sae import GatedSAE, GatedSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from safetensors.torch import load_file, save_file
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.errors import InvalidInput
from saes.formats.imported import batch_threshold
from saes.formats.recognise import read_sae
from saes.formats.saelens import read_saelens

D_MODEL, D_SAE, K = 12, 40, 6


def x_of(seed: int = 5, tokens: int = 200) -> Tensor:
    return torch.randn(tokens, D_MODEL, generator=torch.Generator().manual_seed(seed)) * 2


def save(sae: Any, folder: Path) -> Any:
    """With random weights."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.4)
    sae.save_model(str(folder))
    return sae


@pytest.mark.parametrize("subtracts", [True, False])
@pytest.mark.parametrize(
    ("sae", "config"), [(StandardSAE, StandardSAEConfig), (JumpReLUSAE, JumpReLUSAEConfig), (GatedSAE, GatedSAEConfig)]
)
def test_an_architecture_encodes_and_decodes_alike(sae: Any, config: Any, subtracts: bool, tmp_path: Path) -> None:
    theirs = save(sae(config(d_in=D_MODEL, d_sae=D_SAE, apply_b_dec_to_input=subtracts)), tmp_path)
    assert json.loads((tmp_path / "cfg.json").read_text())["apply_b_dec_to_input"] is subtracts
    ours = read_saelens(tmp_path)
    with torch.no_grad():
        wanted = theirs.encode(x_of())
        assert 0.02 < float((wanted > 0).float().mean()) < 0.98
        torch.testing.assert_close(ours.encode(x_of()), wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.decode(wanted), theirs.decode(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rescaled", [True, False])
def test_a_topk_sae_gets_the_threshold_that_keeps_k_on_average(rescaled: bool, tmp_path: Path) -> None:
    config = TopKSAEConfig(d_in=D_MODEL, d_sae=D_SAE, k=K, rescale_acts_by_decoder_norm=rescaled)
    theirs, ours = save(TopKSAE(config), tmp_path), read_saelens(tmp_path, x_of(1))
    a = ours.encode(x_of(2))
    assert float((a > 0).sum(-1).float().mean()) == pytest.approx(K, rel=0.15)
    with torch.no_grad():
        wanted = theirs.encode(x_of(2))
    both = (a > 0) & (wanted > 0)
    assert float(both.sum() / (wanted > 0).sum()) > 0.7
    torch.testing.assert_close(a[both], wanted[both], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        ours.decode(wanted).norm(dim=-1), theirs.decode(wanted).detach().norm(dim=-1), rtol=1e-3, atol=1e-3
    )


def test_the_threshold_is_the_n_k_th_largest_activation(tmp_path: Path) -> None:
    save(StandardSAE(StandardSAEConfig(d_in=D_MODEL, d_sae=D_SAE)), tmp_path)
    relu, x = read_saelens(tmp_path), x_of(3, 50)
    theta = batch_threshold(relu, 3, x)
    assert int((relu.encode(x) > theta).sum()) == 150
    assert batch_threshold(relu, 10_000, x) == 0.0


@pytest.mark.parametrize(
    ("cfg", "named"),
    [
        ({"architecture": "temporal"}, "temporal"),
        ({"architecture": "jumprelu", "normalize_activations": "layer_norm"}, "layer_norm"),
        ({"architecture": "jumprelu", "normalize_activations": "expected_average_only_in"}, "never folded in"),
        ({"architecture": "standard", "reshape_activations": "hook_k"}, "hook_k"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, cfg: dict[str, str], named: str) -> None:
    (tmp_path / "cfg.json").write_text(json.dumps(cfg))
    with pytest.raises(InvalidInput, match=named):
        read_saelens(tmp_path)


def test_a_topk_sae_without_activations_is_refused(tmp_path: Path) -> None:
    save(TopKSAE(TopKSAEConfig(d_in=D_MODEL, d_sae=D_SAE, k=K)), tmp_path)
    with pytest.raises(InvalidInput, match="activations"):
        read_saelens(tmp_path)


def test_its_configuration_says_where_it_reads_and_what_it_was_made_for(tmp_path: Path) -> None:
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=D_MODEL, d_sae=D_SAE))
    sae.cfg.metadata.hook_name, sae.cfg.metadata.model_name = "blocks.20.hook_resid_mid", "gemma-2-2b"
    sae.cfg.metadata.training_architecture_details = {"k": 32.0}
    save(sae, tmp_path)
    name, imported = read_sae(tmp_path)
    assert (name, imported.architecture, imported.model, imported.k) == ("SAELens", "jumprelu", "gemma-2-2b", 32.0)
    assert imported.hook == HookPoint(layer=20, site=Site.RESID_MID)


def test_all_heads_side_by_side_are_z(tmp_path: Path) -> None:
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=D_MODEL, d_sae=D_SAE, reshape_activations="hook_z"))
    sae.cfg.metadata.hook_name = "blocks.20.attn.hook_z"
    save(sae, tmp_path)
    ours, heads = read_sae(tmp_path)[1], x_of(4).view(-1, 2, D_MODEL // 2)
    assert ours.hook == HookPoint(layer=20, site=Site.Z)
    theirs = type(sae).load_from_disk(tmp_path)
    with torch.no_grad():
        a = theirs.encode(heads)
        torch.testing.assert_close(ours.dictionary.encode(heads.flatten(1)), a, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.dictionary.decode(a), theirs.decode(a).flatten(1), rtol=1e-4, atol=1e-4)


def test_a_topk_sae_from_before_version_6_is_told_by_its_activation_function(tmp_path: Path) -> None:
    save(StandardSAE(StandardSAEConfig(d_in=D_MODEL, d_sae=D_SAE)), tmp_path)
    former = {
        "hook_point": "blocks.3.hook_resid_post", "hook_point_head_index": None, "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": K}, "normalize_activations": False, "architecture": "standard",
    }  # fmt: skip
    (tmp_path / "cfg.json").write_text(json.dumps(former))
    imported = read_sae(tmp_path)[1]
    assert (imported.architecture, imported.k, imported.topk) == ("topk", K, True)
    assert imported.hook == HookPoint(layer=3)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"hook_name": "blocks.3.attn.hook_q", "reshape_activations": "hook_z"}, "hook_q"),
        ({"hook_name": "blocks.3.hook_resid_post", "hook_head_index": 2}, "attention head 2"),
        ({"architecture": "skip_transcoder"}, "skip_transcoder"),
        ({"normalize_activations": True}, "never folded in"),
    ],
)
def test_what_reads_something_else_is_refused(tmp_path: Path, other: dict[str, Any], named: str) -> None:
    save(StandardSAE(StandardSAEConfig(d_in=D_MODEL, d_sae=D_SAE)), tmp_path)
    config = tmp_path / "cfg.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | other))
    with pytest.raises(InvalidInput, match=named):
        read_sae(tmp_path)


def test_a_finetuned_scaling_factor_is_refused_unless_it_is_1(tmp_path: Path) -> None:
    save(StandardSAE(StandardSAEConfig(d_in=D_MODEL, d_sae=D_SAE)), tmp_path)
    path = tmp_path / "sae_weights.safetensors"
    save_file({**load_file(path), "scaling_factor": torch.ones(D_SAE)}, path)
    assert read_sae(tmp_path)[0] == "SAELens"
    save_file({**load_file(path), "scaling_factor": torch.full((D_SAE,), 2.0)}, path)
    with pytest.raises(InvalidInput, match="scaling factor"):
        read_sae(tmp_path)
