"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from featurehub.settings import home

__all__ = ["Database", "Model", "Sae", "database_path"]

Database = Annotated[str, typer.Option("--db", help="Feature database: a path or an SQLAlchemy URL.")]
Model = Annotated[Path, typer.Argument(help="Folder of a model in Hugging Face format.")]
Sae = Annotated[str, typer.Argument(metavar="SAE", help="Name, alias, beginning of the id, or folder of an SAE.")]


def database_path() -> str:
    """Where the feature database is, when nobody says."""
    return str(home() / "featurehub.db")
