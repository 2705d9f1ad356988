"""Is it worth beginning with the SAE of the model before it was retrained? A twentieth of the tokens, from the parent's
weights and from random ones.

parent     trained on the bundled model, with all tokens, as the demo's is
siblings   retrained models: for each the parent as it is, a child that begins with it, and one from scratch, both on
           the sibling's stream of the same text, with a twentieth of the tokens
EV, L0     on held-out documents of the sibling
latents    concepts that the very latents still tell (F1 >= 0.9) that told them best before: whether names stay true. Of
           one from scratch, with another seed, they are other latents: the control

    python tests/benchmarks/refresh.py [--tokens 3000000] [--share 0.05]
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from reading import documents_of, read_documents, readings
from rich.console import Console
from rich.table import Table
from subjects import demo

from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.demo.planted import LATENTS, build_plan
from featurehub.demo.bundle import SIBLINGS, sibling
from featurehub.dictionary import Dictionary
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine
from featurehub.records import Label
from featurehub.runs.harvest import identify_hook
from featurehub.token_ids import special_ids
from saes.evaluate import Quality
from saes.harvest import harvest_documents
from saes.recipes import Recipe
from saes.run import TrainConfig
from saes.stream import Stream, StreamConfig
from saes.train import train

SUBJECT = demo()
PARENT = "parent"
PARENTS = Recipe(d_sae=LATENTS)
console = Console(width=120, highlight=False)


class Outcome(NamedTuple):
    """f1: by concept, of the latent that is asked about;  best: by concept, the latent that tells it best"""

    quality: Quality
    f1: Mapping[str, float]
    best: Mapping[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=3_000_000)
    parser.add_argument("--share", type=float, default=0.05)
    arguments = parser.parse_args()
    table = Table("model", "SAE", "training tokens", "EV", "L0", "latents")
    few = round(arguments.tokens * arguments.share)
    [parent], [before] = trained_on(SUBJECT.model, [PARENTS], arguments.tokens, {}, {})
    table.add_row("base", "parent", f"{arguments.tokens:,}", *cells(before))
    for name in SIBLINGS:
        recipes = [PARENTS.model_copy(update={"parent": PARENT}), PARENTS.model_copy(update={"seed": 1})]
        _, (stale, child, scratch) = trained_on(sibling(name), recipes, few, {PARENT: parent}, before.best)
        table.add_row(name, "parent as it is", "0", *cells(stale))
        table.add_row(name, "child", f"{few:,}", *cells(child))
        table.add_row(name, "from scratch", f"{few:,}", *cells(scratch))
    console.print(table)


def trained_on(
    model: Path,
    recipes: Sequence[Recipe],
    tokens: int,
    parents: Mapping[str, Dictionary],
    asked: Mapping[str, int],
) -> tuple[list[Dictionary], list[Outcome]]:
    """What the recipes come to, and how good they are, the parents as they are first."""
    identity, hook = identify_hook(model, SUBJECT.layer)
    config = EngineConfig.capturing(HookPoint(layer=SUBJECT.layer), truncated=True)
    with Engine(model, config) as engine, tempfile.TemporaryDirectory() as folder:
        documents, special = documents_of(engine, SUBJECT.training), special_ids(engine.tokenizer)
        shards = harvest_documents(
            engine, documents, special, Path(folder), identity, [hook], build_plan().training.harvest
        )
        stream = Stream(shards, StreamConfig())
        made = train(stream, identity.d_model, recipes, TrainConfig(tokens=tokens), parents=parents)
        dictionaries = [*parents.values(), *(each.dictionary for each in made)]
        held_out = documents_of(engine, SUBJECT.held_out)
        return dictionaries, [outcome(engine, dictionary, held_out, asked) for dictionary in dictionaries]


def outcome(engine: Engine, dictionary: Dictionary, held_out: Sequence, asked: Mapping[str, int]) -> Outcome:
    activations, said = read_documents(engine, dictionary, held_out)
    f1, best = {}, {}
    for name in SUBJECT.read:
        found = readings(range(dictionary.d_sae), SUBJECT.judge.mentions(Label(name=name), said.texts), said.peaks)
        best[name] = found[0].latent
        f1[name] = next(each.f1 for each in found if each.latent == asked.get(name, best[name]))
    return Outcome(activations.quality, f1, best)


def cells(outcome: Outcome) -> list[str]:
    quality, kept = outcome.quality, sum(f1 >= 0.9 for f1 in outcome.f1.values())
    return [f"{quality.explained_variance:.3f}", f"{quality.l0:.1f}", f"{kept} of {len(outcome.f1)}"]


if __name__ == "__main__":
    main()
