"""SAELens: ``cfg.json`` + ``sae_weights.safetensors``, of any version.

    architecture     read as
    standard         θ = 0
    jumprelu         its own θ; also what sae-lens makes of a trained batchtopk or matryoshka_batchtopk SAE
    gated            θ = 0 on the gate; magnitude by gain = exp(r_mag) and offset = b_mag − gain · b_gate
    topk             θ to be measured

1. Before version 6 keys had other names, and the architecture of a TopK SAE was its activation function.
2. What differs from our equation is folded into the weights: an encoder that does not subtract b_dec from its input;
   activations that count as if decoder rows had length 1; centred writing weights of the model; and an expected-norm
   scaling, where it is known (sae-lens itself folds it in when training ends).
3. Normalisations that depend on the token are refused: a stream has no weights to fold them into.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.formats.files import Config, Tensors, read_config, read_tensors
from saes.formats.hooks import find_hook
from saes.formats.imported import (
    ImportedSae,
    dictionary_of,
    of_centered_stream,
    of_scaled_stream,
    with_unit_rows,
    without_input_bias,
)

__all__ = ["CONFIG", "SCALE", "WEIGHTS", "import_saelens", "read_saelens"]

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
"""The format's files, within an SAE's folder."""
ARCHITECTURES = ("standard", "jumprelu", "gated", "topk")
SCALE = "norm_scaling_factor"
"""Key of the factor by which an expected-norm scaling multiplies the stream; sae-lens' registry has some of them."""
HEADS = "hook_z"
"""How sae-lens says that an SAE reads all heads side by side, as z is here; TransformerLens keeps them apart."""
FORMER_NAMES: dict[str, str] = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}


def read_saelens(folder: Path, activations: Tensor | None = None) -> Dictionary:
    """Reads an SAE in SAELens' format, ready to encode.

    Args:
        folder: The folder.
        activations: [tokens, d_model] of the stream, needed only to measure a TopK SAE's threshold.

    Raises:
        InvalidInput: If the SAE cannot be read here, or needs activations.
        CorruptArtifact: If the weights are damaged.
    """
    return import_saelens(folder).measured(activations)


def import_saelens(folder: Path, overrides: Mapping[str, Any] | None = None) -> ImportedSae:
    """Imports an SAE in SAELens' format.

    Args:
        folder: The folder.
        overrides: Values that replace those of the configuration.

    Raises:
        InvalidInput: If the SAE cannot be read here.
        CorruptArtifact: If the weights are damaged.
    """
    file = read_config(folder / CONFIG)
    cfg = Config(file.path, modern(file) | dict(overrides or {}))
    check(cfg)
    tensors = read_tensors(folder / WEIGHTS)
    check_scaling(tensors)
    topk = cfg["architecture"] == "topk"
    name = cfg.get("hook_name") or ""
    return ImportedSae(
        dictionary=folded(cfg, parts(cfg, tensors)),
        architecture=cfg["architecture"],
        hook=find_hook(name),
        place=name,
        model=str(cfg.get("model_name") or ""),
        k=float(cfg["k"]) if topk else (cfg.get("training_architecture_details") or {}).get("k"),
        topk=topk,
    )


def modern(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Step 1: returns the configuration with today's keys."""
    given: dict[str, Any] = {**cfg, **cfg.get("metadata", {})}
    flat = {FORMER_NAMES.get(key, key): value for key, value in given.items()}
    if flat.get("activation_fn") == "topk":
        flat |= {"architecture": "topk", "k": flat["activation_fn_kwargs"]["k"]}
    if isinstance(scaled := flat.get("normalize_activations"), bool):
        flat["normalize_activations"] = "expected_average_only_in" if scaled else "none"
    return {"architecture": "standard"} | flat


def check(cfg: Mapping[str, Any]) -> None:
    """Raises InvalidInput for an SAE that cannot be read here."""
    if cfg.get("architecture") not in ARCHITECTURES:
        raise InvalidInput(f"cannot read a {cfg.get('architecture')} SAE; known are {', '.join(ARCHITECTURES)}")
    normalization = cfg.get("normalize_activations") or "none"
    if normalization == "expected_average_only_in" and SCALE not in cfg:
        raise InvalidInput(f"the {normalization} scaling of this SAE was never folded in; save it from sae-lens again")
    if normalization not in ("none", "expected_average_only_in"):
        raise InvalidInput(f"cannot read an SAE with {normalization} normalization: it differs from token to token")
    if cfg.get("reshape_activations") not in (None, "none", HEADS):
        raise InvalidInput(f"cannot read an SAE that reshapes what it reads as {cfg['reshape_activations']}")
    if cfg.get("hook_head_index") is not None:
        raise InvalidInput(f"cannot read an SAE of attention head {cfg['hook_head_index']} alone")


def check_scaling(tensors: Tensors) -> None:
    """Raises InvalidInput for an SAE with a finetuned scaling factor."""
    factor = tensors.get("scaling_factor")
    if factor is not None and not torch.allclose(factor.float(), torch.ones(())):
        raise InvalidInput(f"{tensors.path} holds a finetuned scaling factor, which cannot be read", param="source")


def parts(cfg: Mapping[str, Any], tensors: Tensors) -> Dictionary:
    W_enc, W_dec = tensors.matrix("W_enc"), tensors.matrix("W_dec")
    d_sae, d_model = W_dec.shape
    b_dec = tensors.vector("b_dec", d_model)
    if cfg["architecture"] != "gated":
        threshold = tensors.vector("threshold", d_sae) if cfg["architecture"] == "jumprelu" else 0.0
        return dictionary_of(tensors, W_enc, W_dec, tensors.vector("b_enc", d_sae), b_dec, threshold)
    b_gate, gain = tensors.vector("b_gate", d_sae), tensors.vector("r_mag", d_sae).exp()
    offset = tensors.vector("b_mag", d_sae) - gain * b_gate
    return dictionary_of(tensors, W_enc, W_dec, b_gate, b_dec, gain=gain, offset=offset)


def folded(cfg: Mapping[str, Any], dictionary: Dictionary) -> Dictionary:
    """Step 2: returns the SAE with the configuration's conventions folded into its weights."""
    if not cfg.get("apply_b_dec_to_input", True):
        dictionary = without_input_bias(dictionary)
    if cfg.get("normalize_activations") == "expected_average_only_in":
        dictionary = of_scaled_stream(dictionary, float(cfg[SCALE]))
    if (cfg.get("model_from_pretrained_kwargs") or {}).get("center_writing_weights"):
        dictionary = of_centered_stream(dictionary)
    return with_unit_rows(dictionary) if cfg.get("rescale_acts_by_decoder_norm") else dictionary
