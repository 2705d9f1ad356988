"""`featurehub build`: a model and text become an SAE artifact, labelled features, and calibrated strengths.

1. identify the model: fingerprints of its weights, tokenizer and template
2. split the documents into training, and held-out ones that everything after training is measured on
3. measure how fast the model reads and answers, and say what every phase will take
4. harvest through an engine of the layers up to the hook point, and train
5. with the same engine, evaluate, and observe what the features do on held-out documents
6. choose the canaries, and let the model answer their prompts: the baseline of every later drift check
7. label every live latent, and seal the artifact
8. register artifact, features and labels in the database, in one transaction: from here on features can be searched,
   and steered at the usual dose
9. calibrate strengths by steering, the most promising features first, each round in a transaction of its own

Harvest and training keep their unfinished work beside the artifact, in a folder named after everything they depend on.
A build that is started again resumes from there; the folder is deleted when the features are registered. After that, it
goes on with the calibration.
"""

import shutil
from collections.abc import Sequence
from contextlib import closing
from glob import escape

from featurehub.artifacts.artifact import WEIGHTS, Artifact, open_artifact
from featurehub.artifacts.files import remove_leftovers, replace_folder
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine
from featurehub.errors import ArtifactError, NotFound
from featurehub.runs.baseline import seal_trained
from featurehub.runs.basis import CalibrationBasis, digest_of
from featurehub.runs.calibrate import calibrate_registered
from featurehub.runs.deadline import Deadline
from featurehub.runs.engines import Engines
from featurehub.runs.judges import BuildJudge
from featurehub.runs.matching import identify_own
from featurehub.runs.phases import PhasePlan
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.register import LENIENT, describe, register
from featurehub.runs.training import FollowUp, TrainPlan, train_saes
from featurehub.store import check_writable, open_store
from featurehub.token_ids import Message
from labeling.calibration import CalibrationConfig
from saes.budget import Budget

__all__ = ["BuildPlan", "build"]


class BuildPlan(TrainPlan):
    """Everything that a build depends on except the text. ``training`` must have exactly one recipe.

    A time in ``training.budget`` is that of the whole build.

    Attributes:
        database: Path of the feature database.
        name: Name of the artifact.
        calibration: How the strengths of features are calibrated.
        patient: Whether calibration tries all names that it should, if there is no budget of time. Otherwise it takes
            about as long as training.
    """

    database: str
    name: str
    calibration: CalibrationConfig = CalibrationConfig()
    patient: bool = True

    def digest(self, entries: Sequence[str | list[Message]]) -> str:
        """A digest of everything that the labels come from, but for the model."""
        training = self.training.model_copy(update={"budget": Budget(), "shards": None})
        parts = (training, self.layer, self.site, self.material, self.baseline, self.name)
        return digest_of(entries, *parts)


def build(
    plan: BuildPlan,
    entries: Sequence[str | list[Message]],
    judge: BuildJudge,
    prompts: Sequence[list[Message] | str],
    progress: Progress = SILENT,
) -> Artifact:
    """Builds an artifact, labels and registers its features, and calibrates them as far as there is time.

    Args:
        plan: What to build, and where.
        entries: The texts or chats to train and measure on.
        judge: Judges whether an answer shows what a label names.
        prompts: The prompts that strengths are calibrated on.
        progress: Receives progress reports.

    Returns:
        The artifact in ``plan.out``.

    Raises:
        ModelNotFound: The model's folder is not there or cannot be read.
        UnsupportedModel: The engine cannot steer this model.
        InvalidInput: The plan does not suit the model, or there is too little text.
        BudgetExceeded: The budget is too small for any training, or the disk for the harvest.
        CorruptArtifact: A parent's files are damaged.
        InvalidConfig: The database cannot be opened.
        StoreError: The database cannot be written. If the artifact was built, the message says how to register it.
    """
    check_writable(plan.database)
    deadline = Deadline.of(plan.training.budget)
    digest = plan.digest(entries)
    remove_leftovers(plan.out.parent, escape(plan.out.name))
    if (built := already_built(plan, digest, progress)) is not None:
        artifact, basis = built
        go_on(plan, artifact, basis, deadline, progress)
        return artifact
    trained, baseline = train_saes(plan, entries, FollowUp(deadline, plan.calibration, plan.patient), progress)
    [made], [sae], material = trained.saes, trained.seen, trained.material
    basis = CalibrationBasis.of(judge, prompts, made_from=digest, calibration=plan.calibration, seconds=trained.seconds)
    with Engines(plan.model, plan.engine, progress).trying(made.dictionary, material.hook, plan.out) as engine:
        with replace_folder(plan.out) as folder:
            made.dictionary.save(folder / WEIGHTS)
            named = {"name": plan.name, "judge": judge.name}
            seal_trained(baseline, engine, material, made, sae, folder, progress, **named)
            described = describe(plan.model, engine, sae, progress, LENIENT if deadline.is_bound else None)
        artifact = open_artifact(plan.out)
        basis.keep(artifact.folder, progress)
        register(artifact, described, plan.calibration, plan.database, progress)
        shutil.rmtree(trained.partial)
        until, speed = trained.ahead.calibrate_until(trained.seconds), trained.ahead.steered
        calibrate_last(plan, engine, artifact, basis, until, progress, speed)
    return artifact


def calibrate_last(
    plan: BuildPlan,
    engine: Engine,
    artifact: Artifact,
    basis: CalibrationBasis,
    until: float,
    progress: Progress,
    speed: float | None = None,
) -> None:
    """Step 9, until that time, in seconds of ``time.monotonic``."""
    done = calibrate_registered(engine, artifact, basis, plan.database, until, progress, speed)
    if not done.left:
        basis.model_copy(update={"done": True}).keep(artifact.folder, progress)


def already_built(plan: BuildPlan, digest: str, progress: Progress) -> tuple[Artifact, CalibrationBasis] | None:
    """The artifact that an earlier start of this build has registered, with what its calibration needs."""
    try:
        artifact = open_artifact(plan.out)
        basis = CalibrationBasis.find(plan.out)
        if basis is None or basis.made_from != digest:
            return None
        with closing(open_store(plan.database)) as store, store.read() as reader:
            reader.artifact(artifact.manifest.id)
        identify_own(artifact, plan.model, progress)
    except (NotFound, ArtifactError):
        return None
    return artifact, basis


def go_on(plan: BuildPlan, artifact: Artifact, basis: CalibrationBasis, deadline: Deadline, progress: Progress) -> None:
    """Step 9 for an artifact that an earlier start of this build has registered."""
    if basis.done and basis.calibration == plan.calibration:
        return progress.say(f"{plan.out} is built, registered and calibrated already; remove it to build it anew")
    progress.say(f"{plan.out} is built already, and its features are registered: its calibration goes on")
    basis = basis.model_copy(update={"calibration": plan.calibration})
    until = PhasePlan([], deadline, patient=plan.patient).calibrate_until(basis.seconds)
    with Engines(plan.model, plan.engine, progress).steering(EngineConfig.holding(artifact)) as engine:
        return calibrate_last(plan, engine, artifact, basis, until, progress)
