"""Where the models that ship with the package are, and the manifest that says how each was made."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from featurehub.errors import ModelNotFound

__all__ = ["SIBLINGS", "bundled_model", "code_version", "read_manifest", "sha256_of", "sibling", "write_manifest"]

SIBLINGS = ("benign", "changed", "reseeded")
"""Names of the siblings that ship with the package."""
MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
MAKERS = (
    "lexicon.toml",
    "prompts.toml",
    "lexicon.py",
    "grammar.py",
    "answers.py",
    "prompts.py",
    "corpus.py",
    "tokenizer.py",
    "batches.py",
    "model.py",
    "train.py",
)


def bundled_model() -> Path:
    """The folder of the bundled base model.

    Raises:
        ModelNotFound: The installation does not contain it.
    """
    return _folder("base")


def sibling(name: str) -> Path:
    """The folder of a retrained sibling of the bundled model.

    Args:
        name: ``benign``, ``changed`` or ``reseeded``.

    Raises:
        ModelNotFound: There is no sibling with this name, or the installation does not contain it.
    """
    if name not in SIBLINGS:
        raise ModelNotFound(f"no sibling {name!r}: there are {', '.join(SIBLINGS)}", param="name")
    return _folder(f"siblings/{name}")


def sha256_of(path: Path) -> str:
    """The SHA-256 hash of a file's bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code_version() -> str:
    """A hash of the code and word lists that make a model, independent of version control.

    Any edit to those files changes it, even to a comment.
    """
    digest = hashlib.sha256()
    for name in MAKERS:
        digest.update(name.encode() + b"\0" + files("featurehub.demo").joinpath(name).read_bytes() + b"\0")
    return digest.hexdigest()


def write_manifest(folder: Path, made: dict[str, Any]) -> None:
    """Writes a model's manifest beside its weights.

    Args:
        folder: Folder of the model.
        made: How the model was made, as JSON types; the hashes of the code and the weights are added.
    """
    manifest = {**made, "code": code_version(), "weights_sha256": sha256_of(folder / WEIGHTS)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """How the model in a folder was made.

    Raises:
        ModelNotFound: The folder holds no manifest.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelNotFound(f"{folder} holds no {MANIFEST}: train a model there with `featurehub demo train`")
    return json.loads(path.read_text("utf-8"))


def _folder(name: str) -> Path:
    folder = Path(str(files("featurehub.demo"))) / "bundle" / name
    if not (folder / WEIGHTS).is_file():
        raise ModelNotFound(f"the package ships no model {name!r}: reinstall featurehub, or train one")
    return folder
