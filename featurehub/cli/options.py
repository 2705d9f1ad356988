"""Options that several commands share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurehub.artifacts.manifest import Site
from featurehub.artifacts.origin import origin_of
from featurehub.cli.progress import console, phase
from featurehub.models.folder import model_folder
from featurehub.settings import home

if TYPE_CHECKING:
    from featurehub.runs.baseline import BaselineConfig
    from saes.budget import Budget as TimeBudget

__all__ = [
    "DATABASE",
    "MODEL",
    "Active",
    "Budget",
    "CanaryText",
    "CheckBudget",
    "Database",
    "DemoModel",
    "Documents",
    "DriftBudget",
    "InputDriftBudget",
    "InputDriftFolder",
    "InputDriftRequests",
    "Layer",
    "MaxTokens",
    "Model",
    "ModelOption",
    "OverheadBudget",
    "Place",
    "Sae",
    "Span",
    "Text",
    "Time",
    "Tokens",
    "baseline_of",
    "database_path",
    "demo_model",
    "located",
    "located_if_given",
    "same_database",
    "time_budget",
    "without_password",
]


def located(model: Path) -> Path:
    """The folder of a model that was given by its folder or its name; says which commit a name stands for."""
    folder = model_folder(model, phase=phase)
    if folder != model:
        origin = origin_of(folder)
        console.print(f"  {origin.name}@{origin.revision}", soft_wrap=True)
    return folder


def located_if_given(model: Path | None) -> Path | None:
    """The folder of a model; None for none."""
    return None if model is None else located(model)


def without_password(location: str) -> str:
    """The location of a database, whose password goes into the environment, where the driver looks for it.

    What is printed, suggested or handed to the server then has none.
    """
    if "://" not in location:
        return location
    from featurehub.store.location import part_password

    place, password = part_password(location)
    if password:
        os.environ["PGPASSWORD"] = password
    return place


Active = Annotated[
    float | None,
    typer.Option(
        "--k", min=0.01, help="Mean number of active latents per token; by default a 64th of the width, or 12."
    ),
]
Budget = Annotated[str, typer.Option(help="Time for the whole run (90s, 10min, 2h), or training tokens (500k, 2M).")]
CheckBudget = Annotated[
    str,
    typer.Option(
        "--budget",
        help="Time for the check (90s, 5m), or tokens to read and generate (500k): the most used features come first.",
    ),
]
DemoModel = Annotated[
    str, typer.Option("--model", envvar="MODEL", help="Another model than SmolLM2-135M-Instruct; as for build.")
]
Time = Annotated[str, typer.Option("--budget", help="Time for the whole run, such as 90s, 10min or 2h.")]
DATABASE = "the path of an SQLite file, or postgresql://USER@HOST/DATABASE."
Database = Annotated[str, typer.Option("--db", callback=without_password, help=f"Feature database: {DATABASE}")]
Documents = Annotated[
    int | None, typer.Option(min=1, help="Take the first so many texts only; of a dataset 100,000 by default.")
]
DriftBudget = Annotated[
    str,
    typer.Option(help="Check SAEs that were never checked on this model first, within a time or tokens: 90s, 500k."),
]
InputDriftBudget = Annotated[
    str, typer.Option(help="The share of time that watching the traffic for input drift may take; 0: none is.")
]
InputDriftFolder = Annotated[
    Path | None, typer.Option(help="Where its state and events.jsonl are kept; by default beside the database.")
]
InputDriftRequests = Annotated[
    int, typer.Option(min=64, help="How many requests tell what is normal; they should cover an ordinary day.")
]
OverheadBudget = Annotated[
    str, typer.Option(help="The share of each step that steering may take, such as 3%; by default any.")
]
Layer = Annotated[int | None, typer.Option(min=0, help="Hook layer; by default at about 70 % of the depth.")]
MaxTokens = Annotated[int | None, typer.Option(help="Tokens of a document; longer texts are cut; 256 by default.")]
MODEL = "a folder in Hugging Face format, or OWNER/NAME or OWNER/NAME@REVISION of the Hugging Face hub."
Model = Annotated[Path, typer.Argument(callback=located, help=f"The model: {MODEL}")]
ModelOption = Annotated[Path, typer.Option("--model", callback=located, help=f"The model to check: {MODEL}")]
Place = Annotated[Site | None, typer.Option("--site", help="Where in the layer; after it by default.")]
Sae = Annotated[str, typer.Argument(metavar="SAE", help="Name, alias, beginning of the id, or folder of an SAE.")]
Text = Annotated[
    str, typer.Option(help="Texts or chats: .txt, .json, .jsonl, .csv, .parquet, a folder, hf:OWNER/NAME.")
]
CanaryText = Annotated[
    str,
    typer.Option(
        help="The only texts that drift checks' canaries, which the SAE keeps, are taken from; as for --text."
    ),
]
Span = Annotated[
    int,
    typer.Option(
        min=1,
        help="Train on means of so many consecutive tokens, 32 for instance: latents then stand for subjects and "
        "tones, which steer better, and less for single tokens.",
    ),
]
Tokens = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Training tokens, or spans, repeats counted; by default 2,000 for each latent, at least 1.6 million.",
    ),
]


def demo_model(model: str) -> Path:
    """The folder of the demo's chat model: of the one that was given, or of the one that is downloaded."""
    from featurehub.demo.smollm2 import ensure_model

    return located(Path(model)) if model else ensure_model(phase=phase)


def baseline_of(canary_text: str) -> "BaselineConfig":
    """How an SAE is evaluated and its canaries are chosen, of these texts alone; "" for any. Raises InvalidInput."""
    from featurehub.runs.baseline import BaselineConfig
    from saes.texts import read_texts

    return BaselineConfig(canary_text=tuple(read_texts(canary_text)) if canary_text else ())


def database_path() -> str:
    """The default path of the feature database."""
    return str(home() / "featurehub.db")


def time_budget(text: str) -> "TimeBudget":
    """The budget of a run that trains nothing.

    Raises:
        InvalidInput: It is no time.
    """
    from featurehub.errors import InvalidInput
    from saes.budget import Budget as TimeBudget

    budget = TimeBudget.parse(text)
    if budget.tokens is not None:
        raise InvalidInput(f"a budget of {text!r}: give a time, such as 90s, 10min or 2h", param="budget")
    return budget


def same_database(db: str) -> tuple[str, ...]:
    """The ``--db`` option for a suggested command, if this command was given one."""
    return ("--db", db) if db else ()
