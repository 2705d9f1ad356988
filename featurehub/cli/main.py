"""The commands. Every error that featurehub raises on purpose is printed as one line and ends with exit code 2."""

import logging
import os
import sys
import warnings
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from featurehub.cli.conversion import convert
from featurehub.cli.database import db_app
from featurehub.cli.demo.commands import demo_app
from featurehub.cli.feature_card import show_feature
from featurehub.cli.groups import groups_app
from featurehub.cli.labels import export_labels, import_labels, join_labels
from featurehub.cli.making import build, calibrate, harvest, label, train
from featurehub.cli.options import (
    MODEL,
    CheckBudget,
    Database,
    DriftBudget,
    InputDriftBudget,
    InputDriftFolder,
    InputDriftRequests,
    ModelOption,
    OverheadBudget,
    Sae,
    database_path,
    located,
    located_if_given,
)  # fmt: skip
from featurehub.cli.progress import ConsoleProgress, console, output
from featurehub.cli.refresh import refresh
from featurehub.cli.saes import saes_app
from featurehub.cli.searching import embed, map_sae, search
from featurehub.cli.transcoding import transcoder_app
from featurehub.cli.variants import variants_app
from featurehub.cli.watch import watch
from featurehub.errors import FeaturehubError
from featurehub.features import OnStale

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Feature steering for language models.")
drift_app = typer.Typer(no_args_is_help=True, help="Does an SAE still hold on a retrained model?")
features_app = typer.Typer(no_args_is_help=True, help="The feature database.")
app.add_typer(db_app, name="db")
app.add_typer(drift_app, name="drift")
app.add_typer(demo_app, name="demo")
app.add_typer(features_app, name="features")
app.add_typer(groups_app, name="groups")
app.add_typer(saes_app, name="saes")
app.add_typer(transcoder_app, name="transcoder")
app.add_typer(variants_app, name="variants")
for name, of_features in (
    ("show", show_feature),
    ("import", import_labels),
    ("export", export_labels),
    ("join", join_labels),
):
    features_app.command(name)(of_features)
for command in (build, train, label, calibrate, refresh, watch, harvest, convert):
    app.command()(command)
features_app.command("search")(search)
features_app.command("embed")(embed)
features_app.command("map")(map_sae)


class Exit(IntEnum):
    ERROR = 2


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(
    context: typer.Context,
    model: Annotated[Path | None, typer.Argument(help=f"Not needed with --demo or --planted: {MODEL}")] = None,
    sae: Annotated[
        list[str] | None,
        typer.Option(help="Name, alias, beginning of the id, or folder of an SAE; several with an --sae for each."),
    ] = None,
    db: Database = "",
    host: str = "127.0.0.1",
    port: int = 8000,
    on_stale: Annotated[OnStale, typer.Option(help="What a request for a stale feature gets.")] = OnStale.REFUSE,
    on_suspect: Annotated[OnStale, typer.Option(help="The same for a suspect one.")] = OnStale.WARN,
    on_unchecked: Annotated[OnStale, typer.Option(help="The same for one not checked on what runs.")] = OnStale.WARN,
    drift_budget: DriftBudget = "",
    overhead_budget: OverheadBudget = "",
    input_drift_budget: InputDriftBudget = "1%",
    input_drift_folder: InputDriftFolder = None,
    input_drift_requests: InputDriftRequests = 2048,
    eager: Annotated[bool, typer.Option("--eager", help="Without torch.compile: starts faster, runs slower.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Serve SmolLM2 with the SAE that ships.")] = False,
    planted: Annotated[bool, typer.Option("--planted", help="Serve the model with planted concepts.")] = False,
) -> None:
    """Serve a model with its features through vLLM's OpenAI server. Further options go to vLLM."""
    from featurehub.artifacts.origin import repository_of
    from featurehub.cli.demo import serving
    from featurehub.cli.first_check import check_first
    from featurehub.cli.registry.location import folder_of
    from featurehub.cli.serve import Policy, input_drift_options, serve_model
    from featurehub.engine.server import ServeOptions
    from featurehub.errors import InvalidInput

    name = ""
    if (demo or planted) and model is not None and not model.is_dir():
        # Without MODEL, the first of vLLM's options takes its place.
        context.args, model = [str(model), *context.args], None
    if demo and planted:
        raise InvalidInput("--demo and --planted are two models: give one of them", param="planted")
    if demo or planted:
        served = (serving.smollm2 if demo else serving.planted)(model)
        model, sae, db = served.model, sae or [str(served.sae)], db or served.database
        name, eager = serving.NAME, True
        context.args = [*serving.SERVED_MEMORY, *context.args]
    elif model is not None:
        model = located(model)
        name = repository_of(model)
    if model is None or not sae:
        raise InvalidInput("give MODEL and --sae, or --demo, or --planted", param="model" if model is None else "sae")
    options = ServeOptions(host=host, port=port, served_model_name=name, eager=eager, extra=context.args)
    db, policy = db or database_path(), Policy(on_stale, on_suspect, on_unchecked)
    saes = [folder_of(each, db) for each in sae]
    watching = input_drift_options(input_drift_budget, input_drift_folder, input_drift_requests, db)
    if drift_budget:
        check_first(model, saes, db, drift_budget)
    serve_model(model, saes, db, policy, overhead_budget, options, watching)


@drift_app.command("check")
def drift_check(
    sae: Sae,
    model: ModelOption,
    db: Database = "",
    budget: CheckBudget = "",
    json: Annotated[Path | None, typer.Option(help="Write the whole report here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it here as a page with plots, for any browser.")] = None,
) -> None:
    """Compare fingerprints, then what the features do. Exit code 0 fresh, 3 suspect or not all checked, 4 stale."""
    from featurehub.cli.drift import show, write
    from featurehub.cli.registry.location import folder_of
    from featurehub.runs.drift import check_drift
    from saes.budget import Budget
    from saes.drift.check import CheckConfig

    db, config = db or database_path(), CheckConfig(budget=Budget.parse(budget))
    report = check_drift(folder_of(sae, db), model, db, config, ConsoleProgress())
    show(report)
    write(report, json, html)
    raise typer.Exit(report.exit_code)


@app.command()
def doctor(
    model: Annotated[
        Path | None,
        typer.Argument(callback=located_if_given, help="Shows where SAEs read and write in this model."),
    ] = None,
    server: Annotated[
        str, typer.Option(help="Address of a running server: shows its SAEs, and what steering costs.")
    ] = "",
) -> None:
    """Check the installation, the hook points of a model, and what a running server does."""
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
        output.print(Text.assemble(("✓", "green"), f" {package}"))
    if model is not None:
        from featurehub.cli.examining import show_hook_points

        show_hook_points(model)
    if server:
        from featurehub.cli.health import show_health
        from featurehub.cli.overhead import show_overhead

        show_health(server)
        show_overhead(server)


def quiet() -> None:
    """Silences libraries whose start-up messages would disrupt the progress bars. Call it before they are imported."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.getLogger("vllm.triton_utils").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="vllm")


def main() -> None:
    """The console script `featurehub`."""
    quiet()
    try:
        app()
    except FeaturehubError as error:
        console.print(Text.assemble(("error", "red"), f" ({error.code}): {error.message}"), soft_wrap=True)
        sys.exit(Exit.ERROR)


if __name__ == "__main__":
    main()
