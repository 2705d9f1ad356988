"""Whether a model is the one that an SAE was trained on."""

from pathlib import Path

from featurehub.artifacts.artifact import Artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.artifacts.manifest import ModelIdentity
from featurehub.errors import IncompatibleArtifact
from featurehub.runs.progress import Progress

__all__ = ["identify_own"]


def identify_own(artifact: Artifact, model: Path, progress: Progress) -> ModelIdentity:
    """Identifies a model, which must be the one that the SAE was trained on.

    Args:
        artifact: The SAE.
        model: Folder of the model.
        progress: Receives progress reports.

    Raises:
        ModelNotFound: The model's folder is not there.
        IncompatibleArtifact: It is not known to be the model that the SAE was trained on.
        CorruptArtifact: The SAE's files are damaged.
        InvalidInput: The model cannot be read.
    """
    verify(artifact)
    with progress.phase("identifying the model"):
        identity = identify(model, artifact.manifest.hook)
    check_fits(artifact, identity)
    if differing := artifact.manifest.model.differences(identity):
        raise IncompatibleArtifact(
            f"{model} is not the model that {artifact.manifest.name} was trained on "
            f"({artifact.manifest.model.name}): they differ in {', '.join(differing)}, or the artifact does not record "
            "it. Give that model, or see what holds on this one with `featurehub drift check`",
            param="model",
        )
    return identity
