"""The SAE of SmolLM2 that ships, in a folder and a database of its own."""

from pathlib import Path

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_sae
from featurehub.errors import IncompatibleArtifact
from featurehub.runs.parcel import unpack
from featurehub.settings import home

__all__ = ["check_trained_on", "ensure_smollm2", "smollm2_database"]


def smollm2_home() -> Path:
    """The folder of everything that the demo makes from the bundle."""
    return home() / "demo" / "smollm2"


def smollm2_database() -> str:
    """The path of the demo's feature database."""
    return str(smollm2_home() / "featurehub.db")


def ensure_smollm2() -> Artifact:
    """The SAE, which is unpacked from the bundle and registered at the first call.

    Raises:
        ModelNotFound: The bundle is not installed, or has no SAE.
        CorruptArtifact: Its files are damaged.
        StoreError: The database cannot be written.
    """
    return unpack(bundled_sae(), smollm2_home() / "sae", smollm2_database())


def check_trained_on(artifact: Artifact, model: Path) -> None:
    """Checks that a model is the one that an SAE was trained on.

    Raises:
        IncompatibleArtifact: It is another.
        ModelNotFound: The folder holds no model.
        InvalidInput: It cannot be read.
    """
    trained_on = artifact.manifest.model
    # As seen from the first layer, which every model has.
    if differing := trained_on.differences(identify(model, HookPoint(layer=0))):
        raise IncompatibleArtifact(
            f"the SAE that ships is one of {trained_on.name}, and the model in {model} differs from it in "
            f"{', '.join(differing)}. Make one for your model: `featurehub build {model} --text TEXTS.json --out SAE`, "
            f"then `featurehub serve {model} --sae SAE`",
            param="model",
        )
