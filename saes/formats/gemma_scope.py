"""Gemma Scope: ``params.npz`` (arXiv 2408.05147), and Gemma Scope 2: ``params.safetensors`` with ``config.json``.

    a = z⁺ · [z > θ], z = x · W_enc + b_enc        x̂ = a · W_dec + b_dec

Gemma Scope has no configuration: layer, site, and the mean number of active latents are in the names of the folders,
``gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71``. What they do not name is None. SAEs of attention (read
before its output projection) and of embeddings, transcoders and crosscoders are refused.
"""

import re
from pathlib import Path
from typing import Any

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.formats.files import Config, Tensors, read_config, read_tensors
from saes.formats.hooks import hook_point
from saes.formats.imported import ImportedSae, dictionary_of, without_input_bias

__all__ = ["CONFIG", "WEIGHTS", "WEIGHTS_2", "import_gemma_scope", "import_gemma_scope_2"]

WEIGHTS, WEIGHTS_2, CONFIG = "params.npz", "params.safetensors", "config.json"
"""Gemma Scope's file, and both of Gemma Scope 2, within an SAE's folder."""
SITES = {"res": Site.RESID_POST, "mlp": Site.MLP_OUT}
_SET = re.compile(r"(?:.*--)?gemma-scope-(?P<model>\w+-(?:pt|it))-(?P<site>\w+)")
_LAYER = re.compile(r"layer_(\d+)")
_L0 = re.compile(r"average_l0_(\d+)")


def import_gemma_scope(folder: Path) -> ImportedSae:
    """Imports an SAE of Gemma Scope.

    Args:
        folder: The folder; its name and those above it say what the SAE was made for.

    Raises:
        InvalidInput: If the SAE does not read the stream here, or the file does not hold plain tensors.
        CorruptArtifact: If the weights are damaged.
    """
    names = folder.absolute().parts
    if "embedding" in names[-3:]:
        raise InvalidInput(f"cannot import {folder}: an SAE of embeddings has no layer", param="source")
    layer, l0 = named(_LAYER, names), named(_L0, names)
    made_for = next((found for name in reversed(names) if (found := _SET.fullmatch(name))), None)
    if made_for is not None and made_for["site"] not in SITES:
        raise InvalidInput(
            f"cannot import {made_for[0]}: {made_for['site']} is no hook point here; {' and '.join(SITES)} are",
            param="source",
        )
    return ImportedSae(
        dictionary=without_input_bias(plain(read_tensors(folder / WEIGHTS), "W_enc", "W_dec")),
        architecture="jumprelu",
        hook=HookPoint(layer=int(layer), site=SITES[made_for["site"]]) if layer and made_for else None,
        model=f"gemma-2-{made_for['model'].removesuffix('-pt')}" if made_for else "",
        k=float(l0) if l0 else None,
    )


def named(pattern: re.Pattern[str], names: tuple[str, ...]) -> str | None:
    return next((found[1] for name in reversed(names) if (found := pattern.fullmatch(name))), None)


def import_gemma_scope_2(folder: Path) -> ImportedSae:
    """Imports an SAE of Gemma Scope 2 from its folder.

    Raises:
        InvalidInput: If it is not an SAE that reads and writes at one hook point, or its configuration cannot be read.
        CorruptArtifact: If the weights are damaged.
    """
    config = read_config(folder / CONFIG)
    check(config)
    return ImportedSae(
        dictionary=without_input_bias(plain(read_tensors(folder / WEIGHTS_2), "w_enc", "w_dec")),
        architecture="jumprelu",
        hook=hook_point(config["hf_hook_point_in"]),
        model=config["model_name"],
        k=float(config["l0"]) if "l0" in config else None,
    )


def check(config: Config) -> None:
    """Raises InvalidInput for anything but an SAE that writes where it reads."""
    wanted: dict[str, Any] = {"architecture": "jump_relu", "type": "sae", "affine_connection": False}
    for key, value in wanted.items():
        if config.get(key, value) != value:
            raise InvalidInput(f"cannot import {config.path}: its {key} is {config[key]}, not {value}", param="source")
    if config.get("hf_hook_point_out", config["hf_hook_point_in"]) != config["hf_hook_point_in"]:
        raise InvalidInput(f"cannot import {config.path}: it writes elsewhere than it reads", param="source")


def plain(tensors: Tensors, encoder: str, decoder: str) -> Dictionary:
    W_enc, W_dec = tensors.matrix(encoder), tensors.matrix(decoder)
    d_sae, d_model = W_dec.shape
    return dictionary_of(
        tensors,
        W_enc,
        W_dec,
        tensors.vector("b_enc", d_sae),
        tensors.vector("b_dec", d_model),
        tensors.vector("threshold", d_sae),
    )
