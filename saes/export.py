"""Writes an SAE as a folder that sae-lens opens (``cfg.json`` + ``sae_weights.safetensors``), without sae-lens.

    dictionary        written as
    θ ≤ 0             standard
    else              jumprelu with θ; so are batchtopk and matryoshka SAEs, and topk ones with their measured θ
    gain or offset    gated: b_gate = b_enc − θ;  r_mag = ln gain;  b_mag = gain · b_enc + offset

The encoder subtracts b_dec from its input, and nothing is normalised: scales are already in the weights.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from featurehub.artifacts.artifact import Artifact, verify
from featurehub.artifacts.files import replace_folder
from featurehub.artifacts.manifest import Manifest
from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.formats.hooks import lens_name

__all__ = ["export", "write_saelens"]

FORMAT = "6.0.0"
"""The first version of sae-lens with this format."""


def export(artifact: Artifact, out: Path) -> str:
    """Writes an artifact to a new or empty folder in sae-lens' format.

    Args:
        artifact: The artifact.
        out: The folder.

    Returns:
        The architecture that sae-lens sees.

    Raises:
        CorruptArtifact: If the artifact's files do not match their hashes.
        InvalidInput: If the folder is not empty, or sae-lens has no such SAE.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InvalidInput(f"{out} is there already; give a new or empty folder", param="out")
    verify(artifact)
    with replace_folder(out) as folder:
        return write_saelens(Dictionary.load(artifact.weights), folder, metadata(artifact.manifest))


def write_saelens(dictionary: Dictionary, folder: Path, metadata: dict[str, Any]) -> str:
    """Writes ``cfg.json`` and ``sae_weights.safetensors``.

    Args:
        dictionary: The SAE.
        folder: An existing folder.
        metadata: Further entries of the configuration's metadata.

    Returns:
        The architecture that sae-lens sees.

    Raises:
        InvalidInput: If a latent has a gain of 0 or less, which a gated SAE cannot have.
    """
    architecture, special = special_tensors(dictionary)
    tensors = {"W_enc": dictionary.W_enc.T, "W_dec": dictionary.W_dec, "b_dec": dictionary.b_dec, **special}
    # Cloned, since safetensors refuses tensors that share memory.
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, folder / "sae_weights.safetensors")
    cfg = {
        "architecture": architecture,
        "d_in": dictionary.d_model,
        "d_sae": dictionary.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": FORMAT, **metadata},
    }
    (folder / "cfg.json").write_text(json.dumps(cfg, indent=2) + "\n")
    return architecture


def special_tensors(dictionary: Dictionary) -> tuple[str, dict[str, Tensor]]:
    """Returns the architecture, and the tensors that not every architecture has."""
    if dictionary.gain is not None or dictionary.offset is not None:
        return "gated", gated_tensors(dictionary)
    if (dictionary.threshold > 0).any():
        return "jumprelu", {"b_enc": dictionary.b_enc, "threshold": dictionary.threshold}
    return "standard", {"b_enc": dictionary.b_enc}


def gated_tensors(dictionary: Dictionary) -> dict[str, Tensor]:
    b_enc = dictionary.b_enc
    gain = torch.ones_like(b_enc) if dictionary.gain is None else dictionary.gain
    offset = torch.zeros_like(b_enc) if dictionary.offset is None else dictionary.offset
    if (gain <= 0).any():
        latent = int((gain <= 0).nonzero()[0])
        raise InvalidInput(f"latent {latent} has a gain of {float(gain[latent]):g}; sae-lens knows only positive ones")
    return {"b_gate": b_enc - dictionary.threshold, "r_mag": gain.log(), "b_mag": gain * b_enc + offset}


def metadata(manifest: Manifest) -> dict[str, Any]:
    """Returns what sae-lens says about an SAE, in its words, and the rest of the manifest in ours."""
    named = {"dataset_path": manifest.dataset["name"]} if "name" in manifest.dataset else {}
    ours = manifest.model_dump(mode="json", exclude={"format", "files", "d_model", "d_sae"})
    return {
        "model_name": manifest.model.name,
        "hook_name": lens_name(manifest.hook),
        **named,
        "featurehub": ours,
    }
