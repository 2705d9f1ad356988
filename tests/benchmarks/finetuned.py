"""Does the drift check say what is true of a fine-tuned real model? SmolLM2's siblings, and an SAE of it.

truth           of a feature, on requests that neither the check nor the training saw. It has changed where its
                activations on the base model and on the sibling, over the same answers, correlate below .4, or where
                its label's F1 falls by more than .15 from the base model's answers to the sibling's own, and in 39 of
                40 draws of answers with replacement at all: on few answers F1 differs that much by chance. It holds
                where they correlate above .6 and F1 falls by less than .1; between is borderline, and left out, as are
                features that fire on fewer than 20 tokens. F1 counts for labels that told the base model's answers
                (F1 >= .6, at least 8 of them).
made to change  the features that changed places (``featurehub.runs.exchange``), as the adapter says: the sibling
                itself is not read for it.

    python tests/benchmarks/finetuned.py --sae SAE --db DATABASE [--answers 150] [--siblings changed]
"""

import argparse
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.demo.adapters import SMOLLM2_SIBLINGS, bundled_adapter, read_made, smollm2_sibling
from featurehub.demo.requests import requests
from featurehub.demo.smollm2 import ensure_model
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import State
from featurehub.records import Label
from featurehub.runs.drift import check_drift
from featurehub.runs.judges import judge_called
from featurehub.runs.own_chats import CHATS
from featurehub.store import open_store
from featurehub.token_ids import prompt_ids, special_ids
from featurehub.verdicts import DriftReport
from saes.activations import FeatureActivations, encode_documents
from saes.drift.check import CheckConfig, answer_prompts
from saes.drift.measures import World, world
from saes.drift.scores import best_threshold, correlation, f1
from saes.observed import observe

CORRELATION, FALL = (0.4, 0.6), (0.1, 0.15)
OPTIONS = EngineOptions(dtype="float32")
FIRINGS, ANSWERS, TELLING, DRAWS = 20, 8, 0.6, 1000
SAMPLING = Sampling(temperature=0.7, max_tokens=96, seed=4242)
console = Console(width=140, highlight=False)


class Truth(NamedTuple):
    """What the features do on the base model's answers."""

    base: FeatureActivations
    world: World

    @property
    def judged(self) -> np.ndarray:
        """Of which latents there is enough to see, [d_sae] bool."""
        return self.base.matrix.getnnz(axis=0) >= FIRINGS


class Seen(NamedTuple):
    """Of each latent, how a sibling's activations correlate with the base model's, and how far its label's F1 fell.

    ``fell`` says whether that is more than chance.
    """

    correlation: np.ndarray
    fall: np.ndarray
    fell: np.ndarray

    @property
    def reads_otherwise(self) -> np.ndarray:
        return self.correlation < CORRELATION[0]

    @property
    def changed(self) -> np.ndarray:
        return self.reads_otherwise | ((self.fall > FALL[1]) & self.fell)

    @property
    def holds(self) -> np.ndarray:
        return (self.correlation > CORRELATION[1]) & (self.fall < FALL[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sae", type=Path, required=True)
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--answers", type=int, default=150)
    parser.add_argument("--siblings", nargs="+", default=SMOLLM2_SIBLINGS, choices=SMOLLM2_SIBLINGS)
    arguments = parser.parse_args()
    artifact = open_artifact(arguments.sae)
    with open_store(arguments.db).read() as reader:
        labels = reader.labels(artifact.manifest.id)
    truth = truth_of(artifact, arguments.answers)
    columns = ("sibling", "state", "EV", "stale", "suspect", "changed", "recall", "precision", "made to change: stale")
    table = Table(*columns)
    with tempfile.TemporaryDirectory() as folder:
        database = shutil.copyfile(arguments.db, Path(folder) / "featurehub.db")
        for name in arguments.siblings:
            report = check_drift(artifact.folder, smollm2_sibling(name), str(database))
            for reason, count in Counter(re.sub(r"[\d.]+", "…", v.reason) for v in report.features).most_common():
                console.print(f"{name}: {count} × {reason}")
            table.add_row(name, *row(report, truth, seen(artifact, name, truth, labels), exchanged_by(name)))
    console.print(table)


def exchanged_by(name: str) -> list[int]:
    """The latents that a sibling was made to exchange."""
    return [latent for each in read_made(bundled_adapter(name)).exchanged for latent in each.latents]


def truth_of(artifact: Artifact, answers: int) -> Truth:
    """The base model's answers to requests that nobody trained on, and what the features do on them."""
    dictionary, config = Dictionary.load(artifact.weights), CheckConfig(sampling=SAMPLING)
    with Engine(ensure_model(), EngineConfig.capturing(artifact.manifest.hook), OPTIONS) as engine:
        asked = [[{"role": "user", "content": request}] for request in requests()[CHATS : CHATS + answers]]
        prompts = [prompt_ids(engine.tokenizer, chat) for chat in asked]
        base = answer_prompts(engine, dictionary, prompts, config)
        return Truth(base, world(observe(base), engine.tokenizer))


def seen(artifact: Artifact, name: str, truth: Truth, labels: Mapping[int, Label]) -> Seen:
    """What the features do on a sibling, reading the base model's answers and its own."""
    dictionary, config = Dictionary.load(artifact.weights), CheckConfig(sampling=SAMPLING)
    with Engine(smollm2_sibling(name), EngineConfig.capturing(artifact.manifest.hook), OPTIONS) as engine:
        same = encode_documents(engine, dictionary, truth.base.documents, special_ids(engine.tokenizer))
        prompts = [d.token_ids[: d.prompt_len] for d in truth.base.documents]
        own = answer_prompts(engine, dictionary, prompts, config)
        new = world(observe(own), engine.tokenizer)
    fall, fell = falls(labels, artifact.manifest.judge, truth.world, new)
    return Seen(correlation(truth.base.matrix, same.matrix), fall, fell)


def falls(labels: Mapping[int, Label], judge_name: str, old: World, new: World) -> tuple[np.ndarray, np.ndarray]:
    """By how much each label's F1 fell, [d_sae], and whether by more than chance; 0 for labels that do not count."""
    judge, width = judge_called(judge_name), old.peaks.shape[1]
    fall, fell = np.zeros(width), np.zeros(width, dtype=bool)
    drawn = np.random.default_rng(0).integers(len(old.texts), size=(DRAWS, len(old.texts)))
    for latent, label in labels.items():
        there, now = (judge.mentions(label, each.texts) for each in (old, new))
        level = best_threshold(there, old.peaks[:, latent])
        before, after = (each.peaks[:, latent] > level for each in (old, new))
        if f1(there, before) >= TELLING and there.sum() >= ANSWERS:
            fall[latent] = f1(there, before) - f1(now, after)
            fell[latent] = np.quantile(f1_drawn(there, before, drawn) - f1_drawn(now, after, drawn), 0.025) > 0
    return fall, fell


def f1_drawn(there: np.ndarray, fires: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """F1 of each draw ([draws, answers] indices) of answers."""
    shared, either = there & fires, there.astype(int) + fires
    return 2 * shared[drawn].sum(-1) / np.maximum(1, either[drawn].sum(-1))


def row(report: DriftReport, truth: Truth, found: Seen, exchanged: Sequence[int]) -> list[str]:
    called = {state: [v.latent for v in report.features if v.state is state] for state in State}
    latents, total = np.arange(len(found.fall)), len(report.features)
    labelled = np.isin(latents, [v.latent for v in report.features])
    checked = labelled & truth.judged
    stale, changed, clear = np.isin(latents, called[State.STALE]), found.changed & checked, found.changed | found.holds
    made = labelled & np.isin(latents, exchanged)
    return [
        report.state,
        f"{report.metrics.get('explained_variance_new', float('nan')):.3f}",
        share(len(called[State.STALE]), total),
        share(len(called[State.SUSPECT]), total),
        f"{changed.sum()} of {checked.sum()}, {(found.reads_otherwise & checked).sum()} by correlation, "
        f"{(checked & ~clear).sum()} borderline",
        share((changed & stale).sum(), changed.sum()),
        share((changed & stale).sum(), (checked & clear & stale).sum()),
        share((made & stale).sum(), made.sum()),
    ]


def share(part: int, whole: int) -> str:
    return f"{part / whole:.2f} ({part} of {whole})" if whole else "–"


if __name__ == "__main__":
    main()
