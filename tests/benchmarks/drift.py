"""Does the drift check say what is true? Verdicts on retrained siblings against truth measured on other answers.

Truth of a feature: the F1 between "the recogniser finds the concept in the answer" and "the feature fires in it", at
the level that is best on answers of the old model, falls by more than 0.15 on answers of the new model to the same
prompts. These prompts and answers are none that the check saw. Falls between 0.10 and 0.20 are borderline, listed
apart.

    python tests/benchmarks/drift.py [--answers 700]
"""

import argparse
import shutil
import tempfile
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file

from featurehub.artifacts.artifact import Artifact
from featurehub.cli.demo.planted import ensure_planted, planted_database
from featurehub.demo.bundle import SIBLINGS, bundled_model, sibling
from featurehub.demo.concepts import names
from featurehub.demo.corpus import conversations, messages
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Feature, State
from featurehub.records import Label
from featurehub.runs.drift import check_drift
from featurehub.runs.judges import RecognizerJudge
from featurehub.store import open_store
from featurehub.token_ids import prompt_ids
from featurehub.verdicts import DriftReport
from saes.drift.check import CheckConfig, answer_prompts
from saes.drift.measures import World, world
from saes.drift.scores import best_threshold, f1
from saes.observed import observe

FALL, BORDERLINE = 0.15, (0.10, 0.20)
PER_CONCEPT = 3
console = Console()


class Counted(NamedTuple):
    """Of the features that are not borderline."""

    hits: int
    false_alarms: int
    missed: int
    held: int
    borderline: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=700)
    count = parser.parse_args().answers
    artifact = ensure_planted()
    features, labels = concept_features(artifact)
    old = truth_world(artifact, bundled_model(), count)
    table = Table("model", "state", "EV", "stale + suspect", "stale", "hold", "borderline", "precision", "recall")
    with tempfile.TemporaryDirectory() as folder:
        models = {"unchanged": bundled_model(), "bf16": rounded(Path(folder))} | {n: sibling(n) for n in SIBLINGS}
        for name, model in models.items():
            report = check_drift(artifact.folder, model, planted_database())
            new = old if name == "unchanged" else truth_world(artifact, model, count)
            table.add_row(name, *row(report, features, labels, old, new))
    console.print(table)


def concept_features(artifact: Artifact) -> tuple[list[Feature], dict[int, Label]]:
    """Of each planted concept, the features that carry its name with the best label scores; labels by latent."""
    with open_store(planted_database()).read() as reader:
        features, labels = reader.features(artifact.manifest.id), reader.labels(artifact.manifest.id)
    known = [f for f in features if f.latent in labels]
    named = {name: [f for f in known if labels[f.latent].name == name] for name in names()}
    best = (sorted(found, key=lambda f: -(f.label_score or 0))[:PER_CONCEPT] for found in named.values())
    return [f for found in best for f in found], labels


def truth_world(artifact: Artifact, model: Path, count: int) -> World:
    """The model's answers to prompts that nothing else used, with what the features did on them."""
    with Engine(model, EngineConfig.capturing(artifact.manifest.hook), EngineOptions()) as engine:
        asked = [messages(c)[:-1] for c in islice(conversations(424242, split="held-out"), count)]
        prompts = [prompt_ids(engine.tokenizer, chat) for chat in asked]
        config = CheckConfig(sampling=Sampling(temperature=0.7, max_tokens=96, seed=777))
        answers = answer_prompts(engine, Dictionary.load(artifact.weights), prompts, config)
        return world(observe(answers), engine.tokenizer)


def rounded(folder: Path) -> Path:
    model = shutil.copytree(bundled_model(), folder / "bf16")
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(model / "model.safetensors").items()}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    return model


def falls(features: list[Feature], labels: dict[int, Label], old: World, new: World) -> dict[int, float]:
    """By how much each feature's F1 fell; features that never told their label (F1 < 0.6) are left out."""
    judge, result = RecognizerJudge(), {}
    for feature in features:
        old_truth, new_truth = (judge.mentions(labels[feature.latent], w.texts) for w in (old, new))
        level = best_threshold(old_truth, old.peaks[:, feature.latent])
        before = f1(old_truth, old.peaks[:, feature.latent] > level)
        if before >= 0.6:
            result[feature.latent] = before - f1(new_truth, new.peaks[:, feature.latent] > level)
    return result


def row(report: DriftReport, features: list[Feature], labels: dict[int, Label], old: World, new: World) -> list[str]:
    flagged = {verdict.latent for verdict in report.features if verdict.state is State.STALE}
    suspect = sum(verdict.state is State.SUSPECT for verdict in report.features)
    counted = count_outcomes(falls(features, labels, old, new), flagged)
    precision = counted.hits / max(1, counted.hits + counted.false_alarms)
    recall = counted.hits / max(1, counted.hits + counted.missed)
    judged = counted.hits + counted.missed
    return [
        report.state,
        f"{report.metrics.get('explained_variance_new', float('nan')):.3f}",
        f"{len(flagged)} + {suspect} of {len(report.features)}",
        str(judged),
        str(counted.held + counted.false_alarms),
        str(counted.borderline),
        f"{precision:.2f}" if flagged else "–",
        f"{recall:.2f}" if judged else "–",
    ]


def count_outcomes(fell: dict[int, float], flagged: set[int]) -> Counted:
    clear = {latent: fall for latent, fall in fell.items() if not BORDERLINE[0] <= fall <= BORDERLINE[1]}
    stale = {latent for latent, fall in clear.items() if fall > FALL}
    alarms = clear.keys() & flagged
    return Counted(
        hits=len(stale & flagged),
        false_alarms=len(alarms - stale),
        missed=len(stale - flagged),
        held=len(clear.keys() - stale - flagged),
        borderline=len(fell) - len(clear),
    )


if __name__ == "__main__":
    main()
