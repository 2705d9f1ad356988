"""Does the drift check say what is true? Verdicts on retrained siblings against truth measured on other answers.

1. Siblings: those that are bundled, and with ``--all`` every other of ``featurehub demo siblings``, trained into the
   folder BED where they are not there yet.
2. Truth of a feature: the F1 between "its label occurs in the answer" and "it fires in the answer", at the level that
   is best on answers of the old model, falls by more than ``FALL`` on answers of the new model to the same prompts.
   These prompts and answers are none that the check saw, and chose no threshold. Falls within ``BORDERLINE`` are
   counted apart, and so are features that never told their label on the old model's answers (F1 < ``TOLD``).
3. The check: its verdict ``stale`` is held against that. ``canaries``: what would be said without the new model's
   answers, by the label's F1 on the old canaries, or by the correlation where the label has no power.
4. Beside it what others look at: the explained variance, and the mean cosine between old and new stream on old text.

Everything is kept in BED, so that a run that was stopped goes on. Totals are of siblings whose meaning changed in part,
of those where nothing but weights did, and of those from another seed, which carry nobody.

    python tests/benchmarks/drift.py [BED] [--all] [--answers 700] [--only NAME ...]
"""

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.files import write_text
from featurehub.cli.demo.planted import ensure_planted, planted_database
from featurehub.cli.progress import ConsoleProgress
from featurehub.demo.bundle import SIBLINGS, bundled_model, sibling
from featurehub.demo.concepts import names
from featurehub.demo.corpus import conversations, messages
from featurehub.demo.siblings import RETRAININGS, TrainedPart, is_made, train_sibling
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import State
from featurehub.records import Label
from featurehub.runs.drift import check_drift
from featurehub.runs.judges import RecognizerJudge
from featurehub.runs.prompts import tokenizer_of
from featurehub.settings import home
from featurehub.store import open_store
from featurehub.token_ids import prompt_ids
from featurehub.verdicts import DriftReport, FeatureVerdict
from saes.drift.check import CheckConfig, answer_prompts
from saes.drift.measures import judged, world
from saes.drift.rules import Thresholds
from saes.drift.scores import best_threshold, f1
from saes.observed import Observations, observe
from tests.benchmarks.machine import processor

FALL, BORDERLINE, TOLD = 0.15, (0.10, 0.20), 0.6
SEED, SAMPLED = 424242, 777
COMPARED = 200
"""Documents on which old and new stream are compared."""
QUICK = ["unchanged", "bf16", "int8", *SIBLINGS]
"""Siblings that need no training."""
console = Console(width=130, highlight=False)


class Subject(NamedTuple):
    """The SAE under test: its labels by latent, and those of planted concepts."""

    artifact: Artifact
    labels: Mapping[int, Label]
    concepts: frozenset[int]


class Judged(NamedTuple):
    """A model's answers: by latent in which of them its label occurs, and every latent's peak in each."""

    truth: Mapping[int, np.ndarray]
    peaks: np.ndarray


class Outcome(NamedTuple):
    """By latent: by how much F1 fell, and what was said, by the check and by its canaries alone."""

    falls: Mapping[int, float]
    said: Mapping[int, State]
    canaries: Mapping[int, State]


class Counts(NamedTuple):
    """Features by truth and verdict: the stale ones that were caught and missed, and those that hold, with the false
    alarms among them. Those whose truth is borderline are apart."""

    hits: int
    missed: int
    missed_suspect: int
    alarms: int
    held: int
    borderline: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bed", type=Path, nargs="?", default=home() / "siblings")
    parser.add_argument("--answers", type=int, default=700)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", nargs="*", default=QUICK)
    arguments = parser.parse_args()
    subject, outcomes = subject_of(ensure_planted()), {}
    table = Table("sibling", "SAE", "EV", "cosine", "stale", "suspect", "of", "truly", "hold", "border",
                  "caught", "false", "canaries: caught", "false")  # fmt: skip
    base = answered(subject, bundled_model(), arguments.bed / "base", arguments.answers)
    for name in RETRAININGS if arguments.all else arguments.only:
        folder = arguments.bed / name
        model = model_of(name, folder)
        report = checked(subject.artifact, model, folder)
        new = answered(subject, model, folder, arguments.answers)
        outcomes[name] = outcome(report, subject.labels, base, new)
        alike = cosine(subject.artifact, model, arguments.bed / "base", folder)
        table.add_row(name, *row(report, outcomes[name], alike))
        console.print(name, "done")
    console.print(processor())
    console.print(table)
    tell(outcomes, subject.concepts)


def subject_of(artifact: Artifact) -> Subject:
    with open_store(planted_database()).read() as reader:
        labels = reader.labels(artifact.manifest.id)
    planted = set(names())
    return Subject(artifact, labels, frozenset(at for at, label in labels.items() if label.name in planted))


def model_of(name: str, folder: Path) -> Path:
    """The folder of a sibling: of the bundled one, else of one that is trained if necessary."""
    if name in SIBLINGS:
        return sibling(name)
    if not is_made(name, bundled_model(), folder):
        with ConsoleProgress().work(f"training {name}", RETRAININGS[name].recipe.steps) as bar:
            train_sibling(name, bundled_model(), folder, on_progress=lambda step: bar.at(step.step))
    return folder


def checked(artifact: Artifact, model: Path, folder: Path) -> DriftReport:
    kept = folder / "report.json"
    if not kept.is_file():
        report = check_drift(artifact.folder, model, planted_database(), progress=ConsoleProgress())
        write_text(kept, report.model_dump_json())
    return DriftReport.model_validate_json(kept.read_text())


def answered(subject: Subject, model: Path, folder: Path, count: int) -> Judged:
    """The model's answers to prompts that nothing else used, with what the features did on them."""
    artifact, kept = subject.artifact, folder / "answers.safetensors"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with Engine(model, EngineConfig.capturing(artifact.manifest.hook), EngineOptions()) as engine:
            asked = [messages(c)[:-1] for c in islice(conversations(SEED, split="held-out"), count)]
            prompts = [prompt_ids(engine.tokenizer, chat) for chat in asked]
            config = CheckConfig(sampling=Sampling(temperature=0.7, max_tokens=96, seed=SAMPLED))
            observed = observe(answer_prompts(engine, Dictionary.load(artifact.weights), prompts, config))
            observed.save(writing := kept.with_suffix(".part"))
            writing.rename(kept)
    answers = world(Observations.load(kept), tokenizer_of(model))
    return Judged(judged(answers, subject.labels, RecognizerJudge(), lambda _: None), answers.peaks)


def cosine(artifact: Artifact, model: Path, base: Path, folder: Path) -> float:
    """Mean cosine of the streams of the old and the new model at the SAE's hook point, on the old model's answers."""
    kept = folder / "cosine.json"
    if not kept.is_file():
        observed = Observations.load(base / "answers.safetensors")
        documents = [observed.document(i) for i in observed.documents[:COMPARED]]
        old, new = (streams(artifact, each, documents) for each in (bundled_model(), model))
        write_text(kept, json.dumps(torch.nn.functional.cosine_similarity(old, new, dim=1).mean().item()))
    return json.loads(kept.read_text())


def streams(artifact: Artifact, model: Path, documents: Sequence[list[int]]) -> Tensor:
    """[tokens, d_model], without the first token of each document, where attention has its sink."""
    with Engine(model, EngineConfig.capturing(artifact.manifest.hook), EngineOptions()) as engine:
        return torch.cat([stream[1:] for stream in engine.capture(documents)])


def outcome(report: DriftReport, labels: Mapping[int, Label], old: Judged, new: Judged) -> Outcome:
    """Of all labelled features that told their label on the old model's answers."""
    falls: dict[int, float] = {}
    for latent in labels:
        level = best_threshold(old.truth[latent], old.peaks[:, latent])
        before, after = (f1(each.truth[latent], each.peaks[:, latent] > level) for each in (old, new))
        if before >= TOLD:
            falls[latent] = before - after
    said = {verdict.latent: verdict for verdict in report.features}
    return Outcome(falls, {at: said[at].reads for at in falls}, {at: by_canaries(said[at], report) for at in falls})


def by_canaries(verdict: FeatureVerdict, report: DriftReport) -> State:
    """What the old texts alone say, as ``saes.drift.rules`` does without answers and without regard to chance."""
    limits, found = Thresholds(), {each.statistic: each for each in verdict.evidence}
    if not found:
        return report.state if verdict.reads is not State.FRESH else State.FRESH
    fall, r = found.get("f1_fall_text"), found.get("correlation")
    if fall is not None and fall.n >= limits.positives_min:
        return State.STALE if fall.value > limits.fall_text else State.FRESH
    return State.STALE if r is None or r.value < limits.r_stale else State.FRESH


def count(falls: Mapping[int, float], said: Mapping[int, State]) -> Counts:
    clear = {at: fall for at, fall in falls.items() if not BORDERLINE[0] <= fall <= BORDERLINE[1]}
    stale = {at for at, fall in clear.items() if fall > FALL}
    flagged, suspect = ({at for at in clear if said[at] is state} for state in (State.STALE, State.SUSPECT))
    return Counts(
        hits=len(stale & flagged),
        missed=len(stale - flagged),
        missed_suspect=len(stale & suspect),
        alarms=len(flagged - stale),
        held=len(clear) - len(stale),
        borderline=len(falls) - len(clear),
    )


def row(report: DriftReport, found: Outcome, alike: float) -> list[str]:
    full, cheap = count(found.falls, found.said), count(found.falls, found.canaries)
    states = [verdict.reads for verdict in report.features]
    return [
        report.state,
        f"{report.metrics.get('explained_variance_new', float('nan')):.3f}",
        f"{alike:.3f}",
        *(str(states.count(state)) for state in (State.STALE, State.SUSPECT)),
        *map(str, (len(states), full.hits + full.missed, full.held, full.borderline)),
        *map(str, (full.hits, full.alarms, cheap.hits, cheap.alarms)),
    ]


def tell(outcomes: Mapping[str, Outcome], concepts: Collection[int]) -> None:
    """Prints precision and recall of both tiers, of all features and of those of planted concepts."""
    table = Table("siblings", "features", "tier", "caught", "missed", "of them suspect", "false", "hold",
                  "borderline", "precision", "recall", "false alarms")  # fmt: skip
    for kind, members in grouped(outcomes).items():
        for whose in ("all", "concepts"):
            for tier in ("check", "canaries"):
                counts = [counted(outcomes[name], tier, None if whose == "all" else concepts) for name in members]
                total = Counts(*map(sum, zip(*counts, strict=True)))
                table.add_row(f"{len(members)} {kind}", whose, tier, *cells(total))
    console.print(table)


def grouped(outcomes: Collection[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {"changed in part": [], "of the same meaning": [], "of another seed": []}
    for name in outcomes:
        how = RETRAININGS[name]
        meaning = "changed in part" if how.changes else "of the same meaning"
        groups["of another seed" if how.part is TrainedPart.NEW else meaning].append(name)
    return {kind: members for kind, members in groups.items() if members}


def counted(found: Outcome, tier: str, only: Collection[int] | None) -> Counts:
    falls = {at: fall for at, fall in found.falls.items() if only is None or at in only}
    return count(falls, found.said if tier == "check" else found.canaries)


def cells(c: Counts) -> list[str]:
    def share(part: int, whole: int) -> str:
        return f"{part / whole:.3f}" if whole else "–"

    rates = share(c.hits, c.hits + c.alarms), share(c.hits, c.hits + c.missed), share(c.alarms, c.held)
    return [*map(str, (c.hits, c.missed, c.missed_suspect, c.alarms, c.held, c.borderline)), *rates]


if __name__ == "__main__":
    main()
