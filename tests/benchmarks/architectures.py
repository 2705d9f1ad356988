"""Which architecture, and how wide? All on one stream of a model, in one pass, judged on what chose nothing.

EV, L0, dead   on held-out documents
reading        for every concept, the latent and level that tell it best on one half of the held-out documents; F1 on
               the other half. How many of the concepts come to 0.9, and the mean
steering       how often answers show the concept when they are steered (``steered.py``): the median of the concepts,
               how many come to 0.5, and how many of these answers (of unsteered ones) are coherent
controls       the same share without an edit, median and most; and the most that random directions add to it

demo: the bundled model, whose concepts are planted;  stories: stories260k, whose concepts are words of its stories

    python tests/benchmarks/architectures.py [--model demo|stories] [--latents 320 768] [--tokens N] [--no-steering]
                                              [--folder KEPT]

With a folder, a run that was stopped goes on with its training where it was.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median

from reading import Reading, documents_of, read_documents, readings
from rich.console import Console
from rich.progress import Progress as Bars
from rich.table import Table
from steered import Steered, open_engine, steer
from subjects import SUBJECTS, Subject

from featurehub.cli.demo.planted import build_plan
from featurehub.dictionary import Dictionary
from featurehub.engine.offline import Engine
from featurehub.records import Label
from featurehub.runs.harvest import identify_hook
from featurehub.token_ids import special_ids
from saes.activations import FeatureActivations
from saes.architecture import Architecture
from saes.drift.measures import World
from saes.harvest import harvest_documents
from saes.recipes import Recipe
from saes.run import TrainConfig
from saes.stream import Stream, StreamConfig
from saes.train import train
from saes.trainee import TrainingProgress

console = Console(width=160, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SUBJECTS, default="demo")
    parser.add_argument("--latents", type=int, nargs="+", default=[320, 768])
    parser.add_argument("--tokens", type=int, default=3_000_000)
    parser.add_argument("--no-steering", action="store_true")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    recipes = [Recipe(architecture=a, d_sae=d_sae) for d_sae in arguments.latents for a in Architecture]
    subject = SUBJECTS[arguments.model]()
    table = Table("SAE", "EV", "L0", "dead", "read", "mean F1", "steered", "at .5", "coherent", "unsteered", "random")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        with open_engine(subject) as engine:
            trained = train_all(engine, subject, recipes, arguments.tokens, folder)
            held_out = documents_of(engine, subject.held_out)
            measured = [read_documents(engine, dictionary, held_out) for dictionary in trained]
        for recipe, dictionary, (activations, said) in zip(recipes, trained, measured, strict=True):
            readers = read_concepts(subject, said)
            norm = activations.median_norm
            steered = {} if arguments.no_steering else steer(subject, dictionary, readers, norm, folder)
            table.add_row(f"{recipe.architecture} {recipe.d_sae}", *cells(activations, readers, steered))
            console.print(table)


def train_all(
    engine: Engine, subject: Subject, recipes: Sequence[Recipe], tokens: int, folder: Path
) -> list[Dictionary]:
    documents, special = documents_of(engine, subject.training), special_ids(engine.tokenizer)
    identity, hook = identify_hook(subject.model, subject.layer)
    streams = harvest_documents(
        engine, documents, special, folder / "harvest", identity, [hook], build_plan().training.harvest
    )
    config = TrainConfig(tokens=tokens)
    with Bars(console=console, transient=True) as bars:
        task = bars.add_task("training", total=config.steps)

        def show(progress: TrainingProgress) -> None:
            bars.update(task, completed=progress.step)

        stream, checkpoint = Stream(streams, StreamConfig()), folder / "checkpoint.safetensors"
        trained = train(stream, identity.d_model, recipes, config, checkpoint, show)
    return [each.dictionary for each in trained]


def read_concepts(subject: Subject, said: World) -> dict[str, list[Reading]]:
    latents = range(said.peaks.shape[1])
    return {
        name: readings(latents, subject.judge.mentions(Label(name=name), said.texts), said.peaks)
        for name in subject.read
    }


def cells(
    activations: FeatureActivations, readers: Mapping[str, Sequence[Reading]], steered: Mapping[str, Steered]
) -> list[str]:
    quality, scores = activations.quality, [best.f1 for best, *_ in readers.values()]
    read = [
        f"{quality.explained_variance:.3f}",
        f"{quality.l0:.1f}",
        f"{quality.dead:.1%}",
        f"{sum(score >= 0.9 for score in scores)} of {len(scores)}",
        f"{mean(scores):.3f}",
    ]
    return read + (steering_cells(list(steered.values())) if steered else ["–"] * 5)


def steering_cells(concepts: Sequence[Steered]) -> list[str]:
    unsteered = [concept.unsteered for concept in concepts]
    return [
        f"{median(concept.steered for concept in concepts):.2f}",
        f"{sum(concept.steered >= 0.5 for concept in concepts)} of {len(concepts)}",
        f"{mean(concept.coherent for concept in concepts):.2f} ({concepts[0].plain:.2f})",
        f"{median(unsteered):.2f}, at most {max(unsteered):.2f}",
        f"{max(concept.random - concept.unsteered for concept in concepts):+.2f}",
    ]


if __name__ == "__main__":
    main()
