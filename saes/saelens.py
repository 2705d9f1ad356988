"""Reads the folders that sae-lens writes (``cfg.json`` + ``sae_weights.safetensors``), without sae-lens.

    architecture     read as
    standard         θ = 0
    jumprelu         its own θ; also what sae-lens makes of a trained batchtopk or matryoshka_batchtopk SAE
    gated            θ = 0 on the gate; magnitude by gain = exp(r_mag) and offset = b_mag − gain · b_gate
    topk             θ measured on activations (``batch_threshold``), since its own rule needs all latents of a token

1. Where the encoder does not subtract b_dec from its input, b_enc takes up the difference:
   b_enc' = b_enc + b_dec · W_enc.
2. Where activations count as if the decoder had unit rows, its lengths go into the encoder.
3. sae-lens applies ReLU besides the threshold: a negative one is 0.

sae-lens folds its expected-norm scaling into the weights when training ends. Normalisations that depend on the token
(``layer_norm``, ``constant_norm_rescale``) are refused: a stream has no weights to fold them into.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput

__all__ = ["batch_threshold", "read_saelens"]

ARCHITECTURES = ("standard", "jumprelu", "gated", "topk")
Tensors = dict[str, Tensor]


def read_saelens(folder: Path, activations: Tensor | None = None) -> Dictionary:
    """activations: [tokens, d_model], needed by a TopK SAE alone. Raises InvalidInput for what cannot be read."""
    cfg = json.loads((folder / "cfg.json").read_text())
    check(cfg)
    tensors = {name: tensor.float() for name, tensor in load_file(folder / "sae_weights.safetensors").items()}
    gated = cfg["architecture"] == "gated"
    bias = tensors["b_gate"] if gated else tensors["b_enc"]
    gain = tensors["r_mag"].exp() if gated else None
    offset = tensors["b_mag"] - gain * bias if gain is not None else None
    if not cfg.get("apply_b_dec_to_input", True):
        bias = bias + tensors["b_dec"] @ tensors["W_enc"]
    read = Dictionary(
        W_enc=tensors["W_enc"].T.contiguous(),
        W_dec=tensors["W_dec"].contiguous(),
        b_enc=bias,
        b_dec=tensors["b_dec"],
        threshold=tensors.get("threshold", torch.zeros_like(bias)).clamp(min=0.0),
        gain=gain,
        offset=offset,
    )
    if cfg.get("rescale_acts_by_decoder_norm"):
        read = with_unit_rows(read)
    return with_threshold(read, cfg["k"], activations) if cfg["architecture"] == "topk" else read


def check(cfg: dict[str, Any]) -> None:
    """Raises InvalidInput."""
    if cfg.get("architecture") not in ARCHITECTURES:
        raise InvalidInput(f"cannot read a {cfg.get('architecture')} SAE; known are {', '.join(ARCHITECTURES)}")
    normalisation = cfg.get("normalize_activations") or "none"
    if normalisation == "expected_average_only_in":
        raise InvalidInput(f"the {normalisation} scaling of this SAE was never folded in; save it from sae-lens again")
    if normalisation != "none":
        raise InvalidInput(f"cannot read an SAE with {normalisation} normalisation: it differs from token to token")
    if cfg.get("reshape_activations") not in (None, "none"):
        raise InvalidInput(f"cannot read an SAE on {cfg['reshape_activations']}: it does not read the stream")


def with_unit_rows(dictionary: Dictionary) -> Dictionary:
    lengths = dictionary.W_dec.norm(dim=-1)
    return dictionary._replace(
        W_enc=dictionary.W_enc * lengths[:, None],
        b_enc=dictionary.b_enc * lengths,
        W_dec=dictionary.W_dec / lengths[:, None],
    )


def with_threshold(dictionary: Dictionary, k: int, activations: Tensor | None) -> Dictionary:
    if activations is None:
        raise InvalidInput("a TopK SAE needs activations, from which its threshold is measured")
    theta = batch_threshold(dictionary, k, activations)
    return dictionary._replace(threshold=torch.full_like(dictionary.threshold, theta))


def batch_threshold(dictionary: Dictionary, k: float, x: Tensor) -> float:
    """The θ beyond which n · k of all activations of ``x`` ([n, d_model]) lie, as in BatchTopK (arXiv 2412.06410)."""
    a = dictionary.encode(x).flatten()
    kept = min(int(k * len(x)), int((a > 0).sum()))
    return float(a.topk(kept + 1).values[-1]) if kept + 1 <= len(a) else 0.0
