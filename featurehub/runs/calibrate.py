"""`featurehub calibrate`, and the last phase of a build: strengths for registered features, by really steering.

What is calibrated already is left alone. Of the other features, those that search and labels favour come first
(``featurehub.runs.strengths``). A run that is stopped leaves what it found; one that is started again goes on after it.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.artifact import Artifact
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import InvalidInput
from featurehub.features import Feature
from featurehub.records import Calibration
from featurehub.runs.basis import CalibrationBasis
from featurehub.runs.deadline import UNBOUNDED, Deadline
from featurehub.runs.engines import Engines
from featurehub.runs.matching import identify_own
from featurehub.runs.output_scores import open_output_scores
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.registered import RegisteredFeatures
from featurehub.runs.strengths import StrengthSearch, affordable
from featurehub.settings import Frozen
from featurehub.store import check_writable, open_store
from featurehub.token_ids import prompt_ids
from labeling.bench import Bench
from labeling.calibration import CalibrationConfig, can_write, group
from labeling.strength import Calibrator, Candidate
from saes.budget import Budget

__all__ = [
    "CalibratePlan",
    "CalibrationOutcome",
    "calibrate_again",
    "calibrate_artifact",
    "calibrate_features",
    "calibrate_promising",
    "calibrate_registered",
]

SEEDS_APART = 100_003
"""Seeds that one feature's answers may take; a later search begins after those of the features before it."""


FELL = 0.25
"""By how much a feature's steerability may fall before its dose is searched anew."""


class CalibratePlan(Frozen):
    """Everything that a calibration of registered features depends on.

    Attributes:
        model: Folder of the model.
        database: Path of the feature database.
        names: The features to calibrate; if empty, those that are not calibrated yet, the most promising first.
        budget: The most time to spend.
        engine: Options of the engine.
    """

    model: Path
    database: str
    names: tuple[str, ...] = ()
    budget: Budget = Budget()
    engine: EngineOptions = EngineOptions()


class CalibrationOutcome(NamedTuple):
    """What a calibration did.

    Attributes:
        features: The features that were calibrated, with their calibrations, in the order in which they were tried.
        left: How many names are still to be tried.
    """

    features: list[tuple[Feature, Calibration]]
    left: int


def calibrate_artifact(
    plan: CalibratePlan, artifact: Artifact, basis: CalibrationBasis, progress: Progress = SILENT
) -> CalibrationOutcome:
    """Calibrates features of a registered artifact with an engine of its own.

    Args:
        plan: What to calibrate.
        artifact: The artifact.
        basis: What to calibrate with.
        progress: Receives progress reports.

    Raises:
        ArtifactNotFound: The artifact is not registered in the database.
        ModelNotFound: The model's folder is not there.
        IncompatibleArtifact: The model is not known to be the one that the SAE was trained on.
        FeatureNotFound: A name means no feature of the artifact.
        AmbiguousFeature: A name means several of them.
        InvalidInput: A named feature has no label, or cannot write.
        StoreError: The database cannot be written.
    """
    check_writable(plan.database)
    deadline = Deadline.of(plan.budget)
    named = latents_of(plan, artifact)
    registered = RegisteredFeatures.read(plan.database, artifact)
    identify_own(artifact, plan.model, progress)
    with Engines(plan.model, plan.engine, progress).steering(EngineConfig.holding(artifact)) as engine:
        if named:
            return calibrate_features(engine, artifact, basis, registered, named, deadline, progress)
        return calibrate_promising(engine, artifact, basis, registered, deadline, progress)


def latents_of(plan: CalibratePlan, artifact: Artifact) -> list[int]:
    """The latents that the plan names."""
    with closing(open_store(plan.database)) as store, store.read() as reader:
        found = reader.resolve_many(plan.names, reader.scope(artifact.manifest.id))
    for name, feature in found.items():
        if not feature.label:
            raise InvalidInput(f"{name!r} has no label, so nothing says whether an answer shows it", param="feature")
        if not feature.writes:
            raise InvalidInput(f"{name!r} cannot steer: its decoder row is zero", param="feature")
    return [feature.latent for feature in found.values()]


def calibrate_promising(
    engine: Engine,
    artifact: Artifact,
    basis: CalibrationBasis,
    registered: RegisteredFeatures,
    deadline: Deadline = UNBOUNDED,
    progress: Progress = SILENT,
    names: int | None = None,
    speed: float | None = None,
) -> CalibrationOutcome:
    """Calibrates features that were never steered, the most promising first.

    Args:
        engine: Steers with the artifact's SAE.
        artifact: The artifact.
        basis: What to calibrate with.
        registered: Its features.
        deadline: When that should be done.
        progress: Receives progress reports.
        names: The most names that have been steered in the end; None for all that promise something.
        speed: Tokens per second of steered answers, if that is known.

    Raises:
        StoreError: The database cannot be written.
    """
    waiting = registered.waiting(names_too=names is None)
    most = len(waiting) if names is None else names - len(registered.measured_names)
    if not waiting or most <= 0:
        return CalibrationOutcome([], 0)
    config = basis.calibration.model_copy(update={"names": most})
    config = affordable(config, deadline.left, speed)
    search = StrengthSearch(registered, calibrator_of(engine, registered, basis, config), deadline.until, speed)
    search.listen(artifact.folder, basis, progress)
    search.score(open_output_scores(engine, search.calibrator), progress)
    left = search.run(search.candidates(waiting), progress)
    search.conclude(rename_too=True)
    done = calibrated(search, left)
    others = f"; {done.left} promising names are left, `featurehub calibrate {artifact.folder} MODEL` goes on"
    progress.say(f"{len(done.features)} features are calibrated{others if done.left else ''}")
    return done


def calibrate_registered(
    engine: Engine,
    artifact: Artifact,
    basis: CalibrationBasis,
    database: str,
    until: float,
    progress: Progress,
    speed: float | None = None,
) -> CalibrationOutcome:
    """The last phase of a run that registers features: calibrates them, as many names as the basis says.

    Args:
        engine: Steers with the artifact's SAE.
        artifact: The artifact.
        basis: What to calibrate with.
        database: Path of the feature database.
        until: When that should be done, in seconds of ``time.monotonic``.
        progress: Receives progress reports.
        speed: Tokens per second of steered answers, if that is known.

    Raises:
        StoreError: The database cannot be written.
    """
    registered, names = RegisteredFeatures.read(database, artifact), basis.calibration.names
    return calibrate_promising(engine, artifact, basis, registered, Deadline.at(until), progress, names, speed)


def calibrate_features(
    engine: Engine,
    artifact: Artifact,
    basis: CalibrationBasis,
    registered: RegisteredFeatures,
    latents: Sequence[int],
    deadline: Deadline = UNBOUNDED,
    progress: Progress = SILENT,
) -> CalibrationOutcome:
    """Calibrates the features of these latents with more answers than any other gets. All features keep their names.

    Args:
        engine: Steers with the artifact's SAE.
        artifact: The artifact.
        basis: What to calibrate with.
        registered: Its features.
        latents: The latents.
        deadline: When that should be done.
        progress: Receives progress reports.

    Raises:
        StoreError: The database cannot be written.
    """
    calibrator = calibrator_of(engine, registered, basis, basis.calibration.thorough())
    search = StrengthSearch(registered, calibrator, deadline.until)
    search.listen(artifact.folder, basis, progress)
    left = search.run(registered.only(latents), progress)
    search.conclude(rename_too=False)
    return calibrated(search, left)


def calibrate_again(
    engine: Engine,
    artifact: Artifact,
    basis: CalibrationBasis,
    registered: RegisteredFeatures,
    before: Mapping[int, Calibration],
    deadline: Deadline = UNBOUNDED,
    progress: Progress = SILENT,
    speed: float | None = None,
) -> CalibrationOutcome:
    """Measures features again that were steered before the SAE was refreshed. All features keep their names.

    1. Each is steered at the dose that was found for it, on the prompts that confirm.
    2. Where it steers worse than before by more than ``FELL``, its dose is searched anew.

    Args:
        engine: Steers with the artifact's SAE.
        artifact: The artifact.
        basis: What to calibrate with.
        registered: Its features.
        before: The calibrations that were found by steering the model before, by latent.
        deadline: When that should be done.
        progress: Receives progress reports.
        speed: Tokens per second of steered answers, if that is known.

    Raises:
        StoreError: The database cannot be written.
    """
    config, measured = affordable(basis.calibration, deadline.left, speed), registered.measured
    search = StrengthSearch(registered, calibrator_of(engine, registered, basis, config), deadline.until, speed)
    search.listen(artifact.folder, basis, progress)
    own = [each for each in registered.only(list(before)) if can_write(each, registered.median_norm, config)]
    left = search.again({each: before[each.latent].dose for each in own if each.latent not in measured}, progress)
    now = measured | search.found
    fallen = [each for each in own if each.latent in now and fell(before[each.latent], now[each.latent])]
    if fallen:
        left += search.run(fallen, progress)
    search.conclude(rename_too=False)
    return calibrated(search, left)


def fell(before: Calibration, now: Calibration) -> bool:
    """Whether a feature steers worse than before at the same dose, and no other one was tried."""
    return len(now.curve) <= 1 and (before.steerability or 0.0) - (now.steerability or 0.0) > FELL


def calibrator_of(
    engine: Engine, registered: RegisteredFeatures, basis: CalibrationBasis, config: CalibrationConfig
) -> Calibrator:
    prompts = [prompt_ids(engine.tokenizer, prompt) for prompt in basis.prompts]
    seed = config.sampling.seed + SEEDS_APART * len(registered.measured)
    sampling = config.sampling.model_copy(update={"seed": seed})
    bench = Bench(engine, registered.median_norm, basis.open_judge(), sampling, config.per_run)
    return Calibrator(bench, prompts, config)


def calibrated(search: StrengthSearch, left: Sequence[Candidate]) -> CalibrationOutcome:
    registered = search.registered
    with closing(open_store(registered.database)) as store, store.read() as reader:
        features = {f.latent: f for f in reader.latents(registered.artifact, search.found)}
    return CalibrationOutcome([(features[latent], each) for latent, each in search.found.items()], len(group(left)))
