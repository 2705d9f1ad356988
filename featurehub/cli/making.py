"""The commands that make SAEs: harvest, train, label, and build, which does all of it."""

import itertools
from pathlib import Path
from typing import Annotated

import typer

from featurehub.artifacts.manifest import Site
from featurehub.cli.options import Active, Budget, Database, Documents, Layer, Model, Sae, Text, Tokens, database_path
from featurehub.cli.progress import output
from saes.architecture import Architecture

__all__ = ["build", "harvest", "label", "train"]

ARCHITECTURES, LATENTS, SEEDS = [Architecture.BATCHTOPK], [768], [0]
Layers = Annotated[list[int] | None, typer.Option("--layer", min=0, help="Hook layer; may be given several times.")]


def build(
    model: Model,
    text: Text,
    out: Annotated[Path, typer.Option(help="Folder that becomes the SAE artifact.")],
    db: Database = "",
    documents: Documents = None,
    layer: Layer = None,
    architecture: Annotated[Architecture, typer.Option(help="Of the SAE.")] = Architecture.BATCHTOPK,
    latents: Annotated[int, typer.Option(min=2, help="Number of latents, d_sae.")] = 768,
    k: Active = 12.0,
    tokens: Tokens = 1_600_000,
    budget: Budget = "",
) -> None:
    """Harvest, train an SAE, label its features, calibrate strengths, register everything."""
    from saes.texts import read_texts

    entries = read_texts(text, documents)  # before the imports that take long
    from featurehub.cli.build import BuildPlan
    from featurehub.cli.build import build as build_artifact
    from featurehub.cli.judges import beginnings, judge_of
    from saes.budget import Budget as BudgetOf
    from saes.recipes import Recipe
    from saes.run import TrainConfig

    plan = BuildPlan(
        model=model,
        out=out,
        database=db or database_path(),
        name=out.name,
        layer=layer,
        recipes=(Recipe(architecture=architecture, d_sae=latents, k=k),),
        train=TrainConfig.here(tokens=tokens),
        budget=BudgetOf.parse(budget),
    )
    artifact = build_artifact(plan, entries, judge_of(entries), beginnings(entries))
    for name, value in artifact.manifest.metrics.items():
        output.print(f"  {name} {value:.4g}")
    output.print(f"Serve it: featurehub serve {model} --sae {out}")


def train(
    model: Model,
    text: Text,
    out: Annotated[Path, typer.Option(help="Folder for the SAEs, one below it for each.")],
    documents: Documents = None,
    layer: Layer = None,
    architecture: Annotated[
        list[Architecture], typer.Option(help="Of the SAEs; several times for several.")
    ] = ARCHITECTURES,
    latents: Annotated[list[int], typer.Option(min=2, help="Number of latents; several times for several.")] = LATENTS,
    seed: Annotated[list[int], typer.Option(help="Several times for several.")] = SEEDS,
    k: Active = 12.0,
    tokens: Tokens = 1_600_000,
    shards: Annotated[Path | None, typer.Option(help="Folder that keeps the harvest, for other runs too.")] = None,
    budget: Budget = "",
) -> None:
    """Harvest once, and train an SAE of every architecture, width and seed on it, all in one pass."""
    from saes.texts import read_texts

    entries = read_texts(text, documents)  # before the imports that take long
    from featurehub.cli.train import table_of, train_artifacts
    from featurehub.cli.training import TrainPlan
    from saes.budget import Budget as BudgetOf
    from saes.recipes import Recipe
    from saes.run import TrainConfig

    forms = itertools.product(architecture, latents, seed)
    recipes = dict.fromkeys(Recipe(architecture=name, d_sae=width, k=k, seed=one) for name, width, one in forms)
    plan = TrainPlan(
        model=model,
        out=out,
        layer=layer,
        recipes=tuple(recipes),
        train=TrainConfig.here(tokens=tokens),
        shards=shards,
        budget=BudgetOf.parse(budget),
    )
    output.print(table_of(train_artifacts(plan, entries)))
    output.print(f"Label one: featurehub label SAE {model} --text {text}")


def label(
    sae: Sae,
    model: Model,
    text: Text,
    db: Database = "",
    documents: Documents = None,
) -> None:
    """Label an SAE's features, calibrate strengths, register everything: the second half of a build."""
    from saes.texts import read_texts

    entries = read_texts(text, documents)  # before the imports that take long
    from featurehub.artifacts.artifact import open_artifact
    from featurehub.cli.judges import beginnings, judge_of
    from featurehub.cli.registry.located import folder_of
    from featurehub.cli.relabel import LabelPlan, label_artifact

    db = db or database_path()
    artifact = open_artifact(folder_of(sae, db))
    plan = LabelPlan(model=model, out=artifact.folder, database=db)
    label_artifact(plan, artifact, entries, judge_of(entries), beginnings(entries))
    output.print(f"Serve it: featurehub serve {model} --sae {artifact.folder}")


def harvest(
    model: Model,
    text: Text,
    out: Annotated[Path, typer.Option(help="Folder for the shards. A run that was stopped goes on in it.")],
    documents: Documents = None,
    layer: Layers = None,
    site: Annotated[list[Site] | None, typer.Option(help="Where in each layer; may be given several times.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of each text, from its beginning.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
) -> None:
    """Read the stream at one hook point or several over a whole text, into shards of safetensors."""
    from saes.texts import read_texts

    entries = read_texts(text, documents)  # before the imports that take long
    from featurehub.cli.harvest import HarvestPlan
    from featurehub.cli.harvest import harvest as harvest_text

    places = {"layers": layer or (), "sites": site or [Site.RESID_POST]}
    made = harvest_text(HarvestPlan.of(model=model, out=out, max_tokens=max_tokens, dtype=dtype, **places), entries)
    hooks = ", ".join(map(str, made.record.hooks))
    output.print(f"{made.record.tokens:,} tokens at {hooks}, {made.bytes / 1e6:,.1f} MB in {out}")
