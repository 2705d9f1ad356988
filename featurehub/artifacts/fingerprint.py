"""The fingerprint of a checkpoint: which function do these weights compute, up to the hook point and as a whole?

1. Every tensor of the folder's safetensors files is hashed by name, dtype, shape and bytes.
2. ``reads`` combines the tensors that the stream at the hook point depends on: those of layers 0 … hook layer and
   those before the first layer (embeddings). Later layers, the final norm and the unembedding leave it unchanged.
3. ``whole`` combines all tensors.
"""

import hashlib
import json
import mmap
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from featurehub.artifacts.files import sha256
from featurehub.artifacts.manifest import HookPoint, ModelIdentity
from featurehub.errors import InvalidInput, ModelNotFound

__all__ = ["TensorHash", "combine", "identify", "layer_of", "reads_hook", "tensor_hashes"]

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_BEFORE_FIRST_LAYER = re.compile(r"embed(?!_out)|\.?wte\.|\.?wpe\.")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")


class TensorHash(NamedTuple):
    name: str
    digest: str


def identify(folder: Path, hook: HookPoint) -> ModelIdentity:
    """The identity of the Hugging Face checkpoint in ``folder``, as seen from ``hook``.

    Raises ModelNotFound where there is no such checkpoint, InvalidInput where it cannot be read.
    """
    config = read_config(folder)
    hashes = tensor_hashes(folder)
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 0)
    if hook.layer >= layers:
        raise InvalidInput(f"hook layer {hook.layer}: {folder} has layers 0 to {layers - 1}", param="layer")
    return ModelIdentity(
        name=folder.name,
        architecture=(config.get("architectures") or ["unknown"])[0],
        d_model=int(config.get("hidden_size") or config.get("n_embd") or 0),
        layers=layers,
        dtype=str(config.get("dtype") or config.get("torch_dtype") or "float32"),
        reads=combine(entry for entry in hashes if reads_hook(entry.name, hook.layer)),
        whole=combine(hashes),
        tokenizer=combine(TensorHash(p.name, sha256(p)) for n in _TOKENIZER_FILES if (p := folder / n).is_file()),
        chat_template=chat_template_hash(folder),
    )


def read_config(folder: Path) -> dict:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelNotFound(
            f"no model in {folder}: config.json is missing. Give a folder in Hugging Face format.", param="model"
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}", param="model") from None


def tensor_hashes(folder: Path) -> list[TensorHash]:
    """One hash per tensor of the folder's safetensors files, sorted by name. Raises ModelNotFound, InvalidInput."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelNotFound(f"no *.safetensors in {folder}; pickled weights are never read", param="model")
    with ThreadPoolExecutor() as pool:
        return sorted(entry for entries in pool.map(file_hashes, files) for entry in entries)


def file_hashes(path: Path) -> list[TensorHash]:
    check_readable(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        header.pop("__metadata__", None)
        return [TensorHash(name, digest(entry, data, start)) for name, entry in header.items()]


def check_readable(path: Path) -> None:
    """Lets safetensors itself validate the header and the file's length."""
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise InvalidInput(f"{path} is damaged: {error}. Fetch or build it again.", param="model") from None


def digest(entry: dict[str, Any], data: mmap.mmap, start: int) -> str:
    """Of one tensor: its dtype, shape and bytes. ``start`` is where the file's tensor data begins."""
    begin, end = entry["data_offsets"]
    result = hashlib.sha256(f"{entry['dtype']}{entry['shape']}".encode())
    with memoryview(data) as view:
        result.update(view[start + begin : start + end])
    return result.hexdigest()


def combine(hashes: Iterable[TensorHash]) -> str:
    result = hashlib.sha256()
    for entry in hashes:
        result.update(f"{entry.name}:{entry.digest}\n".encode())
    return result.hexdigest()


def reads_hook(tensor: str, layer: int) -> bool:
    """Whether the stream after ``layer`` depends on the tensor of this name."""
    own = layer_of(tensor)
    return own <= layer if own is not None else bool(_BEFORE_FIRST_LAYER.search(tensor))


def layer_of(tensor: str) -> int | None:
    """The layer that the tensor of this name belongs to; None for one outside of the layers."""
    found = _LAYER.search(tensor)
    return int(found[1]) if found else None


def chat_template_hash(folder: Path) -> str:
    """Of the template file, or of the one inside the tokenizer's configuration; "" where there is none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return sha256(path)
    config = folder / "tokenizer_config.json"
    template = json.loads(config.read_text()).get("chat_template") if config.is_file() else None
    return hashlib.sha256(json.dumps(template).encode()).hexdigest() if template else ""
