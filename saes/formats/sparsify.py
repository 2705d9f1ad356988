"""EleutherAI's sparsify: ``cfg.json`` + ``sae.safetensors``, in a folder named after the module that it reads.

Nothing else says where it reads: in a folder of another name, ``hook`` is None.

    a = the k largest of (encoder(x − b_dec))⁺        x̂ = a · W_dec + b_dec, both weights [d_sae, d_model]

Transcoders, and SAEs whose reconstruction also reads the input some other way, are refused.
"""

from pathlib import Path

from featurehub.errors import InvalidInput
from saes.formats.files import Config, read_config, read_tensors
from saes.formats.hooks import find_hook
from saes.formats.imported import ImportedSae, dictionary_of

__all__ = ["CONFIG", "WEIGHTS", "import_sparsify"]

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
"""The format's files, within an SAE's folder."""
REFUSED = ("transcode", "skip_connection", "embed_skip", "gram_lookup", "signed")


def import_sparsify(folder: Path) -> ImportedSae:
    """Imports an SAE of sparsify.

    Args:
        folder: The folder, whose name may say where the SAE reads.

    Raises:
        InvalidInput: If it is a transcoder or another kind that is refused, or its configuration cannot be read.
        CorruptArtifact: If the weights are damaged.
    """
    cfg = read_config(folder / CONFIG)
    check(cfg)
    tensors = read_tensors(folder / WEIGHTS)
    W_enc, W_dec = tensors.matrix("encoder.weight").T, tensors.matrix("W_dec")
    d_sae, d_model = W_dec.shape
    b_enc, b_dec = tensors.vector("encoder.bias", d_sae), tensors.vector("b_dec", d_model)
    name = folder.absolute().name
    return ImportedSae(
        dictionary=dictionary_of(tensors, W_enc, W_dec, b_enc, b_dec),
        architecture="topk",
        hook=find_hook(name),
        place=name,
        model=model_of(folder),
        k=float(cfg["k"]),
        topk=True,
    )


def check(cfg: Config) -> None:
    """Raises InvalidInput for the kinds that are refused."""
    for key in REFUSED:
        if cfg.get(key):
            raise InvalidInput(f"cannot import {cfg.path}: an SAE with {key}", param="source")
    if cfg.get("activation", "topk") != "topk":
        raise InvalidInput(f"cannot import {cfg.path}: its activation is {cfg['activation']}, not topk", param="source")


def model_of(folder: Path) -> str:
    """Returns the model's name, from the whole run's configuration beside the SAEs' folders; "" without one."""
    run = folder.absolute().parent / "config.json"
    return str(read_config(run).get("model", "")) if run.is_file() else ""
