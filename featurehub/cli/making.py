"""The commands that make SAEs: harvest, train, label, calibrate, and build, which does all four."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.manifest import HookPoint, Site
from featurehub.cli.naming import (
    ExplainedBy,
    LlmAtOnce,
    LlmModel,
    LlmMoney,
    LlmPrices,
    LlmTokens,
    LlmUrl,
    ScoredBy,
    naming_of,
)
from featurehub.cli.options import (
    Active,
    Budget,
    CanaryText,
    Database,
    Documents,
    Layer,
    MaxTokens,
    Model,
    Place,
    Sae,
    Span,
    Text,
    Time,
    Tokens,
    baseline_of,
    database_path,
    same_database,
    time_budget,
)
from featurehub.cli.progress import ConsoleProgress, output, suggest
from featurehub.features import Feature
from featurehub.records import Calibration
from saes.architecture import Architecture

__all__ = ["build", "calibrate", "harvest", "label", "table_of", "table_of_strengths", "train"]

SEEDS = [0]
PATIENCE = "20min"
"""Time that labelling and calibration have by default."""
Layers = Annotated[list[int] | None, typer.Option("--layer", min=0, help="Hook layer; may be given several times.")]


def build(
    model: Model,
    text: Text,
    out: Annotated[Path, typer.Option(help="Folder that becomes the SAE artifact.")],
    db: Database = "",
    documents: Documents = None,
    max_tokens: MaxTokens = None,
    layer: Layer = None,
    site: Place = None,
    architecture: Annotated[Architecture | None, typer.Option(help="Of the SAE; batchtopk by default.")] = None,
    latents: Annotated[int | None, typer.Option(min=2, help="d_sae; 4 times the model's width by default.")] = None,
    k: Active = None,
    span: Span = 1,
    tokens: Tokens = None,
    canary_text: CanaryText = "",
    budget: Budget = "",
) -> None:
    """Harvest, train an SAE, label its features, register everything, and calibrate strengths as time allows."""
    began = time.monotonic()
    from saes.texts import pinned, read_texts

    text = pinned(text)
    entries = read_texts(text, documents)  # before the slow imports
    from featurehub.runs.build import BuildPlan
    from featurehub.runs.build import build as build_artifact
    from featurehub.runs.judges import judge_of
    from featurehub.runs.material import MaterialConfig
    from featurehub.runs.prompts import beginnings
    from featurehub.runs.recipes import RecipeOptions, recipes_for
    from featurehub.runs.training import SaeTraining
    from saes.budget import Budget as BudgetOf
    from saes.defaults import default_tokens
    from saes.run import TrainConfig

    options = RecipeOptions([architecture] if architecture else (), [latents] if latents else (), k)
    hook = HookPoint(layer=layer or 0, site=site or Site.RESID_POST)
    [recipe] = recipes_for(model, options, hook)
    config = TrainConfig.here(tokens=tokens or default_tokens(recipe.d_sae), span=span)
    plan = BuildPlan(
        model=model,
        out=out,
        database=db or database_path(),
        name=out.name,
        layer=layer,
        site=hook.site,
        material=MaterialConfig(text=text, max_tokens=max_tokens),
        baseline=baseline_of(canary_text),
        training=SaeTraining(
            recipes=(recipe,), config=config, budget=BudgetOf.parse(budget).less(time.monotonic() - began)
        ),
        patient=False,
    )
    artifact = build_artifact(plan, entries, judge_of(entries), beginnings(model, entries), ConsoleProgress())
    for name, value in artifact.manifest.metrics.items():
        output.print(f"  {name} {value:.4g}")
    suggest("Serve it", "featurehub", "serve", model, "--sae", out, *same_database(db))


def train(
    model: Model,
    text: Text,
    out: Annotated[Path, typer.Option(help="Folder for the SAEs, one below it for each.")],
    documents: Documents = None,
    max_tokens: MaxTokens = None,
    layer: Layer = None,
    site: Place = None,
    architecture: Annotated[
        list[Architecture] | None, typer.Option(help="Of the SAEs; several times for several; batchtopk by default.")
    ] = None,
    latents: Annotated[
        list[int] | None,
        typer.Option(min=2, help="d_sae; several times for several; 4 times the model's width by default."),
    ] = None,
    seed: Annotated[list[int], typer.Option(help="Several times for several.")] = SEEDS,
    k: Active = None,
    lr: Annotated[float | None, typer.Option(min=1e-8, max=1.0, help="Learning rate; by default by the width.")] = None,
    span: Span = 1,
    tokens: Tokens = None,
    batch_tokens: Annotated[int | None, typer.Option(min=16, help="Of a step; 2,048 tokens or 512 spans.")] = None,
    buffer_tokens: Annotated[int, typer.Option(min=16, help="Tokens that are shuffled; bounds the memory.")] = 65_536,
    shards: Annotated[Path | None, typer.Option(help="Folder that keeps the harvest, for other runs too.")] = None,
    parent: Annotated[
        str, typer.Option(help="SAE whose weights it begins with, such as one of the model before it was retrained.")
    ] = "",
    canary_text: CanaryText = "",
    db: Database = "",
    budget: Budget = "",
) -> None:
    """Harvest once, and train an SAE of every architecture, width and seed on it, all in one pass."""
    began = time.monotonic()
    from saes.texts import pinned, read_texts

    entries = read_texts(text := pinned(text), documents)  # before the slow imports
    from featurehub.artifacts.artifact import open_artifact
    from featurehub.cli.registry.location import folder_of
    from featurehub.runs.material import MaterialConfig
    from featurehub.runs.recipes import RecipeOptions, form_of
    from featurehub.runs.train import train_artifacts
    from featurehub.runs.training import SaeTraining, TrainPlan
    from saes.budget import Budget as BudgetOf
    from saes.defaults import default_tokens
    from saes.run import TrainConfig

    begun = open_artifact(folder_of(parent, db or database_path())) if parent else None
    form = form_of(model, RecipeOptions(architecture or (), latents or (), k, lr, seed), begun, layer, site)
    training = SaeTraining(
        recipes=form.recipes,
        parents=form.parents,
        config=TrainConfig.here(tokens=tokens or default_tokens(form.widest), batch_tokens=batch_tokens, span=span),
        buffer_tokens=buffer_tokens,
        shards=shards,
        budget=BudgetOf.parse(budget).less(time.monotonic() - began),
    )
    texts = {"material": MaterialConfig(text=text, max_tokens=max_tokens), "baseline": baseline_of(canary_text)}
    plan = TrainPlan(model=model, out=out, layer=form.layer, site=form.site, training=training, **texts)
    made = train_artifacts(plan, entries, ConsoleProgress())
    output.print(table_of(made))
    suggest("Label one", "featurehub", "label", made[0].folder, model, "--text", text, *same_database(db))


def table_of(artifacts: Sequence[Artifact]) -> Table:
    """A table of trained SAEs, one row each."""
    table = Table("SAE", "EV", "L0", "dead", "folder")
    for artifact in artifacts:
        metrics = artifact.manifest.metrics
        numbers = (f"{metrics['explained_variance']:.3f}", f"{metrics['l0']:.1f}", f"{metrics['dead']:.1%}")
        table.add_row(artifact.folder.name, *numbers, str(artifact.folder))
    return table


def label(
    sae: Sae,
    model: Model,
    text: Text,
    db: Database = "",
    documents: Documents = None,
    max_tokens: MaxTokens = None,
    budget: Time = PATIENCE,
    explainer: ExplainedBy = "offline",
    scorer: ScoredBy = "",
    llm_url: LlmUrl = "",
    llm_model: LlmModel = "",
    llm_tokens: LlmTokens = "",
    llm_money: LlmMoney = None,
    llm_prices: LlmPrices = "",
    llm_at_once: LlmAtOnce = 8,
) -> None:
    """Label an SAE's features, register them, and calibrate strengths: the second half of a build."""
    from saes.texts import read_texts

    entries = read_texts(text, documents)  # before the slow imports
    from featurehub.artifacts.artifact import open_artifact
    from featurehub.cli.registry.location import folder_of
    from featurehub.runs.judges import judge_of
    from featurehub.runs.label import LabelPlan, label_artifact
    from featurehub.runs.material import MaterialConfig
    from featurehub.runs.prompts import beginnings

    where = db or database_path()
    artifact = open_artifact(folder_of(sae, where))
    material = MaterialConfig(max_tokens=max_tokens)
    naming = naming_of(explainer, scorer, llm_url, llm_model, llm_tokens, llm_money, llm_prices, llm_at_once)
    plan = LabelPlan(model=model, database=where, material=material, naming=naming, budget=time_budget(budget))
    label_artifact(plan, artifact, entries, judge_of(entries), beginnings(model, entries), ConsoleProgress())
    suggest("Serve it", "featurehub", "serve", model, "--sae", artifact.folder, *same_database(db))


def calibrate(
    sae: Sae,
    model: Model,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="Calibrate this feature now, with more answers; several times for several."),
    ] = None,
    text: Annotated[
        str, typer.Option(help="Texts or chats whose beginnings are the prompts; by default those of the build.")
    ] = "",
    db: Database = "",
    budget: Time = "10min",
) -> None:
    """Find the strengths of features by steering: those not calibrated yet, the most promising first, or named ones."""
    from featurehub.artifacts.artifact import open_artifact
    from featurehub.cli.registry.location import folder_of
    from featurehub.runs.basis import CalibrationBasis
    from featurehub.runs.calibrate import CalibratePlan, calibrate_artifact
    from featurehub.runs.judges import judge_of
    from featurehub.runs.prompts import beginnings
    from saes.texts import read_texts

    where = db or database_path()
    plan = CalibratePlan(model=model, database=where, names=tuple(feature or ()), budget=time_budget(budget))
    artifact = open_artifact(folder_of(sae, where))
    if text:
        entries = read_texts(text)
        basis = CalibrationBasis.of(judge_of(entries), beginnings(model, entries), made_from="")
    else:
        basis = CalibrationBasis.open(artifact)
    done = calibrate_artifact(plan, artifact, basis, ConsoleProgress())
    output.print(table_of_strengths(done.features))


def table_of_strengths(features: Sequence[tuple[Feature, Calibration]]) -> Table:
    """A table of calibrated features, one row each."""
    table = Table("feature", "dose", "steerability", "coherence", "answers")
    for feature, calibration in features:
        numbers = (calibration.dose, calibration.steerability or 0.0, calibration.coherence or 0.0)
        table.add_row(feature.label, *(f"{number:.2f}" for number in numbers), str(calibration.answers))
    return table


def harvest(
    model: Model,
    text: Text,
    out: Annotated[Path, typer.Option(help="Folder for the shards. A run that was stopped goes on in it.")],
    documents: Documents = None,
    layer: Layers = None,
    site: Annotated[list[Site] | None, typer.Option(help="Where in each layer; may be given several times.")] = None,
    max_tokens: MaxTokens = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
) -> None:
    """Read the stream at one hook point or several over a whole text, into shards of safetensors."""
    from saes.texts import read_texts

    entries = read_texts(text, documents)  # before the slow imports
    from featurehub.runs.harvest import HarvestPlan
    from featurehub.runs.harvest import harvest as harvest_text

    places = {"layers": layer or (), "sites": site or [Site.RESID_POST]}
    plan = HarvestPlan.of(model=model, out=out, max_tokens=max_tokens, dtype=dtype, **places)
    made = harvest_text(plan, entries, ConsoleProgress())
    hooks = ", ".join(map(str, made.record.hooks))
    output.print(f"{made.record.tokens:,} tokens at {hooks}, {made.bytes / 1e6:,.1f} MB in {out}")
