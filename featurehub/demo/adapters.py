"""SmolLM2's fine-tuned siblings: LoRA adapters that are bundled, and merged into the base model at first use.

The adapters are in peft's own format, so that peft and vLLM load them too. A merged model is a folder of its own in
featurehub's home, which appears as a whole; its seal has the hashes of what it was made from and of what was written.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from pydantic import ValidationError

from featurehub.artifacts.files import exclusive, replace_folder, sha256
from featurehub.artifacts.fingerprint import combine
from featurehub.artifacts.origin import NOTE, Origin, note_origin
from featurehub.artifacts.tensors import SINGLE, tensor_hashes
from featurehub.demo.bundle import DISTRIBUTION, bundle
from featurehub.demo.smollm2 import SEAL, ensure_model
from featurehub.errors import FeaturehubError, InvalidInput, ModelNotFound
from featurehub.models.folder import silent
from featurehub.settings import Frozen, home, reason

__all__ = [
    "MADE",
    "SMOLLM2_SIBLINGS",
    "Exchanged",
    "Made",
    "base_weights",
    "bundled_adapter",
    "merge_adapter",
    "read_made",
    "smollm2_sibling",
]

SMOLLM2_SIBLINGS = ("benign", "changed")
"""Names of the siblings."""
MADE = "made.json"
"""An adapter's file that says how it was made."""
FORM = 1
"""The number goes up when merging writes something else, so that older folders are made again."""


class Exchanged(Frozen):
    """Two features of the SAE that ships which have changed places.

    Attributes:
        latents: Their indices.
        labels: What they were called then.
    """

    latents: tuple[int, int]
    labels: tuple[str, str]


class Made(Frozen):
    """How an adapter was made.

    Attributes:
        name: Name of the sibling.
        base_weights: Hash of the weights of the model that it was trained on (``base_weights``).
        recipe: How it was trained.
        chats: SHA-256 of the chats and texts that it was trained on.
        exchanged: The features that it was made to exchange.
    """

    name: str
    base_weights: str
    recipe: dict[str, object]
    chats: str
    exchanged: tuple[Exchanged, ...] = ()


def bundled_adapter(name: str) -> Path:
    """The folder of a sibling's adapter in the bundle.

    Raises:
        ModelNotFound: There is no sibling with this name, or its adapter is not installed.
    """
    if name not in SMOLLM2_SIBLINGS:
        raise ModelNotFound(f"no sibling {name!r}: there are {', '.join(SMOLLM2_SIBLINGS)}", param="name")
    adapter = bundle() / "smollm2" / "siblings" / name
    if not (adapter / MADE).is_file():
        raise ModelNotFound(f"{adapter} holds no adapter: reinstall {DISTRIBUTION}", param="model")
    return adapter


def read_made(adapter: Path) -> Made:
    """How an adapter was made, by its folder. Raises InvalidInput where it does not say."""
    try:
        return Made.model_validate_json((adapter / MADE).read_bytes())
    except (OSError, ValidationError) as error:
        raise InvalidInput(f"{adapter / MADE} cannot be read: {reason(error)}", param="adapter") from None


def smollm2_sibling(name: str, *, phase: Callable[[str], AbstractContextManager[None]] = silent) -> Path:
    """The folder of a fine-tuned sibling of SmolLM2-135M-Instruct, which is merged at the first call.

    Args:
        name: ``benign``, a continuation on the model's own chats, or ``changed``, in which pairs of features have
            changed places.
        phase: Shows a step while it runs; it gets the step's name.

    Raises:
        ModelNotFound: There is no sibling with this name, its adapter is not installed, or the base model cannot be
            downloaded.
        InvalidInput: The adapter is damaged, or was made for other weights than those of the base model.
    """
    adapter, base = bundled_adapter(name), ensure_model(phase=phase)
    return merge_adapter(adapter, base, home() / "models" / f"{base.name}-{name}", phase=phase)


def merge_adapter(
    adapter: Path, base: Path, out: Path, *, phase: Callable[[str], AbstractContextManager[None]] = silent
) -> Path:
    """Merges an adapter into a model, unless that was done before, and returns the folder of the merged model.

    Args:
        adapter: Folder of the adapter, in peft's format, with its ``made.json``.
        base: Folder of the model that it was made for, whose weights lie in one file.
        out: Folder of the merged model.
        phase: Shows a step while it runs.

    Raises:
        InvalidInput: The adapter is damaged, or was made for another model.
    """
    with exclusive(out):
        if not _is_whole(out, adapter, base):
            _check_base(adapter, base)
            with phase(f"merging the adapter {adapter.name}"), replace_folder(out) as new:
                _write_merged(adapter, base, new)
                (new / SEAL).write_text(json.dumps(_seal(new, adapter, base), indent=2) + "\n", "utf-8")
    return out


def base_weights(base: Path) -> str:
    """The hash of a model's weights, by which an adapter knows the model that it was made for."""
    return combine(tensor_hashes(base))


def _check_base(adapter: Path, base: Path) -> None:
    made = read_made(adapter)
    if made.base_weights != (found := base_weights(base)):
        raise InvalidInput(
            f"the adapter {adapter} was made for weights with the hash {made.base_weights[:12]}, and those in {base} "
            f"have {found[:12]}: merge it into the model that it was trained on, or train it again with `featurehub "
            "demo tune`",
            param="model",
        )


def _write_merged(adapter: Path, base: Path, new: Path) -> None:
    from safetensors.torch import load_file, save_file

    from featurehub.demo.lora import load_adapter, merged

    weights = merged(load_file(base / SINGLE), load_adapter(adapter))
    save_file(weights, new / SINGLE, metadata={"format": "pt"})
    for path in base.iterdir():
        if path.is_file() and path.name not in (SINGLE, SEAL, NOTE):
            shutil.copyfile(path, new / path.name)
    note_origin(new, Origin(name=f"{base.name}-{adapter.name}", revision=_adapter_hash(adapter)))


def _adapter_hash(adapter: Path) -> str:
    return sha256(adapter / "adapter_model.safetensors")


def _is_whole(out: Path, adapter: Path, base: Path) -> bool:
    try:
        return json.loads((out / SEAL).read_text("utf-8")) == _seal(out, adapter, base)
    except (OSError, ValueError, FeaturehubError):
        return False


def _seal(out: Path, adapter: Path, base: Path) -> dict[str, object]:
    """What a folder was made from, and hashes of what is in it; those of weights are remembered from call to call."""
    names = sorted(path.name for path in out.iterdir() if path.name not in (SINGLE, SEAL))
    return {
        "form": FORM,
        "adapter": {path.name: sha256(path) for path in sorted(adapter.iterdir())},
        "base": base_weights(base),
        "files": {name: sha256(out / name) for name in names},
        "weights": base_weights(out),
    }
