"""`featurehub label`: names, statistics and strengths for an artifact's features, into the database.

1. compare the fingerprints: an SAE is labelled on the function that it was trained on
2. encode the texts that a build would have held out, label, calibrate, register
"""

from collections.abc import Sequence

from featurehub.artifacts.artifact import Artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.cli.progress import phase
from featurehub.cli.serve import check_fits
from featurehub.dictionary import Dictionary
from featurehub.errors import IncompatibleArtifact
from featurehub.runs.baseline import observed
from featurehub.runs.material import material_of
from featurehub.runs.register import BuildJudge, register
from featurehub.runs.training import TrainPlan, harvesting
from featurehub.store import check_writable
from labeling.strength import CalibrationConfig
from saes.documents import prompt_ids
from saes.drift.check import same_function
from saes.texts import Message

__all__ = ["LabelPlan", "label_artifact"]


class LabelPlan(TrainPlan):
    """out: the artifact's folder, as in every plan that registers"""

    database: str
    calibration: CalibrationConfig = CalibrationConfig()


def label_artifact(
    plan: LabelPlan,
    artifact: Artifact,
    entries: Sequence[str | list[Message]],
    judge: BuildJudge,
    prompts: Sequence[list[Message] | str],
) -> None:
    """Raises IncompatibleArtifact for another model than the artifact's, CorruptArtifact, InvalidInput."""
    check_writable(plan.database)
    verify(artifact)
    with phase("identifying the model"):
        hook = artifact.manifest.hook
        identity = identify(plan.model, hook)
    check_fits(artifact, identity)
    if not same_function(artifact, identity):
        raise IncompatibleArtifact(
            f"{plan.model} has other weights than {artifact.manifest.model.name}, which {artifact.manifest.name} was "
            "trained on; give that model, or see what holds on this one with `featurehub drift check`",
            param="model",
        )
    with harvesting(plan, hook) as engine:
        material = material_of(plan, engine, identity, hook, entries)
        trained = observed(plan, engine, Dictionary.load(artifact.weights), material.held_out)
        calibration_prompts = [prompt_ids(engine.tokenizer, prompt) for prompt in prompts]
    unregistered = register(plan, artifact.folder, trained, judge, calibration_prompts)
    if unregistered is not None:
        raise unregistered
