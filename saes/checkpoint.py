"""The state of a run in one safetensors file: tensors by number, everything else as JSON in its metadata.

Not ``torch.save``: that writes a pickle, and of pickles only those of other projects' SAEs are read, by a loader that
builds tensors and nothing else.
"""

import json
from collections.abc import Iterable, Mapping
from glob import escape
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from featurehub.artifacts.files import remove_leftovers, replace_file
from featurehub.errors import CorruptArtifact

__all__ = ["load_state", "save_state"]

TENSOR = "$tensor"


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state to a file, under another name at first, so that a run killed meanwhile still has its last state.

    Args:
        path: The file to write or replace.
        state: Nested dicts, lists, numbers, strings and tensors. Numeric keys of dicts come back as strings.
    """
    remove_leftovers(path.parent, escape(path.name))
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(taken_out(state, tensors))
    with replace_file(path) as temporary:
        save_file(tensors, temporary, metadata={"state": text})


def taken_out(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Returns the value with a reference in place of each tensor, and puts the tensors into ``tensors``."""
    match value:
        case torch.Tensor():
            name = str(len(tensors))
            tensors[name] = alone(value.detach().contiguous(), tensors.values())
            return {TENSOR: name}
        case Mapping():
            return {str(key): taken_out(each, tensors) for key, each in value.items()}
        case list() | tuple():
            return [taken_out(each, tensors) for each in value]
        case _:
            return value


def alone(tensor: torch.Tensor, others: Iterable[torch.Tensor]) -> torch.Tensor:
    """Returns the tensor, copied only if its memory is part of something else: a shuffle buffer is large."""
    memory = tensor.untyped_storage()
    shared = memory.nbytes() != tensor.nbytes or any(memory.data_ptr() == each.data_ptr() for each in others)
    return tensor.clone() if shared else tensor


def load_state(path: Path) -> dict[str, Any]:
    """Reads a state that ``save_state`` wrote.

    Raises:
        CorruptArtifact: If the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return json.loads(metadata["state"], object_hook=lambda each: put_back(each, file))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CorruptArtifact(f"the checkpoint {path} cannot be read: {error}. Remove it to begin anew.") from None


def put_back(value: dict[str, Any], file: Any) -> Any:
    """Returns the tensor that a reference stands for, or the value itself."""
    return file.get_tensor(value[TENSOR]) if value.keys() == {TENSOR} else value
