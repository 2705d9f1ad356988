"""`featurehub refresh`: an SAE is trained on for a retrained model, and its names come back.

1. identify the model; on the function that it was trained on, an SAE needs no refresh
2. read the canaries: where the SAE hardly reconstructs, training from scratch is better, which is said before anything
   else is done
3. train it on from where it is, with a small share of the vectors of its first training; latents keep their indices
4. evaluate it, and keep a baseline of its own: canaries, and the model's answers to their prompts
5. verify each label on the canaries and prompts of the SAE before (``featurehub.runs.verify``), and name features anew
   where theirs does not hold (``featurehub.runs.renaming``)
6. register artifact, features, names and the report in one transaction: kept names go on, others move or are retired
7. measure the strengths of those that were steered before (``featurehub.runs.calibrate``), and find and map the
   features by meaning where the parent's are

The SAE before stays what and where it is. A run that was stopped goes on, as a build does.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from glob import escape
from typing import NamedTuple

from featurehub.artifacts.artifact import WEIGHTS, Artifact, open_artifact, verify
from featurehub.artifacts.files import remove_leftovers, replace_folder
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine
from featurehub.errors import ArtifactError, NotFound
from featurehub.records import Calibration
from featurehub.refreshes import Fate, RefreshCost, RefreshedFeature, RefreshReport
from featurehub.runs.baseline import BaselineConfig, seal_trained
from featurehub.runs.basis import CalibrationBasis
from featurehub.runs.calibrate import calibrate_again
from featurehub.runs.deadline import Deadline
from featurehub.runs.embed import embed_if_possible
from featurehub.runs.engines import Engines
from featurehub.runs.mapping import map_if_possible
from featurehub.runs.phases import PhasePlan
from featurehub.runs.progress import SILENT, Progress
from featurehub.runs.refresh_plan import Parent, RefreshPlan, basis_of, parent_of, training_of
from featurehub.runs.registered import RegisteredFeatures
from featurehub.runs.renaming import Renamed, rename_features
from featurehub.runs.training import FollowUp, TrainedSaes, train_saes
from featurehub.runs.verify import Fit, Verified, fit_of, verified
from featurehub.store import PreparedRows, check_writable, open_store, put_named
from featurehub.token_ids import Message
from labeling.calibration import CalibrationConfig
from labeling.strength import default_calibration, usual_dose
from saes.documents import count_tokens

__all__ = ["refresh_sae"]


def refresh_sae(
    plan: RefreshPlan, artifact: Artifact, entries: Sequence[str | list[Message]], progress: Progress = SILENT
) -> RefreshReport:
    """Refreshes an SAE for a retrained model.

    Args:
        plan: For which model, and where to.
        artifact: The SAE, registered in the database.
        entries: The texts or chats to train and measure on.
        progress: Receives progress reports.

    Returns:
        What became of it, as it is stored; a report with a ``reason`` and no artifact where training from scratch is
        better and ``plan.anyway`` does not say otherwise. That one is not stored.

    Raises:
        ModelNotFound: The model's folder is not there or cannot be read.
        UnsupportedModel: The engine cannot steer this model.
        IncompatibleArtifact: The SAE reads a stream of another width than the model's.
        ArtifactNotFound: The SAE is not registered in the database.
        InvalidInput: The model is the one that the SAE was trained on, SAEs of its kind are not trained here, its first
            training is not on record, its judge is not known here, or there is too little text.
        BudgetExceeded: The budget is too small for any training.
        CorruptArtifact: The SAE's files are damaged.
        StoreError: The database cannot be written.
    """
    began = time.monotonic()
    check_writable(plan.database)
    deadline = Deadline.of(plan.budget)
    parent = parent_of(plan, artifact, progress)
    training = training_of(plan, parent)
    remove_leftovers(plan.out.parent, escape(plan.out.name))
    digest = plan.digest(artifact, entries)
    if (made := already_made(plan, parent, digest)) is not None:
        progress.say(f"{plan.out} is refreshed already, and its features are registered: measuring strengths goes on")
        return found_alike(plan, parent, go_on(plan, parent, made, deadline, progress), progress)
    engines, hook = Engines(plan.model, plan.engine, progress), artifact.manifest.hook
    with engines.reading(hook) as engine:
        fit = fit_of(artifact, parent.identity, engine, plan.baseline.check, progress)
    if fit.reason and not plan.anyway:
        return report_of(parent, fit)
    if fit.reason:
        progress.warn(f"training from scratch would be better: {fit.reason}")
    basis = basis_of(plan, parent, entries, digest)
    trained, baseline = train_saes(training, entries, FollowUp(deadline, basis.calibration), progress)
    with engines.trying(trained.saes[0].dictionary, hook, plan.out) as engine:
        made = rename_and_register(plan, parent, trained, baseline, fit, basis, engine, progress)
        shutil.rmtree(trained.partial)
        report = measure_strengths(plan, parent, made, engine, deadline, began, progress, trained.ahead.steered)
    return found_alike(plan, parent, report, progress)


class Refreshed(NamedTuple):
    """A refreshed SAE that is registered.

    Attributes:
        artifact: The SAE.
        report: What became of its parent's features.
        basis: What its strengths are measured with.
    """

    artifact: Artifact
    report: RefreshReport
    basis: CalibrationBasis

    def after(self, seconds: float) -> "Refreshed":
        """The same where the run takes so many seconds more."""
        assert self.report.cost is not None
        cost = self.report.cost.model_copy(update={"seconds": self.report.cost.seconds + seconds})
        return self._replace(report=self.report.model_copy(update={"cost": cost}))


def already_made(plan: RefreshPlan, parent: Parent, digest: str) -> Refreshed | None:
    """What an earlier start of this refresh has registered."""
    try:
        artifact = open_artifact(plan.out)
        basis = CalibrationBasis.find(plan.out)
        if basis is None or basis.made_from != digest or not artifact.manifest.model.same_function(parent.identity):
            return None
        verify(artifact)
        with closing(open_store(plan.database)) as store, store.read() as reader:
            report = reader.refresh(artifact.manifest.id)
    except (NotFound, ArtifactError):
        return None
    return None if report is None else Refreshed(artifact, report, basis)


def go_on(plan: RefreshPlan, parent: Parent, made: Refreshed, deadline: Deadline, progress: Progress) -> RefreshReport:
    """Step 7 for an SAE that an earlier start has registered."""
    began, holding = time.monotonic(), EngineConfig.holding(made.artifact)
    with Engines(plan.model, plan.engine, progress).steering(holding) as engine:
        return measure_strengths(plan, parent, made, engine, deadline, began, progress)


def rename_and_register(
    plan: RefreshPlan,
    parent: Parent,
    trained: TrainedSaes,
    baseline: BaselineConfig,
    fit: Fit,
    basis: CalibrationBasis,
    engine: Engine,
    progress: Progress,
) -> Refreshed:
    """Steps 4 to 6."""
    [made], [sae] = trained.saes, trained.seen
    with replace_folder(plan.out) as folder:
        made.dictionary.save(folder / WEIGHTS)
        named = {"name": plan.name, "judge": parent.artifact.manifest.judge}
        seal_trained(baseline, engine, trained.material, made, sae, folder, progress, **named)
    artifact, labels = open_artifact(plan.out), parent.labels
    found = verified(parent.artifact, labels, sae.dictionary, engine, plan.baseline.check, progress)
    renamed = rename_features(plan.model, engine, sae, parent.artifact, parent.known, found.labels, progress)
    cost = cost_of(parent, trained, found)
    report = report_of(parent, fit).model_copy(
        update={
            "artifact": artifact.manifest.id,
            "reason": fit.reason,
            "explained_variance": found.explained_variance,
            "cost": cost,
            "features": renamed.fates,
        }
    )
    basis.keep(artifact.folder, progress)
    with progress.phase("writing the database"):
        register(plan, artifact, parent, renamed, report, basis.calibration)
    return Refreshed(artifact, report, basis)


def report_of(parent: Parent, fit: Fit) -> RefreshReport:
    """The report before anything is trained."""
    return RefreshReport(
        parent=parent.artifact.manifest.id,
        model=parent.identity.name,
        fingerprint=parent.identity.function,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=fit.reason,
        explained_variance_before=fit.before,
        explained_variance_stale=fit.stale,
    )


def cost_of(parent: Parent, trained: TrainedSaes, found: Verified) -> RefreshCost:
    recorded = parent.artifact.manifest.training
    tokens, batch = (
        int(recorded.get("tokens") or 0),
        int(recorded.get("batch_tokens") or trained.job.train.batch_tokens),
    )
    first = trained.job.train.model_copy(update={"tokens": max(1, tokens), "batch_tokens": batch})
    scratch = trained.job.model_copy(update={"train": first, "passes": 1})
    return RefreshCost(
        tokens=count_tokens(trained.material.training),
        trained=trained.saes[0].config.tokens_trained,
        answered=found.answered,
        seconds=0.0,
        training_seconds=trained.seconds,
        scratch_trained=parent.first,
        scratch_seconds=scratch.estimate(trained.rates).seconds if parent.first else 0.0,
    )


def register(
    plan: RefreshPlan,
    artifact: Artifact,
    parent: Parent,
    renamed: Renamed,
    report: RefreshReport,
    calibration: CalibrationConfig,
) -> None:
    """Step 6. Until it is measured, a feature has the dose that was found for it before, or the usual one."""
    described, id = renamed.described, artifact.manifest.id
    doses = {latent: each.dose for latent, each in parent.steered.items()}
    kept, usual = {each.latent for each in report.features if each.fate is Fate.KEPT}, usual_dose([], calibration)
    strengths = {
        each.latent: default_calibration(
            each, doses.get(each.latent, usual) if each.latent in kept else usual, described.median_norm, calibration
        )
        for each in described.candidates
    }
    labels = {each.latent: (each.outcome, each.provenance) for each in described.labels}
    rows = PreparedRows(described.rows)
    with closing(open_store(plan.database)) as store, store.write() as writer:
        writer.put_artifact(artifact.manifest, artifact.folder.resolve())
        writer.put_features(id, rows)
        writer.put_refresh(report, names=True)
        put_named(writer, id, labels, strengths)
        writer.put_words(id, described.words)
        writer.put_clusters(id, described.clusters)


def measure_strengths(
    plan: RefreshPlan,
    parent: Parent,
    made: Refreshed,
    engine: Engine,
    deadline: Deadline,
    began: float,
    progress: Progress,
    speed: float | None = None,
) -> RefreshReport:
    """Step 7; returns the whole report, and stores it.

    Args:
        plan: Where the database is.
        parent: The SAE before.
        made: The refreshed SAE.
        engine: Steers with it.
        deadline: When the run should be done.
        began: When what is not in the report's time began, in seconds of ``time.monotonic``.
        progress: Receives progress reports.
        speed: Tokens per second of steered answers, if that is known.
    """
    registered = RegisteredFeatures.read(plan.database, made.artifact)
    kept = {each.latent for each in made.report.features if each.fate is Fate.KEPT}
    before = {latent: each for latent, each in parent.steered.items() if latent in kept}
    until = Deadline.at(PhasePlan([], deadline, patient=True).calibrate_until(0.0))
    if before:
        calibrate_again(engine, made.artifact, made.basis, registered, before, until, progress, speed)
    now = RegisteredFeatures.read(plan.database, made.artifact).calibrations
    report = made.after(time.monotonic() - began).report
    report = report.model_copy(update={"features": tuple(with_strength(each, now) for each in report.features)})
    with closing(open_store(plan.database)) as store, store.write() as writer:
        writer.put_refresh(report)
    return report


def found_alike(plan: RefreshPlan, parent: Parent, report: RefreshReport, progress: Progress) -> RefreshReport:
    """The report, once search finds the features by meaning and pages map them, if that is so of the parent's."""
    before = parent.artifact.manifest.id
    with closing(open_store(plan.database)) as store, store.read() as reader:
        embedded, mapped = bool(reader.embedders(reader.scope(before))), reader.map(before) is not None
    if embedded:
        embed_if_possible(plan.database, report.artifact, progress)
    if mapped:
        map_if_possible(open_artifact(plan.out), plan.database, progress)
    return report


def with_strength(feature: RefreshedFeature, now: Mapping[int, Calibration]) -> RefreshedFeature:
    """The feature with its strength in the refreshed SAE, if it was kept."""
    if feature.fate is not Fate.KEPT or (found := now.get(feature.latent)) is None:
        return feature
    return feature.model_copy(update={"strength": found.strength, "steerability": found.steerability})
