"""Names for the features of a registered SAE, written to the database as they are found.

1. What an earlier run has found is not asked again: a latent is left out if one of its label versions has the same
   method, model and prompt, and an answer.
2. Labels are written a few at a time, each few in one transaction. A run that is killed loses no more than those that
   were not written yet, and an explainer's answers that were on their way.
3. A label's head is made unique among those that the SAE has at that moment, so that no name is ever ambiguous.
4. Once all are labelled, names go to the features that deserve them most, as after a calibration, and
   clusters get theirs from them.
"""

import asyncio
import hashlib
import time
from collections import defaultdict
from contextlib import aclosing, closing

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.records import Label, Unlabeled
from featurehub.runs.labelers import Labeler, NamingConfig, labeler_of
from featurehub.runs.progress import Progress, Work
from featurehub.runs.register import candidates_of, labeled, merits
from featurehub.runs.registered import RegisteredFeatures
from featurehub.runs.survey import Survey
from featurehub.store import Store, open_store, put_named
from labeling.calibration import CalibrationConfig
from labeling.cluster_names import cluster_latents
from labeling.examiner import Neighbors, ScoredExplanation
from labeling.failures import FailureBudget
from labeling.heads import TakenHeads
from labeling.label import LatentLabel, label_each, rename, row_of
from labeling.strength import default_calibration, usual_dose

__all__ = ["name_features"]

FEW, SECONDS = 16, 5.0
"""Labels that are written at once, and the longest time that one waits for others."""


def name_features(
    config: NamingConfig,
    survey: Survey,
    artifact: Artifact,
    calibration: CalibrationConfig,
    database: str,
    progress: Progress,
) -> list[int]:
    """Names the features of a registered artifact.

    Args:
        config: How.
        survey: What is known of them.
        artifact: The artifact.
        calibration: How strengths will be calibrated; until then, a feature with a new name has the usual dose.
        database: Path of the feature database.
        progress: Receives progress reports.

    Returns:
        The latents that the budget of a language model left for the next run.

    Raises:
        BudgetExceeded: Too many of the latents that were asked for got no label.
        InvalidInput: The endpoint refuses the key, or knows no such model.
        StoreError: The database cannot be written.
    """
    with closing(open_store(database)) as store:
        book = LabelBook(store, artifact, survey.median_norm, calibration)
        with progress.work("labelling", len(survey.source.latents), "latents") as work:
            left = asyncio.run(fill(book, config.checked(), survey, work))
    settle_names(database, artifact, survey.source.neighbors)
    if left:
        progress.warn(
            f"{len(left):,} latents have no label yet: the budget for the language model is spent. What was found is "
            "kept; the same command goes on"
        )
    return left


async def fill(book: "LabelBook", config: NamingConfig, survey: Survey, work: Work) -> list[int]:
    """Steps 1 to 3; the latents that were left over."""
    waiting, failures = set(survey.source.latents), FailureBudget(config.labels.max_unlabeled)
    async with labeler_of(config) as labeler:
        book.open(labeler, config.labels.author)

        def known(latent: int, prompt: str) -> bool:
            found = book.knows(latent, prompt)
            if found:
                waiting.discard(latent)
                work(1)
            return found

        try:
            labels = label_each(survey.source, config.labels, labeler.explainer, labeler.scorer, known)
            async with aclosing(labels):
                async for latent, scored in labels:
                    book.add(latent, scored)
                    waiting.discard(latent)
                    work(1)
                    work.say(labeler.spent)
                    failures.count(scored)
        finally:
            book.write()
    return sorted(waiting)


class LabelBook:
    """The labels of an artifact while they are found.

    Args:
        store: The feature database.
        artifact: The artifact, registered there.
        median_norm: Median ‖x‖ of the stream at its hook point.
        calibration: How strengths will be calibrated.
    """

    def __init__(self, store: Store, artifact: Artifact, median_norm: float, calibration: CalibrationConfig) -> None:
        self.store, self.artifact = store, artifact.manifest.id
        self.dictionary = Dictionary.load(artifact.weights)
        self.median_norm, self.calibration = median_norm, calibration
        self.waiting: list[LatentLabel] = []
        self.written = time.monotonic()

    def open(self, labeler: Labeler, author: str) -> None:
        """Reads what is there of this explainer and scorer.

        Args:
            labeler: Finds the labels.
            author: Who asks for them.
        """
        self.labeler, self.author = labeler, author
        self.known: defaultdict[int, set[bytes]] = defaultdict(set)
        explainer = labeler.explainer
        with self.store.read() as reader:
            for latent, version in reader.attempts(self.artifact, explainer.method, explainer.model):
                outcome = version.outcome
                scored = isinstance(outcome, Unlabeled) or labeler.scorer.name in outcome.scores
                if version.provenance.answer and scored:
                    self.known[latent].add(digest(version.provenance.prompt))
            labels = reader.labels(self.artifact)
        self.heads = TakenHeads({latent: each.head for latent, each in labels.items()})

    def knows(self, latent: int, prompt: str) -> bool:
        """Step 1."""
        return latent in self.known and digest(prompt) in self.known[latent]

    def add(self, latent: int, scored: ScoredExplanation) -> None:
        """Steps 2 and 3."""
        label = scored.explanation.outcome
        if isinstance(label, Label):
            unique = scored.explanation._replace(outcome=self.heads.give(latent, label))
            scored = scored._replace(explanation=unique)
        self.waiting.append(row_of(latent, scored, self.labeler.explainer, self.author))
        if len(self.waiting) >= FEW or time.monotonic() - self.written > SECONDS:
            self.write()

    def write(self) -> None:
        """Writes what waits to be written."""
        found = candidates_of(self.dictionary, self.waiting)
        dose, config = usual_dose([], self.calibration), self.calibration
        strengths = {each.latent: default_calibration(each, dose, self.median_norm, config) for each in found}
        labels = {each.latent: (each.outcome, each.provenance) for each in self.waiting}
        with self.store.write() as writer:
            put_named(writer, self.artifact, labels, strengths)
        self.waiting, self.written = [], time.monotonic()


def digest(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode()).digest()


def settle_names(database: str, artifact: Artifact, neighbors: Neighbors) -> None:
    """Step 4."""
    registered = RegisteredFeatures.read(database, artifact)
    labels = registered.labels
    renamed = rename(labels, merits(labels, registered.measured))
    registered.write({}, [new for new, old in zip(renamed, labels, strict=True) if new != old])
    clusters = cluster_latents(Dictionary.load(artifact.weights).W_dec.numpy(), neighbors, labeled(renamed))
    with closing(open_store(database)) as store, store.write() as writer:
        writer.put_clusters(artifact.manifest.id, clusters)
