"""What a refresh depends on: the SAE before, how much it is trained on, and what its strengths are measured with."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from featurehub.artifacts.artifact import Artifact, verify
from featurehub.artifacts.fingerprint import identify
from featurehub.artifacts.fits import check_fits
from featurehub.artifacts.manifest import Manifest, ModelIdentity
from featurehub.engine.offline import EngineOptions
from featurehub.errors import ArtifactNotFound, InvalidInput
from featurehub.records import Calibration, Label, Labeled
from featurehub.runs.baseline import BaselineConfig
from featurehub.runs.basis import CalibrationBasis, digest_of
from featurehub.runs.judges import judge_with
from featurehub.runs.material import MaterialConfig
from featurehub.runs.progress import Progress
from featurehub.runs.prompts import beginnings
from featurehub.runs.recipes import RecipeOptions, recipes_from
from featurehub.runs.registered import RegisteredFeatures
from featurehub.runs.training import SaeTraining, TrainPlan
from featurehub.settings import Frozen
from featurehub.store import Reader, open_store
from featurehub.token_ids import Message
from saes.budget import Budget
from saes.run import SCALE_BATCHES, TrainConfig

__all__ = ["Parent", "RefreshPlan", "basis_of", "parent_of", "training_of"]

SHARE = 0.05
"""Largest share of the vectors of the first training that are read by default."""
BATCHES, BUFFERED, FEWEST = 128, 8, 16
"""What is read is about so many steps, so many shuffle buffers; and the fewest vectors of a step. A few steps are read
to measure the stream's scale, and with what the buffer holds they are not trained on."""
LEAST = 4
"""Fewest steps."""


class RefreshPlan(Frozen):
    """Everything that a refresh depends on except the SAE and the text.

    Attributes:
        model: Folder of the retrained model.
        out: Folder of the refreshed SAE.
        database: Path of the feature database, which has the SAE's features.
        name: Name of the refreshed SAE.
        tokens: Vectors to train on; None for what ``SHARE`` of the first training leaves of reading.
        material: How the text is cut and split.
        baseline: How the SAE is evaluated, and its labels verified.
        anyway: Whether to go on where training from scratch is better.
        budget: The most time to spend.
        engine: Options of the engines.
    """

    model: Path
    out: Path
    database: str
    name: str
    tokens: int | None = Field(default=None, ge=1)
    material: MaterialConfig = MaterialConfig()
    baseline: BaselineConfig = BaselineConfig()
    anyway: bool = False
    budget: Budget = Budget()
    engine: EngineOptions = EngineOptions()

    def digest(self, parent: Artifact, entries: Sequence[str | list[Message]]) -> str:
        """A digest of everything that the labels come from, but for the model."""
        return digest_of(entries, parent.manifest.id, self.tokens, self.material, self.baseline, self.name)


class Parent(NamedTuple):
    """The SAE that is refreshed.

    Attributes:
        artifact: The SAE.
        known: Its features.
        first: The vectors of its first training, before any refresh; 0 where that is not on record.
        identity: The retrained model as seen from its hook point.
    """

    artifact: Artifact
    known: RegisteredFeatures
    first: int
    identity: ModelIdentity

    @property
    def labels(self) -> dict[int, Label]:
        """Its labels by latent."""
        return {each.latent: each.outcome.label for each in self.known.labels if isinstance(each.outcome, Labeled)}

    @property
    def steered(self) -> dict[int, Calibration]:
        """The calibrations that were found by steering, by latent."""
        return {latent: each for latent, each in self.known.calibrations.items() if each.method == "steered"}


def parent_of(plan: RefreshPlan, artifact: Artifact, progress: Progress) -> Parent:
    """The SAE that is refreshed, compared with the retrained model.

    Args:
        plan: For which model.
        artifact: The SAE.
        progress: Receives progress reports.

    Raises:
        ArtifactNotFound: The SAE is not registered.
        CorruptArtifact: Its files are damaged.
        ModelNotFound, IncompatibleArtifact: The model is not there, or of another width.
        InvalidInput: The model cannot be read, or is the one that the SAE was trained on.
    """
    verify(artifact)
    known = RegisteredFeatures.read(plan.database, artifact)
    with progress.phase("identifying the model"):
        identity = identify(plan.model, artifact.manifest.hook)
    check_fits(artifact, identity)
    if artifact.manifest.model.same_function(identity):
        raise InvalidInput(
            f"{plan.model} is the model that {artifact.manifest.name} was trained on: it needs no refresh",
            param="model",
        )
    with closing(open_store(plan.database)) as store, store.read() as reader:
        return Parent(artifact, known, first_training(artifact.manifest, reader), identity)


def training_of(plan: RefreshPlan, parent: Parent) -> TrainPlan:
    """How the SAE is trained on: what is read to measure the stream's scale and to fill the buffer counts too.

    Raises:
        InvalidInput: SAEs of its kind are not trained here, or nothing says how many tokens its training took.
    """
    manifest = parent.artifact.manifest
    recipes = recipes_from(parent.artifact, plan.model, RecipeOptions())
    if not (plan.tokens or parent.first):
        raise InvalidInput(
            f"{manifest.name} does not say on how many tokens it was trained; give --tokens", param="tokens"
        )
    most = plan.tokens or int(SHARE * parent.first)
    batch = min(TrainConfig.here(span=manifest.span).batch_tokens // 2, max(FEWEST, most // BATCHES))
    buffer = max(batch, most // BUFFERED)
    left = most if plan.tokens else most - SCALE_BATCHES * batch - buffer
    config = TrainConfig.here(tokens=max(LEAST * batch, left), batch_tokens=batch, span=manifest.span)
    return TrainPlan(
        model=plan.model,
        out=plan.out,
        layer=manifest.hook.layer,
        site=manifest.hook.site,
        material=plan.material,
        training=SaeTraining(
            recipes=recipes,
            parents=(parent.artifact.folder,),
            config=config,
            buffer_tokens=buffer,
            budget=plan.budget,
        ),
        baseline=plan.baseline,
        engine=plan.engine,
    )


def first_training(manifest: Manifest, reader: Reader) -> int:
    """The vectors of the longest training in an SAE's line, as far as that is registered; 0 where none is on record."""
    tokens = int(manifest.training.get("tokens") or 0)
    if manifest.parent is None:
        return tokens
    try:
        return max(tokens, first_training(reader.artifact(manifest.parent).manifest, reader))
    except ArtifactNotFound:
        return tokens


def basis_of(
    plan: RefreshPlan, parent: Parent, entries: Sequence[str | list[Message]], digest: str
) -> CalibrationBasis:
    """What strengths are measured with: the parent's prompts and judge, or where it kept none, beginnings of the texts.

    Args:
        plan: For which model.
        parent: The SAE that is refreshed.
        entries: The texts.
        digest: Of everything that the labels come from.
    """
    kept = CalibrationBasis.find(parent.artifact.folder)
    if kept is not None:
        return kept.model_copy(update={"made_from": digest, "done": False, "seconds": 0.0})
    judge = judge_with(parent.artifact.manifest.judge)
    return CalibrationBasis.of(judge, beginnings(plan.model, entries), made_from=digest)
