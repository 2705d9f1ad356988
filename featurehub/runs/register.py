"""The second half of a build: names, statistics and strengths for an artifact's features, into the database."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.cli.progress import phase, work
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.errors import StoreError
from featurehub.runs.baseline import Trained
from featurehub.store import Calibration, FeatureSet, Labeled, save_or_keep
from featurehub.store.names import base_of
from labeling.corpus import Corpus
from labeling.label import LatentLabel, label_latents, rename
from labeling.logit_lens import Projection, project
from labeling.statistics import StatisticsConfig, feature_rows
from labeling.strength import CalibrationConfig, Candidate, SteeringJudge, calibrate
from labeling.unembedding import read_unembedding
from saes.documents import pieces
from saes.drift.check import Judge

__all__ = ["BuildJudge", "RegisterPlan", "register"]


class BuildJudge(Judge, SteeringJudge, Protocol):
    """Judges labels for both drift and calibration."""


class RegisterPlan(Protocol):
    """What of a plan labels, strengths and rows in the database depend on."""

    @property
    def model(self) -> Path: ...
    @property
    def out(self) -> Path: ...
    @property
    def database(self) -> str: ...
    @property
    def calibration(self) -> CalibrationConfig: ...
    @property
    def engine(self) -> EngineOptions: ...


def register(
    plan: RegisterPlan, folder: Path, trained: Trained, judge: BuildJudge, prompts: Sequence[list[int]]
) -> StoreError | None:
    """Labels and calibrates the artifact sealed in ``folder``, and registers it as one that lies in ``plan.out``.

    Returns:
        None, or why it could not be registered and where its features were kept; raise it when the folder is in place
    """
    artifact = open_artifact(folder)
    with phase("starting the engine with the SAE"):
        engine = Engine(plan.model, EngineConfig.holding(artifact), plan.engine)
    with engine:
        return label_and_register(plan, artifact, engine, trained, judge, prompts)


def label_and_register(
    plan: RegisterPlan,
    artifact: Artifact,
    engine: Engine,
    trained: Trained,
    judge: BuildJudge,
    prompts: Sequence[list[int]],
) -> StoreError | None:
    """Labels, calibrates by steering on ``prompts``, and writes everything in one transaction."""
    observed = trained.observed
    corpus = Corpus(
        [pieces(engine.tokenizer, d.token_ids) for d in observed.documents], observed.matrix, observed.offsets
    )
    with phase("labelling"):
        projection = projected(plan, engine, trained)
        labels = label_latents(corpus, projection=projection)
        W_dec = trained.dictionary.W_dec.numpy()
        rows = list(feature_rows(corpus, observed.tokens, W_dec, projection, StatisticsConfig()))
    strengths = calibrated(plan, engine, trained, labels, judge, prompts)
    labels = rename(labels, merits(labels, strengths))
    found = {label.latent: (label.outcome, label.provenance) for label in labels}
    with phase("writing the database"):
        features = FeatureSet(artifact.manifest, plan.out.resolve(), rows, found, strengths)
        return save_or_keep(features, plan.database, artifact.folder)


def merits(labels: Sequence[LatentLabel], strengths: dict[int, Calibration]) -> dict[int, float]:
    """Of features that share a name, the one that both reads and steers keeps it plain."""
    return {
        label.latent: (label.outcome.score or 0.0) * (1.0 + (strengths[label.latent].steerability or 0.0))
        for label in labels
        if isinstance(label.outcome, Labeled)
    }


def projected(plan: RegisterPlan, engine: Engine, trained: Trained) -> Projection | None:
    unembedding = read_unembedding(plan.model)
    if unembedding is None:
        return None
    tokens = engine.tokenizer.convert_ids_to_tokens(list(range(len(engine.tokenizer))))
    return project(trained.dictionary.W_dec.numpy(), unembedding.norm, unembedding.weight, tokens)


def calibrated(
    plan: RegisterPlan,
    engine: Engine,
    trained: Trained,
    labels: Sequence[LatentLabel],
    judge: BuildJudge,
    prompts: Sequence[list[int]],
) -> dict[int, Calibration]:
    features = candidates(trained, labels)
    with work("calibrating strengths by steering", 1) as advance:
        norm = trained.observed.median_norm
        return calibrate(engine, features, prompts, norm, judge, plan.calibration, advance.at)


def candidates(trained: Trained, labels: Sequence[LatentLabel]) -> list[Candidate]:
    norms = trained.dictionary.W_dec.norm(dim=-1)
    return [
        Candidate(
            latent=label.latent,
            label=label.outcome.label,
            name=base_of(label.outcome.label),
            label_score=label.outcome.score or 0.0,
            norm=float(norms[label.latent]),
        )
        for label in labels
        if isinstance(label.outcome, Labeled)
    ]
