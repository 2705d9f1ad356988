"""dictionary_learning (saprmarks and others): ``config.json`` + ``ae.pt``, a state dict.

    dict_class               tensors                                 read as
    AutoEncoder              encoder.*, decoder.weight, bias         θ = 0; bias is b_dec
    AutoEncoderNew           encoder.*, decoder.*                    θ = 0; the input keeps b_dec
    AutoEncoderTopK          encoder.*, decoder.weight, b_dec, k     the threshold that training followed, else measured
    BatchTopKSAE             the same                                the same
    MatryoshkaBatchTopKSAE   W_enc, b_enc, W_dec, b_dec, k           the same
    JumpReluAutoEncoder      W_enc, b_enc, W_dec, b_dec, threshold   its own θ; the input keeps b_dec; unit rows
    GatedAutoEncoder         encoder.weight, decoder.*, r_mag, …     as SAELens' gated; unit rows

Weights of ``encoder`` are [d_sae, d_model] and those of ``decoder`` [d_model, d_sae]; W_enc and W_dec the other way.
"""

from pathlib import Path

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from saes.formats.files import Config, Tensors, read_config, read_tensors
from saes.formats.hooks import find_hook
from saes.formats.imported import ImportedSae, dictionary_of, with_unit_rows, without_input_bias

__all__ = ["CONFIG", "WEIGHTS", "import_dictionary_learning"]

CONFIG, WEIGHTS = "config.json", "ae.pt"
"""The format's files, within an SAE's folder."""
ARCHITECTURES = {
    "AutoEncoder": "standard",
    "AutoEncoderNew": "standard",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "batchtopk",
    "MatryoshkaBatchTopKSAE": "matryoshka_batchtopk",
    "JumpReluAutoEncoder": "jumprelu",
    "GatedAutoEncoder": "gated",
}


def import_dictionary_learning(folder: Path) -> ImportedSae:
    """Imports an SAE of dictionary_learning from its folder.

    Raises:
        InvalidInput: If its class is unknown, it reads another place, or its files cannot be read.
        CorruptArtifact: If the weights are damaged.
    """
    config = read_config(folder / CONFIG)
    trainer = Config(config.path, config["trainer"])
    kind = trainer["dict_class"]
    if kind not in ARCHITECTURES:
        raise InvalidInput(
            f"cannot import {config.path}: {kind} is unknown; known are {', '.join(ARCHITECTURES)}", param="source"
        )
    tensors = read_tensors(folder / WEIGHTS)
    topk = ARCHITECTURES[kind].endswith("topk")
    place = place_of(trainer)
    return ImportedSae(
        dictionary=dictionary(kind, tensors),
        architecture=ARCHITECTURES[kind],
        hook=find_hook(place),
        place=place,
        model=str(trainer.get("lm_name", "")),
        k=float(trainer["k"]) if topk else None,
        topk=topk and followed(tensors) is None,
    )


def place_of(trainer: Config) -> str:
    """Returns the name of the hook point. Older configurations name only the layer, and mean the stream after it."""
    layer = trainer.get("layer")
    return trainer.get("submodule_name") or ("" if layer is None else f"resid_post_layer_{layer}")


def followed(tensors: Tensors) -> float | None:
    """Returns the threshold that training kept up with, or None if it had not begun to: it is negative until then."""
    theta = float(tensors["threshold"]) if "threshold" in tensors else -1.0
    return theta if theta >= 0 else None


def dictionary(kind: str, tensors: Tensors) -> Dictionary:
    if kind == "GatedAutoEncoder":
        return gated(tensors)
    if kind in ("JumpReluAutoEncoder", "MatryoshkaBatchTopKSAE"):
        W_enc, W_dec = tensors.matrix("W_enc"), tensors.matrix("W_dec")
    else:
        W_enc, W_dec = tensors.matrix("encoder.weight").T, tensors.matrix("decoder.weight").T
    d_sae, d_model = W_dec.shape
    b_enc = tensors.vector("b_enc" if "b_enc" in tensors else "encoder.bias", d_sae)
    b_dec = tensors.vector({"AutoEncoder": "bias", "AutoEncoderNew": "decoder.bias"}.get(kind, "b_dec"), d_model)
    match ARCHITECTURES[kind]:
        case "jumprelu":
            jumping = dictionary_of(tensors, W_enc, W_dec, b_enc, b_dec, tensors.vector("threshold", d_sae))
            return with_unit_rows(without_input_bias(jumping))
        case "standard":
            plain = dictionary_of(tensors, W_enc, W_dec, b_enc, b_dec)
            return without_input_bias(plain) if kind == "AutoEncoderNew" else plain
        case _:
            return dictionary_of(tensors, W_enc, W_dec, b_enc, b_dec, followed(tensors) or 0.0)


def gated(tensors: Tensors) -> Dictionary:
    W_enc, W_dec = tensors.matrix("encoder.weight").T, tensors.matrix("decoder.weight").T
    d_sae, d_model = W_dec.shape
    gate, gain = tensors.vector("gate_bias", d_sae), tensors.vector("r_mag", d_sae).exp()
    offset = tensors.vector("mag_bias", d_sae) - gain * gate
    b_dec = tensors.vector("decoder_bias", d_model)
    return with_unit_rows(dictionary_of(tensors, W_enc, W_dec, gate, b_dec, gain=gain, offset=offset))
