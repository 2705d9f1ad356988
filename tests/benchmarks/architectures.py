"""Which architecture, and how wide? All on one stream of the bundled model, in one pass, judged on what chose nothing.

EV, L0, dead   on held-out documents
reading        for every planted concept, the latent and level that tell it best on one half of the held-out answers;
               F1 on the other half. How many of the concepts come to 0.9, and the mean
steering       the same latents for topics and manners, their doses calibrated on prompts of that kind; how often the
               answers to other prompts show the concept, as the median, and how many concepts come to 0.5

python tests/benchmarks/architectures.py [--latents 320 768] [--tokens 3000000] [--no-steering]
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from reading import best_latent, held_out
from rich.console import Console
from rich.progress import Progress as Bars
from rich.table import Table
from steering import answers, share

from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.demo import HOOK_LAYER, build_plan, user
from featurehub.cli.harvest import identify_hook
from featurehub.cli.judges import RecognizerJudge
from featurehub.demo.bundle import bundled_model
from featurehub.demo.concepts import Kind, names
from featurehub.demo.corpus import conversations, messages
from featurehub.demo.prompts import neutral_prompts
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions
from featurehub.features import Mode
from labeling.strength import Candidate, calibrate
from saes.activations import FeatureActivations
from saes.architecture import Architecture
from saes.documents import prompt_ids, special_ids, tokenize
from saes.drift.check import World
from saes.harvest import harvest_documents
from saes.recipes import Recipe
from saes.stream import Stream, StreamConfig
from saes.train import Progress, TrainConfig, train

CONVERSATIONS, HELD_OUT, ANSWERS = 5000, 1200, 24
HOOK = HookPoint(layer=HOOK_LAYER)
console = Console(width=140, highlight=False)


class Read(NamedTuple):
    """The latent that tells a concept best on one half, and its F1 on the other."""

    latent: int
    f1: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, nargs="+", default=[320, 768])
    parser.add_argument("--tokens", type=int, default=3_000_000)
    parser.add_argument("--no-steering", action="store_true")
    arguments = parser.parse_args()
    recipes = [Recipe(architecture=a, d_sae=d_sae) for d_sae in arguments.latents for a in Architecture]
    table = Table("SAE", "EV", "L0", "dead", "concepts read", "mean F1", "median steered", "concepts steered")
    with tempfile.TemporaryDirectory() as folder:
        with Engine(bundled_model(), EngineConfig.capturing(HOOK), EngineOptions()) as engine:
            trained = train_all(engine, recipes, arguments.tokens, Path(folder))
            measured = [held_out(engine, dictionary, HELD_OUT) for dictionary in trained]
        for recipe, dictionary, (activations, said) in zip(recipes, trained, measured, strict=True):
            reads = read_concepts(said)
            steered = {} if arguments.no_steering else steer(dictionary, reads, activations.median_norm, Path(folder))
            table.add_row(f"{recipe.architecture} {recipe.d_sae}", *cells(activations, reads, steered))
    console.print(table)


def train_all(engine: Engine, recipes: Sequence[Recipe], tokens: int, folder: Path) -> list[Dictionary]:
    entries = [messages(c) for c in islice(conversations(7), CONVERSATIONS)]
    documents = list(tokenize(engine.tokenizer, entries, 256))
    identity, hook = identify_hook(bundled_model(), HOOK_LAYER)
    special, config = special_ids(engine.tokenizer), TrainConfig(tokens=tokens)
    streams = harvest_documents(engine, documents, special, folder / "harvest", identity, hook, build_plan().harvest)
    with Bars(console=console, transient=True) as bars:
        task = bars.add_task("training", total=config.steps)

        def show(progress: Progress) -> None:
            bars.update(task, completed=progress.step)

        return train(Stream(streams, StreamConfig()), identity.d_model, recipes, config, progress=show)


def read_concepts(answers: World) -> dict[str, Read]:
    judge, latents = RecognizerJudge(), range(answers.peaks.shape[1])
    return {name: Read(*best_latent(latents, judge.mentions(name, answers.texts), answers.peaks)) for name in names()}


def steer(dictionary: Dictionary, reads: Mapping[str, Read], norm: float, folder: Path) -> dict[str, float]:
    """By concept, the share of answers that show it."""
    dictionary.save(folder / "sae.safetensors")
    sae = SaeConfig(id="steered", folder=folder, d_sae=dictionary.d_sae)
    concepts = {name: reads[name].latent for name in names(Kind.TOPIC, Kind.MANNER)}
    norms = dictionary.W_dec.norm(dim=-1)
    with Engine(bundled_model(), EngineConfig(hooks=(HookConfig(point=HOOK, saes=(sae,)),)), EngineOptions()) as engine:
        asked = [prompt_ids(engine.tokenizer, user(prompt)) for prompt in neutral_prompts("calibrate")]
        candidates = [
            Candidate(latent=latent, label=name, name=name, label_score=reads[name].f1, norm=float(norms[latent]))
            for name, latent in concepts.items()
        ]
        found = calibrate(engine, candidates, asked, norm, RecognizerJudge(), build_plan().calibration)
        return {
            name: shown(engine, name, latent, found[latent].strength, 100 * i)
            for i, (name, latent) in enumerate(concepts.items())
        }


def shown(engine: Engine, name: str, latent: int, strength: float, seed: int) -> float:
    steering = Steering(edits=(LatentEdit(latent=latent, mode=Mode.NUDGE, value=strength),))
    return share(name, answers(engine, steering, ANSWERS, seed))


def cells(activations: FeatureActivations, reads: Mapping[str, Read], steered: Mapping[str, float]) -> list[str]:
    quality, scores = activations.quality, [read.f1 for read in reads.values()]
    shares = list(steered.values())
    return [
        f"{quality.explained_variance:.3f}",
        f"{quality.l0:.1f}",
        f"{quality.dead:.1%}",
        f"{sum(score >= 0.9 for score in scores)} of {len(scores)}",
        f"{mean(scores):.3f}",
        f"{median(shares):.2f}" if shares else "–",
        f"{sum(share >= 0.5 for share in shares)} of {len(shares)}" if shares else "–",
    ]


if __name__ == "__main__":
    main()
