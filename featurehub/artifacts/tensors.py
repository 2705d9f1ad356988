"""The hash of every tensor that an engine loads from a checkpoint, by dtype, shape and bytes.

Weights are hashed as they are loaded: if the model runs in float32, tensors that are kept in 16 bits are widened
first, which loses nothing.

A file that has not changed since it was last hashed is not read (``remembered``). In any other file, all tensors are
hashed at once, the largest first: the file is mapped into memory, and hashlib releases the interpreter's lock.
"""

import hashlib
import json
import mmap
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from featurehub.artifacts.remembered import FileIdentity, recall, remember
from featurehub.errors import InvalidInput, ModelNotFound

__all__ = ["INDEX", "SINGLE", "TensorHash", "tensor_hashes", "weight_files"]

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class TensorHash(NamedTuple):
    """The hash of one tensor.

    Attributes:
        name: Name of the tensor.
        digest: SHA-256 over its dtype, shape and bytes.
    """

    name: str
    digest: str


def weight_files(folder: Path) -> list[Path]:
    """The files that an engine loads, sorted.

    They are those that the index names; without an index, ``model.safetensors``; without that, every safetensors file.
    Adapters and consolidated copies beside them are not part of the model.

    Raises:
        ModelNotFound: There are no safetensors files.
        InvalidInput: The index cannot be read, or names a file that is missing.
    """
    if (folder / INDEX).is_file():
        return indexed(folder)
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelNotFound(f"no *.safetensors in {folder}; pickled weights are never read", param="model")
    return files


def indexed(folder: Path) -> list[Path]:
    try:
        names = set(json.loads((folder / INDEX).read_text())["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        raise InvalidInput(f"{folder / INDEX} is not an index of weights; fetch it again", param="model") from None
    present = {path.name: path for path in folder.glob("*.safetensors")}
    missing = sorted(str(name) for name in names if name not in present)
    if missing or not names:
        raise InvalidInput(
            f"{folder / INDEX} names {missing[0] if missing else 'no file'}, which is missing; fetch the model again",
            param="model",
        )
    return sorted(present[name] for name in names)


def tensor_hashes(folder: Path, dtype: str = "") -> list[TensorHash]:
    """One hash per tensor that an engine loads, sorted by name.

    Args:
        folder: The checkpoint.
        dtype: The precision in which it is loaded; "" for that of the file.

    Raises:
        ModelNotFound: There are no weights in the folder.
        InvalidInput: A file is damaged or missing.
    """
    files, form = weight_files(folder), "F32" if dtype == "float32" else ""
    with ThreadPoolExecutor() as pool:
        return sorted(TensorHash(*entry) for path in files for entry in file_hashes(path, pool, form).items())


def file_hashes(path: Path, pool: Executor, form: str) -> dict[str, str]:
    """Hashes by name of the tensor; those of 16 bits are widened to the dtype ``form``, if one is given."""
    try:
        file = FileIdentity.of(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}. Fetch it again.", param="model") from None
    known = recall(file, form)
    if known is None:
        known = hash_file(path, pool, form)
        remember(file, known, form)
    return known


def hash_file(path: Path, pool: Executor, form: str) -> dict[str, str]:
    check_readable(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        header.pop("__metadata__", None)
        largest_first = sorted(header, key=lambda name: size_of(header[name]), reverse=True)
        hashed = pool.map(lambda name: digest(header[name], data, start, form), largest_first)
        return dict(zip(largest_first, hashed, strict=True))


def check_readable(path: Path) -> None:
    """Lets safetensors itself validate the header and the file's length."""
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise InvalidInput(f"{path} is damaged: {error}. Fetch or build it again.", param="model") from None


def size_of(entry: dict[str, Any]) -> int:
    begin, end = entry["data_offsets"]
    return end - begin


def digest(entry: dict[str, Any], data: mmap.mmap, start: int, form: str) -> str:
    """Hash of one tensor: its dtype, shape and bytes. ``start`` is where the file's tensor data begins."""
    (begin, end), widen = entry["data_offsets"], WIDENED.get(entry["dtype"]) if form else None
    result = hashlib.sha256(f"{form if widen else entry['dtype']}{entry['shape']}".encode())
    with memoryview(data) as view, view[start + begin : start + end] as tensor:
        if widen is None:
            result.update(tensor)
        else:
            for piece in range(0, len(tensor), PIECE):
                result.update(widen(bytes(tensor[piece : piece + PIECE])))
    return result.hexdigest()


def from_float16(data: bytes) -> memoryview:
    return np.frombuffer(data, "<f2").astype("<f4").data


def from_bfloat16(data: bytes) -> memoryview:
    """A bfloat16 is the upper half of a float32."""
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).data


WIDENED = {"F16": from_float16, "BF16": from_bfloat16}
PIECE = 1 << 24
"""Number of bytes that are widened at a time."""
