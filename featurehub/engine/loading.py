"""How our engines load a checkpoint: what lies in its files, in its own precision, and nothing else.

vLLM's defaults would round float32 to 16 bits, prefer a left-over ``consolidated.safetensors`` to the shards beside it,
and take Mistral's own configuration and tokenizer where they lie in the folder: none of that is what was fingerprinted.
"""

from pathlib import Path
from typing import Any

from featurehub.artifacts.checkpoint import dtype_of
from featurehub.artifacts.tensors import SINGLE, weight_files

__all__ = ["LOAD_FORMAT", "as_fingerprinted", "only_weights", "own_dtype"]

LOAD_FORMAT = "safetensors"


def as_fingerprinted(model: Path) -> dict[str, Any]:
    """vLLM's options for it, by their names in Python. Raises ModelNotFound, InvalidInput."""
    return {
        "dtype": own_dtype(model),
        "load_format": LOAD_FORMAT,
        "config_format": "hf",
        "tokenizer_mode": "hf",
    }


def own_dtype(model: Path) -> str:
    """The checkpoint's precision. Raises ModelNotFound, InvalidInput.

    vLLM's ``auto`` keeps one of 16 bits where the hardware has it, but rounds float32 to 16 bits.
    """
    return "float32" if dtype_of(model) == "float32" else "auto"


def only_weights(model: Path) -> list[str] | None:
    """What vLLM loads alone, as patterns; None where it goes by the index, or takes all there is.

    Without an index it would take whatever lies beside ``model.safetensors`` for a part of the model.
    """
    return [SINGLE] if model.is_dir() and weight_files(model) == [model / SINGLE] else None
