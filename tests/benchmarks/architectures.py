"""Which architecture, and how wide? All on one stream of a model, in one pass, judged on what chose nothing.

EV, L0, dead   on held-out documents
reading        for every concept, the latent and level that tell it best on one half of the held-out documents; F1 on
               the other half. How many of the concepts come to 0.9, and the mean
steering       the same latents, their doses calibrated on prompts of that kind; how often the answers to other prompts
               show the concept, as the median, and how many concepts come to 0.5; unsteered: the same for no edit

demo: the bundled model, whose concepts are planted;  stories: stories260k, whose concepts are words of its stories

    python tests/benchmarks/architectures.py [--model demo|stories] [--latents 320 768] [--tokens N] [--no-steering]
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from reading import best_latent, documents_of, read_documents
from rich.console import Console
from rich.progress import Progress as Bars
from rich.table import Table
from subjects import SUBJECTS, Subject

from featurehub.artifacts.manifest import HookPoint
from featurehub.cli.demo import build_plan
from featurehub.cli.harvest import identify_hook
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Mode
from labeling.strength import Candidate, calibrate
from saes.activations import FeatureActivations
from saes.architecture import Architecture
from saes.documents import prompt_ids, special_ids
from saes.drift.check import World
from saes.harvest import harvest_documents
from saes.recipes import Recipe
from saes.run import TrainConfig
from saes.stream import Stream, StreamConfig
from saes.train import train
from saes.trainee import Progress

ANSWERS = 24
NOTHING = "unsteered"
console = Console(width=140, highlight=False)


class Read(NamedTuple):
    """The latent that tells a concept best on one half, and its F1 on the other."""

    latent: int
    f1: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SUBJECTS, default="demo")
    parser.add_argument("--latents", type=int, nargs="+", default=[320, 768])
    parser.add_argument("--tokens", type=int, default=3_000_000)
    parser.add_argument("--no-steering", action="store_true")
    arguments = parser.parse_args()
    recipes = [Recipe(architecture=a, d_sae=d_sae) for d_sae in arguments.latents for a in Architecture]
    subject = SUBJECTS[arguments.model]()
    table = Table("SAE", "EV", "L0", "dead", "concepts read", "mean F1", "median steered", "concepts steered", NOTHING)
    with tempfile.TemporaryDirectory() as folder:
        with open_engine(subject) as engine:
            trained = train_all(engine, subject, recipes, arguments.tokens, Path(folder))
            held_out = documents_of(engine, subject.held_out)
            measured = [read_documents(engine, dictionary, held_out) for dictionary in trained]
        for recipe, dictionary, (activations, said) in zip(recipes, trained, measured, strict=True):
            reads = read_concepts(subject, said)
            norm = activations.median_norm
            steered = {} if arguments.no_steering else steer(subject, dictionary, reads, norm, Path(folder))
            row = cells(activations, reads, steered)
            console.print(recipe, *row)
            table.add_row(f"{recipe.architecture} {recipe.d_sae}", *row)
    console.print(table)


def open_engine(subject: Subject, *saes: SaeConfig) -> Engine:
    hook = HookConfig(point=HookPoint(layer=subject.layer), saes=saes)
    return Engine(subject.model, EngineConfig(hooks=(hook,)), EngineOptions())


def train_all(
    engine: Engine, subject: Subject, recipes: Sequence[Recipe], tokens: int, folder: Path
) -> list[Dictionary]:
    documents, special = documents_of(engine, subject.training), special_ids(engine.tokenizer)
    identity, hook = identify_hook(subject.model, subject.layer)
    streams = harvest_documents(engine, documents, special, folder / "harvest", identity, [hook], build_plan().harvest)
    config = TrainConfig(tokens=tokens)
    with Bars(console=console, transient=True) as bars:
        task = bars.add_task("training", total=config.steps)

        def show(progress: Progress) -> None:
            bars.update(task, completed=progress.step)

        trained = train(Stream(streams, StreamConfig()), identity.d_model, recipes, config, progress=show)
    return [each.dictionary for each in trained]


def read_concepts(subject: Subject, said: World) -> dict[str, Read]:
    latents = range(said.peaks.shape[1])
    return {
        name: Read(*best_latent(latents, subject.judge.mentions(name, said.texts), said.peaks)) for name in subject.read
    }


def steer(
    subject: Subject, dictionary: Dictionary, reads: Mapping[str, Read], norm: float, folder: Path
) -> dict[str, tuple[float, float]]:
    """By concept, the share of answers that show it, and the share of unsteered ones."""
    dictionary.save(folder / "sae.safetensors")
    norms = dictionary.W_dec.norm(dim=-1)
    with open_engine(subject, SaeConfig(id="steered", folder=folder, d_sae=dictionary.d_sae)) as engine:
        asked = [prompt_ids(engine.tokenizer, prompt) for prompt in subject.calibrate]
        candidates = [
            Candidate(
                latent=reads[name].latent,
                label=name,
                name=name,
                label_score=reads[name].f1,
                norm=float(norms[reads[name].latent]),
            )
            for name in subject.steered
        ]
        found = calibrate(engine, candidates, asked, norm, subject.judge, build_plan().calibration)
        plain = answers(engine, subject, None, 10 * ANSWERS, 90_000)
        result = {}
        for i, candidate in enumerate(candidates):
            edit = LatentEdit(latent=candidate.latent, mode=Mode.NUDGE, value=found[candidate.latent].strength)
            steered = answers(engine, subject, Steering(edits=(edit,)), ANSWERS, 100 * i)
            shares = (float(subject.judge.shows(candidate.name, texts).mean()) for texts in (steered, plain))
            result[candidate.name] = tuple(shares)
        return result


def answers(engine: Engine, subject: Subject, steering: Steering | None, count: int, seed: int) -> list[str]:
    prompts = [prompt_ids(engine.tokenizer, prompt) for prompt in subject.evaluate]
    asked = [prompts[i % len(prompts)] for i in range(count)]
    sampling = Sampling(temperature=0.7, max_tokens=96, seed=seed)
    return [answer.text for answer in engine.generate(asked, [steering] * count, sampling)]


def cells(
    activations: FeatureActivations, reads: Mapping[str, Read], steered: Mapping[str, tuple[float, float]]
) -> list[str]:
    quality, scores = activations.quality, [read.f1 for read in reads.values()]
    shares, plain = ([pair[i] for pair in steered.values()] for i in (0, 1))
    return [
        f"{quality.explained_variance:.3f}",
        f"{quality.l0:.1f}",
        f"{quality.dead:.1%}",
        f"{sum(score >= 0.9 for score in scores)} of {len(scores)}",
        f"{mean(scores):.3f}",
        f"{median(shares):.2f}" if shares else "–",
        f"{sum(share >= 0.5 for share in shares)} of {len(shares)}" if shares else "–",
        f"{median(plain):.2f}, at most {max(plain):.2f}" if plain else "–",
    ]


if __name__ == "__main__":
    main()
