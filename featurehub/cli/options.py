"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from featurehub.settings import home

__all__ = [
    "Active",
    "Budget",
    "Database",
    "Documents",
    "Layer",
    "Model",
    "Sae",
    "Text",
    "Tokens",
    "database_path",
]

Active = Annotated[float, typer.Option("--k", min=0.01, help="Mean number of active latents per token.")]
Budget = Annotated[str, typer.Option(help="Of harvest and training: a time (90s, 10min, 2h) or tokens (500k, 2M).")]
Database = Annotated[str, typer.Option("--db", help="Feature database: a path or an SQLAlchemy URL.")]
Documents = Annotated[int | None, typer.Option(min=1, help="Take the first so many texts only.")]
Layer = Annotated[int | None, typer.Option(min=0, help="Hook layer; by default at about 70 % of the depth.")]
Model = Annotated[Path, typer.Argument(help="Folder of a model in Hugging Face format.")]
Sae = Annotated[str, typer.Argument(metavar="SAE", help="Name, alias, beginning of the id, or folder of an SAE.")]

Text = Annotated[str, typer.Option(help="Texts or chats: a .txt, .json, .jsonl, .parquet, a folder, hf:OWNER/NAME.")]
Tokens = Annotated[int, typer.Option(min=1, help="Training tokens, repeats counted.")]


def database_path() -> str:
    """Where the feature database is, when nobody says."""
    return str(home() / "featurehub.db")
