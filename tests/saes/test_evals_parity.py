"""The same SAE, model and tokens through sae-lens' ``run_evals`` and through ours: equal within rounding.

The model is one of transformers for us, and its weights in TransformerLens for them. Two of their numbers are other
formulas, which is what the last test shows.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sae_lens.evals import get_eval_everything_config, run_evals
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens.training.activation_scaler import ActivationScaler
from torch import Tensor
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions.llama import convert_llama_weights
from transformers import LlamaConfig, LlamaForCausalLM

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.dictionary import Dictionary
from saes.activations import FeatureActivations, encode_documents
from saes.documents import Document
from saes.host import Host
from saes.splice import measure_splice
from tests.saes.hosted import HostReader

# sae-lens' evals run on it all the same.
pytestmark = pytest.mark.filterwarnings("ignore:HookedTransformer is deprecated:DeprecationWarning")

D_MODEL, D_SAE, VOCAB, CONTEXT, BATCH = 16, 48, 50, 12, 5
SPECIAL = (0, 1, 2)
TOKENS = torch.randint(3, VOCAB, (3 * BATCH, CONTEXT), generator=torch.Generator().manual_seed(3))
TOKENS[:, 0], TOKENS[::3, 7], TOKENS[1::4, -1] = 0, 1, 2
DOCUMENTS = [Document(ids, 1) for ids in TOKENS.tolist()]
SHAPE: dict[str, Any] = {"n_layers": 2, "d_model": D_MODEL, "n_heads": 2, "d_head": 8, "d_mlp": 24, "d_vocab": VOCAB}
OTHERS = {
    # Without the norm's weights, which are ones in this model.
    Site.ATTN_IN: ("ln1.hook_normalized", D_MODEL),
    Site.Z: ("attn.hook_z", D_MODEL),
    Site.MLP_IN: ("ln2.hook_normalized", D_MODEL),
    Site.MLP_ACT: ("mlp.hook_post", SHAPE["d_mlp"]),
    Site.FINAL_NORM: ("ln_final.hook_normalized", D_MODEL),
}
"""Names and widths of the sites that are not ``hook_…`` and d_model."""


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=D_MODEL, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        initializer_range=0.5, rms_norm_eps=1e-6, max_position_embeddings=64,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def lens(llama: LlamaForCausalLM) -> HookedTransformer:
    config = HookedTransformerConfig(
        **SHAPE, n_ctx=64, act_fn="silu", normalization_type="RMS", final_rms=True, gated_mlp=True, eps=1e-6,
        positional_embedding_type="rotary", rotary_adjacent_pairs=False, rotary_dim=8, rotary_base=10000, device="cpu",
    )  # fmt: skip
    model = HookedTransformer(config)
    model.load_state_dict(convert_llama_weights(llama, config), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS), llama(TOKENS).logits, rtol=1e-4, atol=1e-4)
    return model.eval()


class Store:
    """What ``run_evals`` asks of an activation store: the tokens, batch by batch."""

    context_size, store_batch_size_prompts = CONTEXT, BATCH

    def __init__(self) -> None:
        self.batches: Iterator[Tensor] = iter(TOKENS.split(BATCH))

    def get_batch_tokens(self, size: int) -> Tensor:
        assert size == BATCH
        return next(self.batches)

    def reset_input_dataset(self) -> None:
        self.batches = iter(TOKENS.split(BATCH))


def make_sae(hook_name: str, width: int = D_MODEL) -> JumpReLUSAE:
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=width, d_sae=D_SAE, metadata=SAEMetadata(hook_name=hook_name)))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
            if name == "threshold":
                parameter.abs_()
    return sae


def as_dictionary(sae: JumpReLUSAE) -> Dictionary:
    t = {name: parameter.detach() for name, parameter in sae.named_parameters()}
    return Dictionary(t["W_enc"].T.contiguous(), t["W_dec"], t["b_enc"], t["b_dec"], t["threshold"])


def theirs(sae: JumpReLUSAE, lens: HookedTransformer, batches: int = 3) -> tuple[dict[str, float], dict[str, Any]]:
    """Their metrics by name, and those of every latent."""
    config = get_eval_everything_config(BATCH, batches, batches)
    metrics, latents = run_evals(sae, Store(), lens, ActivationScaler(), config, exclude_special_tokens=SPECIAL)  # type: ignore[arg-type]
    return {name: value for group in metrics.values() for name, value in group.items()}, latents


def ours(sae: JumpReLUSAE, host: Host) -> FeatureActivations:
    return encode_documents(HostReader(host), as_dictionary(sae), DOCUMENTS, SPECIAL)


def make_host(llama: LlamaForCausalLM, site: Site) -> Host:
    return Host(llama, HookPoint(layer=int(site is Site.FINAL_NORM), site=site))


@pytest.mark.parametrize("site", [site for site in Site if site is not Site.ROUTER])
def test_reconstruction_and_losses_are_those_of_sae_lens(
    site: Site, llama: LlamaForCausalLM, lens: HookedTransformer
) -> None:
    name, width = OTHERS.get(site, (f"hook_{site}", D_MODEL))
    sae = make_sae(name if site is Site.FINAL_NORM else f"blocks.0.{name}", width)
    host = make_host(llama, site)
    wanted, latents = theirs(sae, lens)
    activations, fidelity = ours(sae, host), measure_splice(host, as_dictionary(sae), DOCUMENTS, SPECIAL)
    quality = activations.quality
    found = {
        "explained_variance": quality.explained_variance,
        "mse": quality.mse,
        "cossim": quality.cosine_similarity,
        "l0": quality.l0,
        "ce_loss_without_sae": fidelity.ce_model,
        "ce_loss_with_sae": fidelity.ce_sae,
        "ce_loss_with_ablation": fidelity.ce_zero,
        "ce_loss_score": fidelity.ce_score,
        "kl_div_with_sae": fidelity.kl_sae,
        "kl_div_with_ablation": fidelity.kl_zero,
        "kl_div_score": fidelity.kl_score,
    }
    assert found == pytest.approx({name: wanted[name] for name in found}, rel=2e-5)
    assert 0.01 < quality.l0 / D_SAE < 0.99
    np.testing.assert_allclose(activations.density, latents["feature_density"], rtol=1e-6)


def test_where_their_formula_is_another(llama: LlamaForCausalLM, lens: HookedTransformer) -> None:
    """The bias is theirs on one batch; over several they take the mean of the batches', and we one over all tokens."""
    sae, host = make_sae("blocks.0.hook_resid_post"), make_host(llama, Site.RESID_POST)
    reader, dictionary = HostReader(host), as_dictionary(sae)
    biases = [
        encode_documents(reader, dictionary, DOCUMENTS[i : i + BATCH], SPECIAL).quality.relative_reconstruction_bias
        for i in range(0, len(DOCUMENTS), BATCH)
    ]
    assert theirs(sae, lens, batches=1)[0]["relative_reconstruction_bias"] == pytest.approx(biases[0], rel=1e-4)
    assert theirs(sae, lens)[0]["relative_reconstruction_bias"] == pytest.approx(np.mean(biases), rel=1e-4)
    assert ours(sae, host).quality.relative_reconstruction_bias != pytest.approx(np.mean(biases), rel=1e-4)
