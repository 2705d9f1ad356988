"""Gemma Scope: ``params.npz`` (arXiv 2408.05147), and Gemma Scope 2: ``params.safetensors`` with ``config.json``.

    a = z⁺ · [z > θ], z = x · W_enc + b_enc        x̂ = a · W_dec + b_dec

Gemma Scope has no configuration: layer, site, and the mean number of active latents are in the names of the folders,
``gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71``; so they are in Gemma Scope 2, where a configuration is
missing: ``gemma-scope-2-4b-pt/resid_post/layer_17_width_16k_l0_big``. What they do not name is None. SAEs of attention
read before its output projection, at z, whatever they are called. Transcoders and crosscoders are refused.

SAEs of embeddings, ``embedding/width_4k/average_l0_6``, were trained on the embedding's rows. A Gemma multiplies them
by √d_model, and that is the stream before the first layer: they are SAEs of x / √d_model there.
"""

import math
import re
from pathlib import Path
from typing import Any

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.formats.files import Config, Tensors, read_config, read_tensors
from saes.formats.hooks import hook_point
from saes.formats.imported import ImportedSae, dictionary_of, of_scaled_stream, without_input_bias

__all__ = ["CONFIG", "WEIGHTS", "WEIGHTS_2", "import_gemma_scope", "import_gemma_scope_2"]

WEIGHTS, WEIGHTS_2, CONFIG = "params.npz", "params.safetensors", "config.json"
"""Gemma Scope's file, and both of Gemma Scope 2, within an SAE's folder."""
SITES = {"res": Site.RESID_POST, "mlp": Site.MLP_OUT, "att": Site.Z}
_SET = re.compile(r"(?:.*--)?gemma-scope-(?P<model>\w+-(?:pt|it))-(?P<site>\w+)")
_LAYER = re.compile(r"layer_(\d+)")
_L0 = re.compile(r"average_l0_(\d+)")
_SET_2 = re.compile(r"(?:.*--)?gemma-scope-2-(?P<model>\w+-(?:pt|it))")
_LAYER_2 = re.compile(r"layer_(\d+)_.+")
_KIND_2 = re.compile(r"(resid_post|mlp_out|attn_out|transcoder|clt|crosscoder)(?:_all)?")
PLACES_2 = {
    "resid_post": "model.layers.{}.output",
    "mlp_out": "model.layers.{}.post_feedforward_layernorm.output",
    "attn_out": "model.layers.{}.self_attn.o_proj.input",
}
"""Where SAEs of a kind read, as configurations of Gemma Scope 2 call it."""


def import_gemma_scope(folder: Path) -> ImportedSae:
    """Imports an SAE of Gemma Scope.

    Args:
        folder: The folder; its name and those above it say what the SAE was made for.

    Raises:
        InvalidInput: If the SAE does not read the stream here, or the file does not hold plain tensors.
        CorruptArtifact: If the weights are damaged.
    """
    names = folder.absolute().parts
    l0 = named(_L0, names)
    made_for = next((found for name in reversed(names) if (found := _SET.fullmatch(name))), None)
    if made_for is not None and made_for["site"] not in SITES:
        raise InvalidInput(
            f"cannot import {made_for[0]}: {made_for['site']} is no hook point here; {' and '.join(SITES)} are",
            param="source",
        )
    read = without_input_bias(plain(read_tensors(folder / WEIGHTS), "W_enc", "W_dec"))
    layer, embedding = named(_LAYER, names), "embedding" in names[-3:]
    hook = HookPoint(layer=int(layer), site=SITES[made_for["site"]]) if layer and made_for else None
    return ImportedSae(
        dictionary=of_scaled_stream(read, 1 / math.sqrt(read.d_model)) if embedding else read,
        architecture="jumprelu",
        hook=HookPoint(layer=0, site=Site.RESID_PRE) if embedding else hook,
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
    config = read_config(folder / CONFIG) if (folder / CONFIG).is_file() else named_config(folder)
    check(config)
    tensors = read_tensors(folder / WEIGHTS_2)
    if "affine_skip_connection" in tensors:
        raise InvalidInput(
            f"cannot import {folder}: a transcoder, which writes elsewhere than it reads", param="source"
        )
    place = config["hf_hook_point_in"]
    return ImportedSae(
        dictionary=without_input_bias(plain(tensors, "w_enc", "w_dec")),
        architecture="jumprelu",
        hook=None if place is None else hook_point(place),
        model=config["model_name"],
        k=float(config["l0"]) if "l0" in config else None,
    )


def named_config(folder: Path) -> Config:
    """What the names of the folders say in place of a configuration; the place is None where they do not name it."""
    names = folder.absolute().parts
    kind, layer, model = named(_KIND_2, names[-3:]), named(_LAYER_2, names), named(_SET_2, names)
    if kind is not None and kind not in PLACES_2:
        raise InvalidInput(f"cannot import {folder}: a {kind}, not an SAE of one place", param="source")
    place = PLACES_2[kind].format(layer) if kind and layer else None
    return Config(folder / CONFIG, {"model_name": f"gemma-3-{model}" if model else "", "hf_hook_point_in": place})


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
