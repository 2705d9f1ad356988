"""Tensors and configurations of files that nobody here wrote: bounded in size, and nothing in them is executed.

.safetensors   as it is
.npz           without pickled objects
.pt, .pth      PyTorch's zip archives, by its loader that builds tensors and nothing else
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from featurehub.errors import CorruptArtifact, InvalidInput

__all__ = ["TENSOR_SUFFIXES", "Config", "Tensors", "read_config", "read_tensors"]

MAX_TENSOR_BYTES = 64 << 30
MAX_CONFIG_BYTES = 1 << 20
NEVER = "pickles are never executed; ask for safetensors, or save the plain tensors with torch.save"


class Tensors(dict[str, Tensor]):
    """A file's tensors by name; a missing name raises CorruptArtifact.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        self.path = path

    def __missing__(self, name: str) -> Tensor:
        raise CorruptArtifact(f"{self.path} lacks the tensor {name}; it holds {', '.join(self)}", param="source")

    def matrix(self, name: str) -> Tensor:
        """Returns a tensor of two dimensions in float32.

        Raises:
            CorruptArtifact: If it is missing or has another number of dimensions.
        """
        if self[name].ndim != 2:
            raise CorruptArtifact(
                f"{self.path}: {name} has shape {tuple(self[name].shape)}, expected 2 sides", param="source"
            )
        return self[name].float()

    def vector(self, name: str, length: int) -> Tensor:
        """Returns a tensor of shape [length] in float32.

        Raises:
            CorruptArtifact: If it is missing or has another shape.
        """
        if self[name].shape != (length,):
            raise CorruptArtifact(
                f"{self.path}: {name} has shape {tuple(self[name].shape)}, expected {(length,)}", param="source"
            )
        return self[name].float()


class Config(dict[str, Any]):
    """A configuration by key; a missing key raises InvalidInput.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise InvalidInput(f"{self.path} lacks {key!r}", param="source")


def read_config(path: Path) -> Config:
    """Reads a JSON configuration of at most 1 MiB.

    Raises:
        InvalidInput: If the file is larger, is not JSON, or does not hold an object.
    """
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise InvalidInput(
            f"{path} is larger than {MAX_CONFIG_BYTES >> 20} MiB; it is no configuration", param="source"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}", param="source") from None
    if not isinstance(values, dict):
        raise InvalidInput(f"{path} holds no configuration", param="source")
    return Config(path, values)


def read_tensors(path: Path) -> Tensors:
    """Reads a file's tensors; nothing in it is executed.

    Args:
        path: A file whose suffix is one of ``TENSOR_SUFFIXES``.

    Raises:
        InvalidInput: If the file is of another kind, holds more than 64 GiB, or holds anything but plain tensors.
        CorruptArtifact: If the file is damaged.
    """
    if path.suffix not in TENSOR_SUFFIXES:
        raise InvalidInput(f"cannot read {path}; known are {', '.join(TENSOR_SUFFIXES)}", param="source")
    check_bytes(path, path.stat().st_size)
    tensors = READERS[path.suffix](path)
    # A tensor may claim more than its file holds: strides of 0 repeat one number.
    check_bytes(path, sum(4 * tensor.numel() for tensor in tensors.values()))
    return Tensors(path, tensors)


def check_bytes(path: Path, size: int) -> None:
    if size > MAX_TENSOR_BYTES:
        raise InvalidInput(f"{path} holds {size / 2**30:.0f} GiB; at most {MAX_TENSOR_BYTES >> 30} are read")


def safetensors_file(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CorruptArtifact(f"{path} cannot be read: {error}", param="source") from None


def npz_file(path: Path) -> Mapping[str, Tensor]:
    check_archive(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{path} holds more than plain numbers ({error}); {NEVER}", param="source") from None


def torch_file(path: Path) -> Mapping[str, Tensor]:
    check_archive(path)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (UnpicklingError, RuntimeError, ValueError, KeyError, OSError, EOFError) as error:
        first = str(error).splitlines()[0]
        raise InvalidInput(f"{path} holds more than tensors ({first:.120}); {NEVER}", param="source") from None
    if not isinstance(loaded, Mapping) or not all(isinstance(name, str) for name in loaded):
        raise InvalidInput(f"{path} holds a {type(loaded).__name__}, expected tensors by name", param="source")
    # Buffers such as k may have been saved as numbers.
    numbers = {name: torch.tensor(each) for name, each in loaded.items() if isinstance(each, int | float)}
    return {name: each for name, each in loaded.items() if is_dense(each)} | numbers


def is_dense(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_quantized


def check_archive(path: Path) -> None:
    """Raises InvalidInput for a file that is not a zip, or says that it unpacks to too much; nothing is unpacked."""
    if not zipfile.is_zipfile(path):
        raise InvalidInput(f"{path} is cut short or a pickle; {NEVER}", param="source")
    try:
        with zipfile.ZipFile(path) as archive:
            check_bytes(path, sum(entry.file_size for entry in archive.infolist()))
    except zipfile.BadZipFile as error:
        raise CorruptArtifact(f"{path} cannot be read: {error}", param="source") from None


READERS: dict[str, Callable[[Path], Mapping[str, Tensor]]] = {
    ".safetensors": safetensors_file,
    ".npz": npz_file,
    ".pt": torch_file,
    ".pth": torch_file,
}
TENSOR_SUFFIXES = tuple(READERS)
"""Suffixes of the files that ``read_tensors`` reads."""
