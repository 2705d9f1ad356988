"""What we read, against what sae-lens' own loaders make of the same files.

Its loaders take their files from the hub; here they find them in the hub's local cache, offline. That of Gemma Scope 2
asks the hub itself for shapes, which a file tells here. Those of sparsify turn the decoder round, so they cannot be
compared.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens.loading import pretrained_sae_loaders
from sae_lens.loading.pretrained_sae_loaders import NAMED_PRETRAINED_SAE_LOADERS, handle_config_defaulting
from sae_lens.saes.sae import SAE
from safetensors.torch import load_file
from torch import Tensor

from featurehub.artifacts.manifest import HookPoint, Site
from saes.formats.recognise import read_sae
from tests.saes.written import (
    D_MODEL,
    D_SAE,
    DICTIONARY_CLASSES,
    NORM,
    K,
    Written,
    dictionary_learning,
    gemma_scope,
    gemma_scope_2,
    goodfire,
    llama_scope,
    llama_scope_r1,
    of_heads,
    qresearch,
    qwen_scope,
    snapshot,
    x_of,
)

LOADERS: dict[str, tuple[Callable[[Path], Written], str, str]] = {
    "gemma_2": (gemma_scope, "google/gemma-scope-2b-pt-mlp", "gemma-scope-2b-pt-mlp/layer_20/width_16k/average_l0_71"),
    "gemma_3": (gemma_scope_2, "google/gemma-scope-2-4b-pt", "resid_post/layer_17_width_16k_l0_big"),
    "goodfire": (goodfire, "Goodfire/Llama-3.1-8B-Instruct-SAE-l19", "Llama-3.1-8B-Instruct-SAE-l19.pth"),
    "deepseek_r1": (qresearch, "qresearch/DeepSeek-R1-l19", "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt"),
    "connor_rob_hook_z": (
        of_heads,
        "ckkissane/attn-saes-gpt2-small-all-layers",
        "gpt2-small_L5_Hcat_z_lr1.20e-03_l11.00e+00_ds49152_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v9.pt",
    ),
    "qwen_scope": (qwen_scope, f"Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_{K}", "layer5.sae.pt"),
    "llama_scope": (llama_scope, "fnlp/Llama3_1-8B-Base-LXM-8x", "Llama3_1-8B-Base-L15M-8x"),
    "llama_scope_r1_distill": (llama_scope_r1, "fnlp/Llama-Scope-R1-Distill", "L15R"),
    **{
        f"dictionary_learning_1 {name}": (
            lambda root, name=name: dictionary_learning(root, name),
            "canrager/lm_sae",
            "resid_post_layer_3/trainer_1",
        )
        for name in DICTIONARY_CLASSES
        if name != "AutoEncoderNew"
    },
}


def theirs(loader: str, repository: str, folder: str) -> SAE[Any]:
    """As ``SAE.from_pretrained`` builds it, with the widths of our tiny files."""
    own = {"d_in": D_MODEL, "d_sae": D_SAE, "dtype": "float32", "device": "cpu"}
    load = NAMED_PRETRAINED_SAE_LOADERS[loader]
    cfg, state, _ = load(repo_id=repository, folder_name=folder, device="cpu", force_download=False, cfg_overrides=own)
    cfg = handle_config_defaulting(cfg)
    config = SAE.get_sae_config_class_for_architecture(cfg["architecture"]).from_dict(cfg)
    sae = SAE.get_sae_class_for_architecture(config.architecture())(config)
    sae.process_state_dict_for_loading(state)
    sae.load_state_dict(state)
    if cfg.get("normalize_activations") == "expected_average_only_in":
        sae.fold_activation_norm_scaling_factor(math.sqrt(D_MODEL) / NORM)
    return sae


@pytest.fixture(autouse=True)
def shapes_of_files(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shapes(repo_id: str, filename: str) -> dict[str, list[int]]:
        [file] = cache.glob(f"models--{repo_id.replace('/', '--')}/snapshots/*/{filename}")
        return {name: list(tensor.shape) for name, tensor in load_file(file).items()}

    monkeypatch.setattr(pretrained_sae_loaders, "get_safetensors_tensor_shapes", shapes)


def largest(a: Tensor, k: int) -> Tensor:
    """What a TopK SAE keeps of each token."""
    return a * (a >= a.topk(k).values[:, -1:])


@pytest.mark.parametrize("case", LOADERS)
def test_the_same_latents_fire_and_the_same_stream_is_reconstructed(case: str, cache: Path) -> None:
    write, repository, folder = LOADERS[case]
    path, x = write(snapshot(cache, repository)).path, x_of()
    sae, imported = theirs(case.split()[0], repository, folder), read_sae(path)[1]
    topk = sae.cfg.architecture() == "topk"
    ours = imported.dictionary._replace(threshold=torch.zeros(D_SAE)) if topk else imported.dictionary
    with torch.no_grad():
        heads = sae.cfg.reshape_activations == "hook_z"
        a, wanted = ours.encode(x), sae.encode(x.view(len(x), 2, -1) if heads else x)
        a = largest(a, K) if topk else a
        assert 0.02 < float((wanted > 0).float().mean()) < 0.98
        assert torch.equal(a > 0, wanted > 0)
        torch.testing.assert_close(ours.decode(a), sae.decode(wanted).flatten(1), rtol=1e-3, atol=1e-3)


def test_the_same_latents_fire_on_embeddings(cache: Path) -> None:
    """sae-lens scales what it decodes and leaves its bias as it is; we scale both, as the SAE was trained."""
    repository, folder = "google/gemma-scope-2b-pt-res", "embedding/width_4k/average_l0_6"
    place = snapshot(cache, repository) / folder
    place.parent.mkdir(parents=True)
    gemma_scope(cache / "written").path.rename(place)
    sae, imported, x = theirs("gemma_2", repository, folder), read_sae(place)[1], x_of()
    assert (imported.hook, imported.k) == (HookPoint(layer=0, site=Site.RESID_PRE), 6)
    with torch.no_grad():
        a, wanted = imported.dictionary.encode(x), sae.encode(x)
        assert 0.02 < float((wanted > 0).float().mean()) < 0.98
        torch.testing.assert_close(a, wanted, rtol=1e-3, atol=1e-3)
        bias = (math.sqrt(D_MODEL) - 1) * sae.b_dec
        torch.testing.assert_close(imported.dictionary.decode(a), sae.decode(wanted) + bias, rtol=1e-3, atol=1e-3)
