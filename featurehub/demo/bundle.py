"""Where the models and the SAE of ``featurehub-demo`` are, and the manifest that says how each model was made.

They are a distribution of their own, with the package ``featurehub_demo``. In a checkout they lie beside this file, and
those are the ones that are used there, whatever is installed.
"""

import hashlib
import json
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from featurehub.errors import ModelNotFound

__all__ = [
    "HOOK_LAYER",
    "SIBLINGS",
    "bundle",
    "bundled_model",
    "bundled_sae",
    "code_version",
    "read_manifest",
    "sae_place",
    "sha256_of",
    "sibling",
    "write_manifest",
]

SIBLINGS = ("benign", "changed", "reseeded")
"""Names of the siblings that are bundled."""
HOOK_LAYER = 3
"""The layer of the bundled models that the demo's SAE reads."""
PACKAGE = "featurehub_demo"
DISTRIBUTION = "featurehub-demo"
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


def bundle() -> Path:
    """The folder with everything that is bundled.

    Raises:
        ModelNotFound: It is not installed.
    """
    own = Path(str(files("featurehub.demo"))) / "bundle" / PACKAGE
    if own.is_dir():
        return own
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelNotFound(
            f"the demo's models and SAE are not installed: `pip install {DISTRIBUTION}=={version('featurehub')}`, or "
            "install featurehub with its extra `cpu` or `cuda`, which bring them",
            param="model",
        )
    return Path(spec.origin).parent


def bundled_model() -> Path:
    """The folder of the bundled base model.

    Raises:
        ModelNotFound: It is not installed.
    """
    return _folder("base")


def bundled_sae() -> Path:
    """The folder of the SAE of SmolLM2, as ``featurehub.runs.parcel`` packs it.

    Raises:
        ModelNotFound: It is not installed.
    """
    folder = sae_place()
    if not (folder / MANIFEST).is_file():
        raise ModelNotFound(
            f"{folder} holds no SAE: reinstall {DISTRIBUTION}, or build one and put it there with "
            "`featurehub demo bundle SAE --db DB`",
            param="sae",
        )
    return folder


def sae_place() -> Path:
    """Where the bundle has the SAE of SmolLM2, whether it is there or not.

    Raises:
        ModelNotFound: The bundle is not installed.
    """
    return bundle() / "smollm2" / "sae"


def sibling(name: str) -> Path:
    """The folder of a retrained sibling of the bundled model.

    Args:
        name: ``benign``, ``changed`` or ``reseeded``.

    Raises:
        ModelNotFound: There is no sibling with this name, or it is not installed.
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
    folder = bundle() / name
    if not (folder / WEIGHTS).is_file():
        raise ModelNotFound(f"{folder} holds no model: reinstall {DISTRIBUTION}, or train one", param="model")
    return folder
