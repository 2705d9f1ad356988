"""Do the demo's features read what was planted? F1 against the recogniser on answers that nothing else used.

A concept is recovered where a feature that carries its name tells the answers in which the recogniser finds it, with
F1 >= 0.9. The level from which the feature fires, and which of the name's features is taken, are chosen on one half of
the answers; F1 is measured on the other. Beside it, the best of as many features with other names: the control.

    python tests/benchmarks/reading.py [--conversations 1500]
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from featurehub.artifacts.artifact import Artifact
from featurehub.cli.demo.planted import ensure_planted, planted_database
from featurehub.demo.bundle import bundled_model
from featurehub.demo.concepts import names
from featurehub.demo.corpus import conversations, messages
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.records import Label
from featurehub.runs.judges import RecognizerJudge
from featurehub.store import open_store
from featurehub.token_ids import Message, special_ids
from saes.activations import FeatureActivations, encode_documents
from saes.documents import Document, tokenize
from saes.drift.measures import World, world
from saes.drift.scores import best_threshold, f1
from saes.observed import observe

WANTED_F1, WANTED_SHARE = 0.9, 0.9
console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=1500)
    count = parser.parse_args().conversations
    artifact = ensure_planted()
    with open_store(planted_database()).read() as reader:
        labels = reader.labels(artifact.manifest.id)
    report(read(artifact, count), labels)


def read(artifact: Artifact, count: int) -> World:
    dictionary = Dictionary.load(artifact.weights)
    with Engine(bundled_model(), EngineConfig.capturing(artifact.manifest.hook), EngineOptions()) as engine:
        entries = [messages(c) for c in islice(conversations(31337, split="held-out"), count)]
        activations, answers = read_documents(engine, dictionary, documents_of(engine, entries))
    quality = activations.quality
    console.print(f"explained variance {quality.explained_variance:.3f}   L0 {quality.l0:.1f}")
    console.print(f"dead {quality.dead:.1%} of {dictionary.d_sae}, on {quality.tokens} tokens")
    return answers


def documents_of(engine: Engine, entries: Sequence[str | list[Message]]) -> list[Document]:
    return tokenize(engine.tokenizer, entries, 256).documents


def read_documents(
    engine: Engine, dictionary: Dictionary, documents: Sequence[Document]
) -> tuple[FeatureActivations, World]:
    """What the features do on documents, and what the documents say."""
    activations = encode_documents(engine, dictionary, documents, special_ids(engine.tokenizer))
    return activations, world(observe(activations), engine.tokenizer)


def report(answers: World, labels: Mapping[int, Label]) -> None:
    table = Table("concept", "feature", "F1", "best of other names", "answers with it")
    scores: dict[str, float] = {}
    for name in names():
        truth = RecognizerJudge().mentions(Label(name=name), answers.texts)
        named = {latent: each.text for latent, each in labels.items() if each.name == name}
        unlike = ((latent, each.text) for latent, each in labels.items() if each.name != name)
        others = dict(islice(unlike, len(named)))
        feature, scores[name] = best(named, truth, answers.peaks)
        _, control = best(others, truth, answers.peaks)
        table.add_row(name, feature, f"{scores[name]:.3f}", f"{control:.3f}", str(int(truth.sum())))
    console.print(table)
    recovered = sum(score >= WANTED_F1 for score in scores.values())
    console.print(f"recovered {recovered} of {len(scores)}   ({WANTED_SHARE * len(scores):.1f})")


def best(labels: Mapping[int, str], truth: np.ndarray, peaks: np.ndarray) -> tuple[str, float]:
    """The label of the latent that reads best, and its F1; "-" and 0 for no latents."""
    for reading in readings(labels, truth, peaks):
        return labels[reading.latent], reading.f1
    return "-", 0.0


class Reading(NamedTuple):
    """How well a latent tells a concept: F1 on the half of the answers that chose its level, and on the other."""

    latent: int
    chosen: float
    f1: float


def readings(latents: Iterable[int], truth: np.ndarray, peaks: np.ndarray) -> list[Reading]:
    """Best first, as the even answers have it."""
    found = []
    for latent in latents:
        level = best_threshold(truth[::2], peaks[::2, latent])
        found.append(Reading(latent, *(f1(truth[half::2], peaks[half::2, latent] > level) for half in (0, 1))))
    return sorted(found, key=lambda reading: -reading.chosen)


if __name__ == "__main__":
    main()
