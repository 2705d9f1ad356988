"""Is an SAE worth refreshing? `featurehub refresh` on retrained siblings, against training from scratch.

parent    the planted model's SAE, as the demo builds it (``FEATUREHUB_HOME``)
siblings  retrained models: on each the refresh, and an SAE from scratch, with another seed, with all tokens of the
          parent's training
EV        on the parent's canaries: of the parent on its own model, of the parent on the sibling, of the refreshed SAE
concepts  F1 of the latent that tells a concept best, on answers that the sibling gives to prompts which nothing else
          used, in the mean over the concepts that it still speaks of: in at least ``SPOKEN`` of these answers, by the
          recogniser. The latent is chosen on one half, F1 is measured on the other
names     share of the parent's features with such a concept's name that kept it; and of all that were kept, the share
          whose name's F1 on these answers is no more than ``FELL`` below what it was on the old model's
cost      vectors trained on and seconds, of the refresh and from scratch

    python tests/benchmarks/refresh.py [--siblings benign changed reseeded] [--without-scratch]
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from reading import documents_of, readings
from rich.console import Console
from rich.table import Table

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.demo.planted import LATENTS, build_plan, ensure_planted, planted_database
from featurehub.cli.progress import ConsoleProgress
from featurehub.cli.refresh import show
from featurehub.demo.bundle import HOOK_LAYER, SIBLINGS, bundled_model, sibling
from featurehub.demo.concepts import names
from featurehub.demo.corpus import conversations, messages
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.names import fold
from featurehub.records import Label
from featurehub.refreshes import Fate, RefreshReport
from featurehub.runs.harvest import identify_hook
from featurehub.runs.judges import RecognizerJudge
from featurehub.runs.refresh import refresh_sae
from featurehub.runs.refresh_plan import RefreshPlan
from featurehub.store import open_store
from featurehub.token_ids import special_ids
from saes.activations import encode_documents
from saes.documents import Document
from saes.drift.keeping import fires_by_half
from saes.drift.measures import World, world
from saes.drift.scores import f1
from saes.harvest import harvest_documents
from saes.observed import observe
from saes.recipes import Recipe
from saes.run import TrainConfig
from saes.stream import Stream, StreamConfig
from saes.train import train

TEXT = [messages(each) for each in islice(conversations(7), 5000)]
UNSEEN = [messages(each) for each in islice(conversations(31337, split="held-out"), 800)]
SPOKEN, FELL = 16, 0.15
SAMPLING = Sampling(temperature=0.7, max_tokens=96, seed=4242)
console = Console(width=140, highlight=False)


class Spoken(NamedTuple):
    """A model's answers to unseen prompts, with each SAE's activations on them; truth: by concept, where it is there"""

    worlds: list[World]
    truth: Mapping[str, np.ndarray]

    @property
    def concepts(self) -> list[str]:
        return [name for name, there in self.truth.items() if there.sum() >= SPOKEN]

    def best(self, sae: int) -> dict[str, float]:
        """F1 of the best latent of an SAE by concept."""
        peaks = self.worlds[sae].peaks
        return {name: readings(range(peaks.shape[1]), self.truth[name], peaks)[0].f1 for name in self.concepts}

    def told(self, sae: int, latent: int, name: str) -> float:
        """F1 of one latent for a concept, at levels that are chosen on the other half."""
        return f1(self.truth[name], fires_by_half(self.truth[name], self.worlds[sae].peaks[:, latent]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--siblings", nargs="*", default=SIBLINGS)
    parser.add_argument("--without-scratch", action="store_true")
    arguments = parser.parse_args()
    parent = ensure_planted()
    with closing(open_store(planted_database())) as store, store.read() as reader:
        labels = reader.labels(parent.manifest.id)
    before = spoken(bundled_model(), [Dictionary.load(parent.weights)])
    for name in arguments.siblings:
        with tempfile.TemporaryDirectory() as folder:
            report, refreshed = refreshed_on(name, parent, Path(folder))
        if refreshed is None:
            continue
        scratch, seconds = (None, 0.0) if arguments.without_scratch else from_scratch(sibling(name))
        now = spoken(sibling(name), [refreshed, *([scratch] if scratch else [])])
        console.print(table_of(name, report, labels, before, now, seconds))


def refreshed_on(name: str, parent: Artifact, folder: Path) -> tuple[RefreshReport, Dictionary | None]:
    """The refresh, in a database of its own; None where it was refused."""
    database = str(shutil.copy(planted_database(), folder / "features.db"))
    plan = RefreshPlan(model=sibling(name), out=folder / name, database=database, name=name)
    report = refresh_sae(plan, parent, TEXT, ConsoleProgress())
    console.print(f"\n{name}")
    show(report)
    return report, Dictionary.load(folder / name / "sae.safetensors") if report.artifact else None


def from_scratch(model: Path) -> tuple[Dictionary, float]:
    """An SAE of all tokens of the parent's training, and how long reading and training took."""
    began, plan = time.monotonic(), build_plan().training
    identity, hook = identify_hook(model, HOOK_LAYER)
    config = EngineConfig.capturing(HookPoint(layer=HOOK_LAYER), truncated=True)
    with Engine(model, config) as engine, tempfile.TemporaryDirectory() as folder:
        documents, special = documents_of(engine, TEXT), special_ids(engine.tokenizer)
        documents = [each for i, each in enumerate(documents) if i % 4]
        shards = harvest_documents(engine, documents, special, Path(folder), identity, [hook], plan.harvest)
        recipe = Recipe(d_sae=LATENTS, seed=1)
        [made] = train(
            Stream(shards, StreamConfig()), identity.d_model, [recipe], TrainConfig(tokens=plan.config.tokens)
        )
    return made.dictionary, time.monotonic() - began


def spoken(model: Path, dictionaries: Sequence[Dictionary]) -> Spoken:
    with Engine(model, EngineConfig.capturing(HookPoint(layer=HOOK_LAYER)), EngineOptions()) as engine:
        prompts = [each.token_ids[: each.prompt_len] for each in documents_of(engine, UNSEEN)]
        answers = engine.generate(prompts, [None] * len(prompts), SAMPLING)
        documents = [Document(p + a.token_ids, len(p)) for p, a in zip(prompts, answers, strict=True)]
        special = special_ids(engine.tokenizer)
        seen = [observe(encode_documents(engine, each, documents, special)) for each in dictionaries]
        worlds = [world(each, engine.tokenizer) for each in seen]
    judge = RecognizerJudge()
    return Spoken(worlds, {name: judge.mentions(Label(name=name), worlds[0].texts) for name in names()})


def table_of(
    name: str, report: RefreshReport, labels: Mapping[int, Label], before: Spoken, now: Spoken, seconds: float
) -> Table:
    table = Table("measure", "refreshed", "beside", title=name)
    concepts, cost = now.concepts, report.cost
    assert cost is not None
    ev = (
        f"{report.explained_variance_before:.3f} on the model before, {report.explained_variance_stale:.3f} unrefreshed"
    )
    table.add_row("explained variance", f"{report.explained_variance:.3f}", ev)
    best = [now.best(sae) for sae in range(len(now.worlds))]
    means = [float(np.mean(list(each.values()))) for each in best]
    scratch = f"{means[1]:.3f} from scratch, all tokens" if len(means) > 1 else ""
    table.add_row(f"F1 of {len(concepts)} concepts", f"{means[0]:.3f}", scratch)
    about = [each for each in report.features if fold(labels[each.latent].name) in concepts]
    kept = [each for each in about if each.fate is Fate.KEPT]
    found = sum(each.fate is Fate.KEPT or each.moved for each in about)
    table.add_row("names of such concepts", f"{len(kept)} of {len(about)} kept", f"{found} mean something")
    held = sum(
        now.told(0, each.latent, name) >= before.told(0, each.latent, name) - FELL
        for each in kept
        if (name := fold(labels[each.latent].name))
    )
    table.add_row("of the kept, true here", f"{held} of {len(kept)}", "")
    counts = ", ".join(f"{report.counts[each]} {each}" for each in Fate)
    table.add_row("all features", counts, f"of {len(report.features)}")
    trained = f"{cost.trained:,} ({cost.trained / cost.scratch_trained:.1%})"
    table.add_row("trained on", trained, f"{cost.scratch_trained:,}")
    measured = f", measured {seconds:.0f} s" if seconds else ""
    table.add_row("reading and training", f"{cost.training_seconds:.0f} s", f"{cost.scratch_seconds:.0f} s{measured}")
    table.add_row("in all", f"{cost.seconds:.0f} s", "")
    return table


if __name__ == "__main__":
    main()
