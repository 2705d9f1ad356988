"""Two linear layers in one ``.pt`` or ``.pth`` file, whose name says what they were made for.

    project      tensors                               a =                  file
    Goodfire     encoder_linear.*, decoder_linear.*    z⁺                   Llama-3.1-8B-Instruct-SAE-l19.pth
    qresearch    encoder.*, decoder.*                  z⁺                   DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt
    Qwen Scope   W_enc, b_enc, W_dec, b_dec            the k largest z⁺     layer5.sae.pt, beside a config.json
    Kissane      W_enc, b_enc, W_dec, b_dec            z⁺ of x − b_dec      gpt2-small_L5_Hcat_z_lr1.20e-03_….pt

Kissane and others' SAEs of attention read all heads side by side (z); their encoder weights are [d_model, d_sae].
The repository of a file of Qwen Scope says what its configuration does: ``SAE-Res-Qwen3-8B-Base-W64K-L0_50``.

z = x · W_enc + b_enc, x̂ = a · W_dec + b_dec; encoder weights are [d_sae, d_model], decoder weights [d_model, d_sae].
"""

import re
from pathlib import Path

from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.errors import InvalidInput
from saes.formats.files import Config, Tensors, read_config, read_tensors
from saes.formats.hooks import hook_point
from saes.formats.imported import ImportedSae, dictionary_of, without_input_bias

__all__ = ["CONFIG", "import_linear"]

CONFIG = "config.json"
"""Name of the configuration beside a file of Qwen Scope."""
_NAMED = re.compile(r"(?P<model>.+)-SAE-l(?P<layer>\d+)\.(?:pt|pth)")
_HEADS = re.compile(r"(?P<model>.+)_L(?P<layer>\d+)_Hcat_z_.*\.pt")
_QWEN = re.compile(r"layer(\d+)\.sae\.pt")
_QWEN_SET = re.compile(r"(?:.*--)?SAE-Res-(?P<model>.+)-W\d+K-L0_(?P<k>\d+)")


def import_linear(file: Path) -> ImportedSae:
    """Imports an SAE that is one file of two linear layers.

    Args:
        file: The file, whose name may say what it was made for.

    Raises:
        InvalidInput: If the tensors are not those of a known SAE, or cannot be read.
        CorruptArtifact: If a tensor is missing or has the wrong shape.
    """
    tensors = read_tensors(file)
    for prefix in ("encoder_linear", "encoder"):
        if f"{prefix}.weight" in tensors:
            return standard(file, tensors, prefix, prefix.replace("encoder", "decoder"))
    if "W_enc" in tensors:
        heads = _HEADS.fullmatch(file.name)
        return qwen_scope(file, tensors) if heads is None else of_heads(tensors, heads["model"], int(heads["layer"]))
    raise InvalidInput(
        f"cannot import {file}: it holds {', '.join(tensors) or 'no tensors'}, no known SAE", param="source"
    )


def standard(file: Path, tensors: Tensors, encoder: str, decoder: str) -> ImportedSae:
    W_enc, W_dec = tensors.matrix(f"{encoder}.weight").T, tensors.matrix(f"{decoder}.weight").T
    d_sae, d_model = W_dec.shape
    b_enc, b_dec = tensors.vector(f"{encoder}.bias", d_sae), tensors.vector(f"{decoder}.bias", d_model)
    found = _NAMED.fullmatch(file.name)
    return ImportedSae(
        dictionary=without_input_bias(dictionary_of(tensors, W_enc, W_dec, b_enc, b_dec)),
        architecture="standard",
        hook=HookPoint(layer=int(found["layer"])) if found else None,
        model=found["model"] if found else "",
    )


def of_heads(tensors: Tensors, model: str, layer: int) -> ImportedSae:
    W_enc, W_dec = tensors.matrix("W_enc"), tensors.matrix("W_dec")
    d_sae, width = W_dec.shape
    return ImportedSae(
        dictionary=dictionary_of(tensors, W_enc, W_dec, tensors.vector("b_enc", d_sae), tensors.vector("b_dec", width)),
        architecture="standard",
        hook=HookPoint(layer=layer, site=Site.Z),
        model=model,
    )


def qwen_scope(file: Path, tensors: Tensors) -> ImportedSae:
    config, layer = qwen_config(file), _QWEN.fullmatch(file.name)
    W_enc, W_dec = tensors.matrix("W_enc").T, tensors.matrix("W_dec").T
    d_sae, d_model = W_dec.shape
    b_enc, b_dec = tensors.vector("b_enc", d_sae), tensors.vector("b_dec", d_model)
    return ImportedSae(
        dictionary=without_input_bias(dictionary_of(tensors, W_enc, W_dec, b_enc, b_dec)),
        architecture="topk",
        hook=hook_point(f"{config['hook_point']}_layer_{layer[1]}") if layer else None,
        model=config["base_model"],
        k=float(config["k"]),
        topk=True,
    )


def qwen_config(file: Path) -> Config:
    """The configuration beside a file of Qwen Scope, or what the name of its repository says."""
    path = file.parent / CONFIG
    if path.is_file():
        return read_config(path)
    made = next((found for name in reversed(file.absolute().parts) if (found := _QWEN_SET.fullmatch(name))), None)
    if made is None:
        raise InvalidInput(f"{file} does not say its k: put the {CONFIG} of its repository beside it", param="source")
    return Config(path, {"base_model": f"Qwen/{made['model']}", "k": made["k"], "hook_point": "resid_post"})
