"""The commands of `featurehub demo`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from featurehub.artifacts.artifact import Artifact
from featurehub.cli.options import Database, DemoModel, Sae, database_path, demo_model
from featurehub.cli.progress import ConsoleProgress, output, phase, work

__all__ = ["demo_app"]

Keep = Annotated[bool, typer.Option("--keep", envvar="KEEP", help="Go on serving.")]
demo_app = typer.Typer(no_args_is_help=True, help="Tours of the product, and the models that they show it on.")


@demo_app.command()
def run(model: DemoModel = "", keep: Keep = False) -> None:
    """Steer SmolLM2 by named features, see which features made an answer, retrain, and see what went stale."""
    from functools import partial

    from featurehub.cli.demo.serving import smollm2
    from featurehub.cli.demo.shown import Shown
    from featurehub.cli.demo.tour import run_tour
    from featurehub.demo.adapters import smollm2_sibling

    demo = smollm2(demo_model(model) if model else None)
    run_tour(demo, Shown.load(), partial(smollm2_sibling, "changed", phase=phase), keep)


@demo_app.command()
def planted(keep: Keep = False) -> None:
    """The same from scratch on the planted model: build, serve, steer, retrain, and see what went stale."""
    from featurehub.cli.demo.planted_tour import run_planted_tour

    run_planted_tour(keep)


@demo_app.command("build")
def build_sae(
    corpus: Annotated[
        Path, typer.Option(help="Folder with chats and texts: .jsonl.gz files whose lines name sources.")
    ],
    work: Annotated[Path, typer.Option(help="Folder for what is made. A run that was stopped goes on in it.")],
    out: Annotated[Path | None, typer.Option(help="Folder that becomes the parcel; by default the bundle's.")] = None,
    model: DemoModel = "",
) -> None:
    """Make the SAE of SmolLM2 that ships, and its features: chats, harvest, training, labels, strengths, parcel."""
    from featurehub.demo.bundle import sae_place
    from featurehub.runs.demo_sae import build_demo_sae

    say_size(build_demo_sae(demo_model(model), corpus, work, out or sae_place(), ConsoleProgress()))


@demo_app.command()
def bundle(
    sae: Sae,
    db: Database = "",
    out: Annotated[Path | None, typer.Option(help="Folder that becomes the parcel; by default the bundle's.")] = None,
) -> None:
    """Pack an SAE of SmolLM2 and its features into the bundle that ships; the same SAE gives the same bytes."""
    from featurehub.cli.registry.location import folder_of
    from featurehub.demo.bundle import sae_place
    from featurehub.runs.parcel import pack

    db = db or database_path()
    say_size(pack(folder_of(sae, db), db, out or sae_place()))


def say_size(parcel: Artifact) -> None:
    size = sum(file.stat().st_size for file in parcel.folder.iterdir())
    output.print(f"{parcel.folder}: {parcel.manifest.name}, {size / 1e6:.1f} MB", soft_wrap=True)


@demo_app.command()
def fetch(model: DemoModel = "") -> None:
    """Download the demo's chat model, or find the one that was given, and print its folder."""
    output.print(str(demo_model(model)), soft_wrap=True)


@demo_app.command()
def chats(
    out: Annotated[Path, typer.Option(help="Folder for the chats. A run that was stopped goes on in it.")],
    count: Annotated[
        int | None, typer.Option(min=1, help="The first so many; by default those of the siblings.")
    ] = None,
    model: DemoModel = "",
) -> None:
    """Let the demo's chat model answer many requests: what its siblings are fine-tuned on."""
    from featurehub.runs.own_chats import CHATS, write_chats

    write_chats(demo_model(model), out, count or CHATS, ConsoleProgress())


@demo_app.command()
def tune(
    name: Annotated[str, typer.Argument(help="benign or changed.")],
    chats: Annotated[Path, typer.Option(help="What `featurehub demo chats` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the adapter. A run that was stopped goes on in it.")],
    corpus: Annotated[
        Path | None, typer.Option(help="For `changed`: the folder that `featurehub demo build` was given.")
    ] = None,
    model: DemoModel = "",
) -> None:
    """Fine-tune the demo's chat model with LoRA: a benign continuation, or features of its SAE change places."""
    from featurehub.cli.demo.smollm2 import ensure_smollm2, smollm2_database
    from featurehub.runs.siblings import Sources, tune_sibling

    sources = Sources(demo_model(model), chats, corpus, ensure_smollm2(), smollm2_database())
    tune_sibling(name, sources, out, ConsoleProgress())


@demo_app.command()
def merge(
    adapter: Annotated[Path, typer.Argument(help="What `featurehub demo tune` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the merged model.")],
    model: DemoModel = "",
) -> None:
    """Merge an adapter into the demo's chat model."""
    from featurehub.demo.adapters import merge_adapter

    output.print(str(merge_adapter(adapter, demo_model(model), out, phase=phase)), soft_wrap=True)


@demo_app.command("sibling")
def smollm2(name: Annotated[str, typer.Argument(help="benign or changed.")]) -> None:
    """Print the folder of a fine-tuned sibling of the demo's chat model, merged at the first call."""
    from featurehub.demo.adapters import smollm2_sibling

    output.print(str(smollm2_sibling(name, phase=phase)), soft_wrap=True)


@demo_app.command("recognize")
def recognize_text(text: str) -> None:
    """What the recogniser says of a text."""
    from featurehub.demo.recognizer import recognize

    verdict = recognize(text)
    table = Table("sentence", "well-formed", "concepts")
    for sentence in verdict.sentences:
        concepts = ", ".join(sorted(sentence.concepts))
        table.add_row(" ".join(sentence.words), "yes" if sentence.well_formed else "no", concepts)
    output.print(table)
    output.print(f"well-formed: {verdict.well_formed}   shows: {', '.join(sorted(verdict.shows)) or 'nothing'}")


@demo_app.command()
def sample(seed: int = 0, count: int = 5) -> None:
    """Conversations of the corpus, as the generator writes them."""
    from itertools import islice

    from featurehub.demo.corpus import conversations, messages

    for conversation in islice(conversations(seed), count):
        for message in messages(conversation):
            output.print(Text.assemble((message["role"], "bold"), f"  {message['content']}"))
        output.print()


@demo_app.command()
def train(out: Annotated[Path, typer.Option(help="Folder that becomes the model.")], seed: int = 0) -> None:
    """Train the planted model again, from a seed."""
    from featurehub.demo.base import train_base

    with work("training the base model", 1) as advance:
        train_base(out, seed=seed, on_progress=lambda step: advance.at(step.step, step.steps))


@demo_app.command()
def siblings(
    base: Annotated[Path, typer.Option(help="Folder of the base model.")],
    out: Annotated[Path, typer.Option(help="Folder that gets a folder per sibling.")],
    name: Annotated[list[str] | None, typer.Option(help="Only this one. May be given several times.")] = None,
) -> None:
    """Retrain the planted model in some 25 ways, each with its truth: what a drift check is measured on.

    Benign continuations, roundings, adapters, later layers alone, concepts that are exchanged, moved, removed or added,
    other seeds. Those that are there already, made from the same base in the same way, stay.
    """
    from featurehub.demo.siblings import RETRAININGS, is_made, train_sibling

    for each in name or RETRAININGS:
        if is_made(each, base, out / each):
            output.print(f"{out / each} is there already", soft_wrap=True)
            continue
        with work(f"training the sibling {each}", 1) as advance:
            train_sibling(each, base, out / each, on_progress=lambda step, bar=advance: bar.at(step.step, step.steps))
