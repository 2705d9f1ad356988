"""How our engines load a checkpoint: exactly what its fingerprint was taken of, in its own precision.

vLLM's defaults would round float32 to 16 bits, prefer a left-over ``consolidated.safetensors`` to the shards beside it,
and take Mistral's own configuration and tokenizer if they lie in the folder: none of that is what was fingerprinted.
"""

from pathlib import Path
from typing import Any

from featurehub.artifacts.checkpoint import dtype_of, read_config, text_part
from featurehub.artifacts.tensors import SINGLE, weight_files

__all__ = ["LOAD_FORMAT", "as_fingerprinted", "only_weights", "own_dtype", "shortened"]

LOAD_FORMAT = "safetensors"
"""The value of vLLM's ``load_format`` for every checkpoint."""


def as_fingerprinted(model: Path) -> dict[str, Any]:
    """vLLM's options for loading a checkpoint as it was fingerprinted, by their names in Python.

    Args:
        model: Folder of the checkpoint.

    Raises:
        ModelNotFound: The folder holds no ``config.json``.
        InvalidInput: It cannot be read.
    """
    return {
        "dtype": own_dtype(model),
        "load_format": LOAD_FORMAT,
        "config_format": "hf",
        "tokenizer_mode": "hf",
    }


def own_dtype(model: Path) -> str:
    """The value of vLLM's ``dtype`` that keeps the checkpoint's precision: "float32" or "auto".

    vLLM's ``auto`` keeps a precision of 16 bits if the hardware has it, but rounds float32 to 16 bits.

    Args:
        model: Folder of the checkpoint.

    Raises:
        ModelNotFound: The folder holds no ``config.json``.
        InvalidInput: It cannot be read.
    """
    return "float32" if dtype_of(model) == "float32" else "auto"


def shortened(model: Path, depth: int) -> dict[str, Any]:
    """The value of vLLM's ``hf_overrides`` for the first layers of a model alone.

    Args:
        model: Folder of the checkpoint.
        depth: Number of layers.

    Raises:
        ModelNotFound: The folder holds no ``config.json``.
        InvalidInput: It cannot be read.
    """
    key, _ = text_part(read_config(model))
    layers = {"num_hidden_layers": depth}
    return {key: layers} if key else layers


def only_weights(model: Path, load_format: str = LOAD_FORMAT) -> list[str] | None:
    """The only files that vLLM may load weights from.

    Without an index, vLLM would take every weight file beside ``model.safetensors`` for a part of the model.

    Args:
        model: Folder of the checkpoint.
        load_format: How vLLM loads; in formats other than ours (``dummy`` reads no weights), the choice is its own.

    Returns:
        ``model.safetensors`` as a list of patterns; None if the weights do not lie in that file alone, the model is not
        a folder, or the format is not ours.

    Raises:
        ModelNotFound: The folder holds no weights.
        InvalidInput: The index of the weights cannot be read, or names a file that is missing.
    """
    if load_format != LOAD_FORMAT:
        return None
    return [SINGLE] if model.is_dir() and weight_files(model) == [model / SINGLE] else None
