"""A transcoder in the forms that other projects read.

sae-lens        one layer: ``cfg.json`` and ``sae_weights.safetensors`` of a JumpReLU transcoder
circuit-tracer  any number of layers: ``config.yaml``, and for every layer i of the model ``W_enc_i.safetensors`` with
                W_enc_i [d_sae, d_model], b_enc_i, threshold_i and b_dec_i, and ``W_dec_i.safetensors`` with W_dec_i
                [d_sae, layers of the model − i, d_model]. It knows layers by their number, so those that the transcoder
                leaves out are there too: with latents that never fire, and zeros where nothing is written.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from featurehub.artifacts.files import replace_folder
from featurehub.errors import InvalidInput
from saes.formats.hooks import lens_name
from saes.transcoders.folder import OpenTranscoder
from saes.transcoders.form import Form
from saes.transcoders.transcoder import Transcoder

__all__ = ["export"]


def export(opened: OpenTranscoder, form: Form, folder: Path) -> None:
    """Writes a transcoder in another project's form, replacing whatever is in ``folder``.

    Args:
        opened: The transcoder.
        form: The other project.
        folder: Where to write.

    Raises:
        InvalidInput: If the form cannot hold this transcoder.
    """
    if form is Form.SAE_LENS and opened.transcoder.layers > 1:
        raise InvalidInput(
            f"sae-lens' transcoders have one layer, this one has {opened.transcoder.layers}; "
            f"give --to {Form.CIRCUIT_TRACER}",
            param="to",
        )
    with replace_folder(folder) as fresh:
        (to_sae_lens if form is Form.SAE_LENS else to_circuit_tracer)(opened, fresh)


def to_sae_lens(opened: OpenTranscoder, folder: Path) -> None:
    transcoder, manifest = opened
    cfg = {
        "architecture": "jumprelu_transcoder",
        "d_in": transcoder.d_model,
        "d_out": transcoder.d_model,
        "d_sae": transcoder.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.0.0",
            "model_name": manifest.model.name,
            "hook_name": lens_name(manifest.reads[0]),
            "hook_name_out": lens_name(manifest.writes[0]),
        },
    }
    tensors = {
        "W_enc": transcoder.W_enc[0].T.contiguous(),
        "b_enc": transcoder.b_enc[0],
        "threshold": transcoder.threshold[0],
        "W_dec": transcoder.W_dec[0][0],
        "b_dec": transcoder.b_dec[0],
    }
    (folder / "cfg.json").write_text(json.dumps(cfg, indent=2) + "\n")
    save_file(tensors, folder / "sae_weights.safetensors")


def to_circuit_tracer(opened: OpenTranscoder, folder: Path) -> None:
    transcoder, manifest = opened
    config = {
        "model_name": manifest.model.name,
        "model_kind": "cross_layer_transcoder",
        "feature_input_hook": f"hook_{manifest.reads[0].site}",
        "feature_output_hook": f"hook_{manifest.writes[0].site}",
    }
    # A JSON string is a YAML one.
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in config.items()]
    (folder / "config.yaml").write_text("".join(lines))
    own = {point.layer: i for i, point in enumerate(manifest.reads)}
    for layer in range(manifest.model.layers):
        save_layer(transcoder, own, layer, manifest.model.layers, folder)


def save_layer(transcoder: Transcoder, own: dict[int, int], layer: int, layers: int, folder: Path) -> None:
    """Writes both files of a layer of the model.

    Args:
        transcoder: The transcoder.
        own: The transcoder's number of each of the model's layers that it has.
        layer: The layer of the model.
        layers: Number of the model's layers.
        folder: Where to write.
    """
    sizes = {"W_enc": (transcoder.d_sae, transcoder.d_model), "b_dec": (transcoder.d_model,)}
    sizes |= {"b_enc": (transcoder.d_sae,), "threshold": (transcoder.d_sae,)}
    tensors = {name: torch.zeros(size) for name, size in sizes.items()}
    W_dec = torch.zeros(transcoder.d_sae, layers - layer, transcoder.d_model)
    if layer in own:
        tensors = {name: getattr(transcoder, name)[own[layer]] for name in sizes}
        for m in range(layer, layers):
            if m in own:
                W_dec[:, m - layer] = transcoder.W_dec[own[m]][own[layer]]
    encoder = {f"{name}_{layer}": tensor.clone() for name, tensor in tensors.items()}
    save_file(encoder, folder / f"W_enc_{layer}.safetensors")
    save_file({f"W_dec_{layer}": W_dec}, folder / f"W_dec_{layer}.safetensors")
