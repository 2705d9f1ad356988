"""Llama Scope (arXiv 2410.20526) and what OpenMOSS's lm-saes wrote after it.

    Llama Scope       hyperparams.json + checkpoints/final.safetensors; one θ for all latents, in the configuration
    Llama Scope R1    config.json + sae_weights.safetensors; log θ of every latent, and the norms, among the tensors

The encoder sees s · x, with s = √d_model / E‖x‖ as measured on a dataset ("dataset-wise"). As in lm-saes, when it makes
an SAE ready for use, s goes into the biases, so that activations are in the stream's own units:

    a = z⁺ · [z > θ], z = x · W_enc + b_enc / s        x̂ = a · W_dec + b_dec / s

1. Llama Scope's θ is in these units; that of the later ones is in units of s · x, so it is θ / s.
2. Where sparsity counts decoder norms, so do the later ones' thresholds: rows get length 1.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.formats.files import Config, Tensors, read_config, read_tensors
from saes.formats.hooks import hook_point
from saes.formats.imported import (
    ImportedSae,
    dictionary_of,
    of_scaled_stream,
    with_scaled_activations,
    with_unit_rows,
    without_input_bias,
)

__all__ = ["CONFIG", "CONFIG_R1", "WEIGHTS", "WEIGHTS_R1", "import_llama_scope", "import_llama_scope_r1"]

CONFIG, WEIGHTS = "hyperparams.json", "checkpoints/final.safetensors"
"""Llama Scope's files, within an SAE's folder."""
CONFIG_R1, WEIGHTS_R1 = "config.json", "sae_weights.safetensors"
"""Llama Scope R1's files, within an SAE's folder."""
NORMS = "dataset_average_activation_norm"


def import_llama_scope(folder: Path) -> ImportedSae:
    """Imports an SAE of Llama Scope from its folder.

    Raises:
        InvalidInput: If its kind or its normalization cannot be read here, or its configuration cannot.
        CorruptArtifact: If the weights are damaged.
    """
    config, tensors = read_config(folder / CONFIG), read_tensors(folder / WEIGHTS)
    check(config, "relu", "jumprelu", "topk")
    read = in_stream_units(config, as_written(config, tensors), config.get(NORMS) or {})
    if config["act_fn"] == "jumprelu":
        theta = torch.full_like(read.threshold, float(config["jump_relu_threshold"]))
        read = read._replace(threshold=theta.clamp(min=0.0))
    if config["act_fn"] == "topk" and config.get("sparsity_include_decoder_norm"):
        read = with_unit_rows(read)
    return imported(config, read)


def import_llama_scope_r1(folder: Path) -> ImportedSae:
    """Imports an SAE of Llama Scope R1 from its folder.

    Raises:
        InvalidInput: If its kind or its normalization cannot be read here, or its configuration cannot.
        CorruptArtifact: If the weights are damaged.
    """
    config, tensors = read_config(folder / CONFIG_R1), read_tensors(folder / WEIGHTS_R1)
    check(config, "jumprelu")
    read = as_written(config, tensors)
    if config.get("sparsity_include_decoder_norm"):
        read = with_unit_rows(read)
    read = read._replace(threshold=tensors.vector("log_jumprelu_threshold", read.d_sae).exp())
    norms = {name.removeprefix(f"{NORMS}."): float(each) for name, each in tensors.items() if name.startswith(NORMS)}
    return imported(config, in_stream_units(config, read, norms))


def check(config: Config, *activations: str) -> None:
    """Raises InvalidInput for an SAE that cannot be read here."""
    if config["act_fn"] not in activations:
        raise InvalidInput(f"cannot import {config.path}: its act_fn is {config['act_fn']}", param="source")
    if config.get("use_glu_encoder"):
        raise InvalidInput(f"cannot import {config.path}: an SAE with use_glu_encoder", param="source")
    if config.get("hook_point_out", config["hook_point_in"]) != config["hook_point_in"]:
        raise InvalidInput(f"cannot import {config.path}: it writes elsewhere than it reads", param="source")


def as_written(config: Config, tensors: Tensors) -> Dictionary:
    """Returns the SAE of s · x, with θ = 0."""
    W_enc, W_dec = tensors.matrix("encoder.weight").T, tensors.matrix("decoder.weight").T
    d_sae, d_model = W_dec.shape
    biased = config.get("use_decoder_bias", True)
    b_dec = tensors.vector("decoder.bias", d_model) if biased else torch.zeros(d_model)
    read = dictionary_of(tensors, W_enc, W_dec, tensors.vector("encoder.bias", d_sae), b_dec)
    return read if config.get("apply_decoder_bias_to_pre_encoder") else without_input_bias(read)


def in_stream_units(config: Config, dictionary: Dictionary, norms: Mapping[str, float]) -> Dictionary:
    s = scale(config, norms, dictionary.d_model)
    return with_scaled_activations(of_scaled_stream(dictionary, s), torch.tensor(1 / s))


def scale(config: Config, norms: Mapping[str, float], d_model: int) -> float:
    """Returns s, or raises InvalidInput for a normalization that is not a constant."""
    match config["norm_activation"]:
        case "inference":
            return 1.0
        case "dataset-wise":
            norm = norms.get("in", norms.get(config["hook_point_in"]))
            if norm is None or not norm > 0:
                raise InvalidInput(f"{config.path}: the norm of its dataset is missing ({NORMS})", param="source")
            return math.sqrt(d_model) / norm
        case other:
            raise InvalidInput(f"cannot import {config.path}: {other} normalization differs from token to token")


def imported(config: Config, dictionary: Dictionary) -> ImportedSae:
    return ImportedSae(
        dictionary=dictionary,
        architecture="standard" if config["act_fn"] == "relu" else config["act_fn"],
        hook=hook_point(config["hook_point_in"]),
        k=float(config["top_k"]) if config.get("top_k") else None,
        topk=config["act_fn"] == "topk",
    )
