"""Does the drift check say what is true of a fine-tuned real model? SmolLM2's siblings, and an SAE of it.

truth           of a feature, on answers that neither the check nor the training saw: how its activations on the base
                model and on the sibling correlate over the same tokens. Below .4 it has changed, above .6 it holds;
                between is borderline, counted apart. Features that fire on fewer than 20 of these tokens are left out.
made to change  where the same correlation is below .4 between the base model and what the sibling was trained to do:
                the stream that the swapped words (``featurehub.demo.swaps``) stand for, as far as it was to go. The
                sibling itself is not read for it.

    python tests/benchmarks/finetuned.py --sae SAE --db DATABASE [--answers 150]
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_matrix
from torch import Tensor

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.adapters import SMOLLM2_SIBLINGS, smollm2_sibling
from featurehub.demo.requests import requests
from featurehub.demo.smollm2 import ensure_model
from featurehub.demo.swaps import token_swaps
from featurehub.demo.tuning import RECIPES
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import State
from featurehub.runs.drift import check_drift
from featurehub.runs.own_chats import CHATS
from featurehub.verdicts import DriftReport
from saes.activations import encode_documents
from saes.documents import Document, prompt_ids, special_ids
from saes.drift.check import CheckConfig, answer_prompts
from saes.drift.scores import correlation

BORDER, FIRINGS = (0.4, 0.6), 20
SAMPLING = Sampling(temperature=0.7, max_tokens=96, seed=4242)
console = Console(width=140, highlight=False)


class Truth(NamedTuple):
    """documents: the answers;  base: what the features do on them;  made: correlation with what was to happen"""

    documents: list[Document]
    base: csr_matrix
    made: np.ndarray

    @property
    def judged(self) -> np.ndarray:
        """Of which latents there is enough to see, [d_sae] bool."""
        return self.base.getnnz(axis=0) >= FIRINGS


class Meant(NamedTuple):
    """Reads the stream that a sibling was trained to have: from that of a text towards that of what it means."""

    engine: Engine
    swapped: dict[int, int]
    far: float

    def capture(self, documents: Sequence[Sequence[int]], *points: HookPoint) -> list[Tensor]:
        before = self.engine.capture(documents, *points)
        meant = self.engine.capture([[self.swapped.get(i, i) for i in ids] for ids in documents], *points)
        return [x + self.far * (y - x) for x, y in zip(before, meant, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sae", type=Path, required=True)
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--answers", type=int, default=150)
    arguments = parser.parse_args()
    artifact = open_artifact(arguments.sae)
    truth = truth_of(artifact, arguments.answers)
    table = Table(
        "sibling", "state", "EV", "stale", "suspect", "changed", "recall", "precision", "made to change: stale"
    )
    with tempfile.TemporaryDirectory() as folder:
        database = shutil.copyfile(arguments.db, Path(folder) / "featurehub.db")
        for name in SMOLLM2_SIBLINGS:
            report = check_drift(artifact.folder, smollm2_sibling(name), str(database))
            table.add_row(name, *row(report, truth, held(artifact, name, truth), name == "changed"))
    console.print(table)


def truth_of(artifact: Artifact, answers: int) -> Truth:
    """The base model's answers to requests that nobody trained on, and what the features do on them."""
    dictionary, config = Dictionary.load(artifact.weights), CheckConfig(sampling=SAMPLING)
    with Engine(ensure_model(), EngineConfig.capturing(artifact.manifest.hook), EngineOptions()) as engine:
        asked = [[{"role": "user", "content": request}] for request in requests()[CHATS : CHATS + answers]]
        prompts = [prompt_ids(engine.tokenizer, chat) for chat in asked]
        base = answer_prompts(engine, dictionary, prompts, config)
        meant = Meant(engine, token_swaps(engine.tokenizer), RECIPES["changed"].far)
        made = encode_documents(meant, dictionary, base.documents, special_ids(engine.tokenizer))
    return Truth(base.documents, base.matrix, correlation(base.matrix, made.matrix))


def held(artifact: Artifact, name: str, truth: Truth) -> np.ndarray:
    """How each feature's activations on a sibling correlate with those on the base model, [d_sae]."""
    config = EngineConfig.capturing(artifact.manifest.hook, truncated=True)
    with Engine(smollm2_sibling(name), config) as engine:
        new = encode_documents(
            engine, Dictionary.load(artifact.weights), truth.documents, special_ids(engine.tokenizer)
        )
    return correlation(truth.base, new.matrix)


def row(report: DriftReport, truth: Truth, r: np.ndarray, was_to_change: bool) -> list[str]:
    called = {state: [v.latent for v in report.features if v.state is state] for state in State}
    stale = np.isin(np.arange(len(r)), called[State.STALE])
    checked = np.isin(np.arange(len(r)), [v.latent for v in report.features]) & truth.judged
    changed, kept = checked & (r < BORDER[0]), checked & (r > BORDER[1])
    made = checked & (truth.made < BORDER[0])
    clear, total = changed | kept, len(report.features)
    return [
        report.state,
        f"{report.metrics.get('explained_variance_new', float('nan')):.3f}",
        share(len(called[State.STALE]), total),
        share(len(called[State.SUSPECT]), total),
        f"{changed.sum()} of {checked.sum()}, {(checked & ~clear).sum()} borderline",
        share((changed & stale).sum(), changed.sum()),
        share((changed & stale).sum(), (clear & stale).sum()),
        share((made & stale).sum(), made.sum()) if was_to_change else "–",
    ]


def share(part: int, whole: int) -> str:
    return f"{part / whole:.2f} ({part} of {whole})" if whole else "–"


if __name__ == "__main__":
    main()
