"""The commands. Every error that featurehub raises on purpose ends as one line and exit code 2."""

import logging
import os
import sys
import warnings
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from featurehub.artifacts.manifest import Site
from featurehub.cli.options import Database, Model, Sae, database_path
from featurehub.cli.planted import demo_app
from featurehub.cli.progress import console, output
from featurehub.cli.saes import saes_app
from featurehub.cli.transcoding import transcoder_app
from featurehub.errors import FeaturehubError
from featurehub.features import OnStale
from saes.architecture import Architecture

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Feature steering for language models.")
drift_app = typer.Typer(no_args_is_help=True, help="Does an SAE still hold on a retrained model?")
features_app = typer.Typer(no_args_is_help=True, help="The feature database.")
app.add_typer(drift_app, name="drift")
app.add_typer(demo_app, name="demo")
app.add_typer(features_app, name="features")
app.add_typer(saes_app, name="saes")
app.add_typer(transcoder_app, name="transcoder")


ARCHITECTURES, LATENTS, SEEDS = [Architecture.BATCHTOPK], [768], [0]


class Exit(IntEnum):
    ERROR = 2


Text = Annotated[str, typer.Option(help="Texts or chats: a .txt, .json, .jsonl, .parquet, a folder, hf:OWNER/NAME.")]
Layer = Annotated[int | None, typer.Option(min=0, help="Hook layer; by default at about 70 % of the depth.")]
Budget = Annotated[str, typer.Option(help="Of harvest and training: a time (90s, 10min, 2h) or tokens (500k, 2M).")]
Layers = Annotated[list[int] | None, typer.Option("--layer", min=0, help="Hook layer; may be given several times.")]
Documents = Annotated[int | None, typer.Option(help="Take the first so many texts only.")]


@app.command()
def build(
    model: Model,
    text: Text,
    out: Annotated[Path, typer.Option(help="Folder that becomes the SAE artifact.")],
    db: Database = "",
    documents: Documents = None,
    layer: Layer = None,
    architecture: Annotated[Architecture, typer.Option(help="Of the SAE.")] = Architecture.BATCHTOPK,
    latents: Annotated[int, typer.Option(help="Number of latents, d_sae.")] = 768,
    k: Annotated[float, typer.Option(help="Mean number of active latents per token.")] = 12.0,
    tokens: Annotated[int, typer.Option(help="Training tokens, repeats counted.")] = 1_600_000,
    budget: Budget = "",
) -> None:
    """Harvest, train an SAE, label its features, calibrate strengths, register everything."""
    from saes.texts import read_texts

    entries = read_texts(text, documents)  # before the imports that take long
    from featurehub.cli.build import BuildPlan
    from featurehub.cli.build import build as build_artifact
    from featurehub.cli.judges import beginnings, judge_of
    from featurehub.cli.training import hardware
    from saes.budget import Budget as TrainBudget
    from saes.recipes import Recipe
    from saes.run import TrainConfig

    plan = BuildPlan(
        model=model,
        out=out,
        database=db or database_path(),
        name=out.name,
        layer=layer,
        recipes=(Recipe(architecture=architecture, d_sae=latents, k=k),),
        train=TrainConfig(tokens=tokens, **hardware()),
        budget=TrainBudget.parse(budget) if budget else TrainBudget(),
    )
    artifact = build_artifact(plan, entries, judge_of(entries), beginnings(entries))
    for name, value in artifact.manifest.metrics.items():
        output.print(f"  {name} {value:.4g}")
    output.print(f"Serve it: featurehub serve {model} --sae {out}")


@app.command()
def train(
    model: Model,
    text: Text,
    out: Annotated[Path, typer.Option(help="Folder for the SAEs, one below it for each.")],
    documents: Documents = None,
    layer: Layer = None,
    architecture: Annotated[
        list[Architecture], typer.Option(help="Of the SAEs; several times for several.")
    ] = ARCHITECTURES,
    latents: Annotated[list[int], typer.Option(help="Number of latents; several times for several.")] = LATENTS,
    seed: Annotated[list[int], typer.Option(help="Several times for several.")] = SEEDS,
    k: Annotated[float, typer.Option(help="Mean number of active latents per token.")] = 12.0,
    tokens: Annotated[int, typer.Option(help="Training tokens, repeats counted.")] = 1_600_000,
    shards: Annotated[Path | None, typer.Option(help="Folder that keeps the harvest, for other runs too.")] = None,
    budget: Budget = "",
) -> None:
    """Harvest once, and train an SAE of every architecture, width and seed on it, all in one pass."""
    from saes.texts import read_texts

    entries = read_texts(text, documents)  # before the imports that take long
    from featurehub.cli.train import table_of, train_artifacts
    from featurehub.cli.training import TrainPlan, hardware
    from saes.budget import Budget as TrainBudget
    from saes.recipes import Recipe
    from saes.run import TrainConfig

    plan = TrainPlan(
        model=model,
        out=out,
        layer=layer,
        recipes=tuple(
            Recipe(architecture=a, d_sae=d_sae, k=k, seed=s) for a in architecture for d_sae in latents for s in seed
        ),
        train=TrainConfig(tokens=tokens, **hardware()),
        shards=shards,
        budget=TrainBudget.parse(budget) if budget else TrainBudget(),
    )
    output.print(table_of(train_artifacts(plan, entries)))
    output.print(f"Label one: featurehub label SAE {model} --text {text}")


@app.command()
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


@app.command()
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


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(
    context: typer.Context,
    model: Annotated[Path | None, typer.Argument(help="Folder of the model; not needed with --demo.")] = None,
    sae: Annotated[str | None, typer.Option(help="Name, alias, beginning of the id, or folder of an SAE.")] = None,
    db: Database = "",
    host: str = "127.0.0.1",
    port: int = 8000,
    on_stale: Annotated[OnStale, typer.Option(help="What a request for a stale feature gets.")] = OnStale.REFUSE,
    eager: Annotated[bool, typer.Option("--eager", help="Without torch.compile: starts faster, runs slower.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Serve the bundled model.")] = False,
) -> None:
    """Serve a model with its features through vLLM's OpenAI server. Further options go to vLLM."""
    from featurehub.cli.demo import demo_database, ensure_demo
    from featurehub.cli.registry.located import folder_of
    from featurehub.cli.serve import serve_model
    from featurehub.demo.bundle import bundled_model
    from featurehub.engine.server import ServeOptions
    from featurehub.errors import InvalidInput

    name = ""
    if demo and model is not None and not model.is_dir():
        # Without MODEL, the first of vLLM's options takes its place.
        context.args, model = [str(model), *context.args], None
    if demo:
        sae, db = sae or str(ensure_demo().folder), db or demo_database()
        model, name, eager = model or bundled_model(), "demo", True
        context.args += ["--dtype", "float32"]
    if model is None or sae is None:
        raise InvalidInput("give MODEL and --sae, or --demo", param="model" if model is None else "sae")
    options = ServeOptions(host=host, port=port, served_model_name=name, eager=eager, extra=context.args)
    db = db or database_path()
    serve_model(model, folder_of(sae, db), db, on_stale, options)


@drift_app.command("check")
def drift_check(
    sae: Sae,
    model: Annotated[Path, typer.Option(help="Folder of the model to check it on.")],
    db: Database = "",
    json: Annotated[Path | None, typer.Option(help="Write the whole report here.")] = None,
) -> None:
    """Compare fingerprints, then what the features do. Exit code 0 fresh, 3 suspect, 4 stale."""
    from featurehub.artifacts.files import write_text
    from featurehub.cli.drift import check_drift, show
    from featurehub.cli.registry.located import folder_of

    db = db or database_path()
    report = check_drift(folder_of(sae, db), model, db)
    show(report)
    if json is not None:
        write_text(json, report.model_dump_json(indent=2) + "\n")
    raise typer.Exit(report.exit_code)


@features_app.command("search")
def features_search(query: str, db: Database = "", limit: int = 10) -> None:
    """Find features by what they mean."""
    from featurehub.store import open_store

    table = Table("label", "id", "artifact", "relevance", "label score", "steerability")
    with open_store(db or database_path()).read() as reader:
        for f in reader.search(query, limit=limit).features:
            numbers = (f.relevance, f.label_score, f.steerability)
            cells = ["–" if n is None else f"{n:.2f}" for n in numbers]
            table.add_row(f.label or "(no label)", f.id, f.artifact[:12], *cells)
    output.print(table)


@app.command()
def doctor() -> None:
    """Check that the four packages belong to one installation."""
    from importlib.util import find_spec

    from featurehub.errors import InvalidConfig

    root = Path(__file__).resolve().parents[2]
    for package in ("featurehub", "saes", "labeling", "api"):
        spec = find_spec(package)
        found = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
        if found != root:
            raise InvalidConfig(
                f"the package {package!r} comes from {found}, not {root}: another distribution hides it"
            )
        output.print(f"[green]✓[/green] {package}")


def quiet() -> None:
    """Before anything imports them: what libraries say of themselves when they start would cut through our bars."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.getLogger("vllm.triton_utils").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")


def main() -> None:
    quiet()
    try:
        app()
    except FeaturehubError as error:
        console.print(f"[red]error[/red] ({error.code}): {escape(error.message)}", soft_wrap=True)
        sys.exit(Exit.ERROR)


if __name__ == "__main__":
    main()
