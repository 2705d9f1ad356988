"""`featurehub label`: names, statistics and strengths for an artifact's features, into the database.

1. compare the fingerprints: an SAE is labelled on the function that it was trained on
2. encode the texts that a build would have held out, label, calibrate, register
"""

from collections.abc import Sequence

from featurehub.artifacts.artifact import Artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.cli.progress import phase
from featurehub.dictionary import Dictionary
from featurehub.errors import IncompatibleArtifact
from featurehub.runs.baseline import observed
from featurehub.runs.material import material_of
from featurehub.runs.register import BuildJudge, register
from featurehub.runs.training import TrainPlan, harvesting
from labeling.strength import CalibrationConfig
from saes.documents import prompt_ids
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
    verify(artifact)
    with phase("identifying the model"):
        hook = artifact.manifest.hook
        identity = identify(plan.model, hook)
    check_fits(artifact, identity)
    if differing := artifact.manifest.model.differences(identity):
        raise IncompatibleArtifact(
            f"{plan.model} is not the model that {artifact.manifest.name} was trained on "
            f"({artifact.manifest.model.name}): they differ in {', '.join(differing)}, or the artifact does not record "
            "it. Give that model, or see what holds on this one with `featurehub drift check`",
            param="model",
        )
    with harvesting(plan, hook) as engine:
        material = material_of(plan, engine, identity, hook, entries)
        trained = observed(plan, engine, Dictionary.load(artifact.weights), material.held_out)
        calibration_prompts = [prompt_ids(engine.tokenizer, prompt) for prompt in prompts]
    register(plan, artifact.folder, trained, judge, calibration_prompts)
