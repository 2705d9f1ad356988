"""Whether an SAE can be run on a model at all."""

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.manifest import OWN_WIDTH, ModelIdentity
from featurehub.errors import IncompatibleArtifact

__all__ = ["check_fits"]


def check_fits(artifact: Artifact, identity: ModelIdentity) -> None:
    """Checks that an SAE can be run on a model.

    Whether it means the same there as on its own model is another question: ``ModelIdentity.differences``.

    Raises:
        IncompatibleArtifact: The SAE reads a stream of another width, or a layer that the model does not have.
    """
    made = artifact.manifest
    stream = made.model.d_model if made.hook.site in OWN_WIDTH else made.d_model
    if stream != identity.d_model:
        widths = f"a stream of width {stream}, {identity.name} has one of {identity.d_model}"
        raise IncompatibleArtifact(
            f"the SAE {artifact.manifest.name} reads {widths}: it was trained on another model. "
            "`featurehub build` makes one for this model.",
            param="sae",
        )
    if artifact.manifest.hook.layer >= identity.layers:
        raise IncompatibleArtifact(
            f"the SAE {artifact.manifest.name} reads {artifact.manifest.hook}, {identity.name} has the layers 0 to "
            f"{identity.layers - 1}: it was trained on another model.",
            param="sae",
        )
