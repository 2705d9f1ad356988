"""`featurehub saes import`: imports an SAE of another project."""

from pathlib import Path
from typing import Annotated

import typer

from featurehub.artifacts.manifest import Site
from featurehub.cli.making import PATIENCE
from featurehub.cli.options import (
    CanaryText,
    Database,
    Model,
    Time,
    baseline_of,
    database_path,
    same_database,
    time_budget,
)  # fmt: skip
from featurehub.cli.progress import ConsoleProgress, output, suggest

__all__ = ["import_sae"]


def import_sae(
    source: Annotated[
        str,
        typer.Argument(help="A path, hf:OWNER/NAME/FOLDER or hf:OWNER/NAME@REVISION/FOLDER, or sae-lens' RELEASE/ID."),
    ],
    model: Model,
    text: Annotated[
        str, typer.Option(help="Texts or chats: a .txt, .json, .jsonl, .parquet, a folder, hf:OWNER/NAME.")
    ],
    out: Annotated[Path, typer.Option(help="Folder that becomes the SAE artifact.")],
    db: Database = "",
    documents: Annotated[int | None, typer.Option(help="Take the first so many texts only.")] = None,
    layer: Annotated[int | None, typer.Option(help="Hook layer, where the SAE's files do not name one.")] = None,
    site: Annotated[Site | None, typer.Option(help="Where in the layer, where they do not name it.")] = None,
    canary_text: CanaryText = "",
    budget: Time = PATIENCE,
) -> None:
    """Read an SAE that another project made, evaluate, label and register it, and calibrate strengths."""
    from saes.texts import pinned, read_texts

    text = pinned(text)
    entries = read_texts(text, documents)  # before the slow imports
    from featurehub.runs.adopt import ImportPlan, adopt
    from featurehub.runs.judges import judge_of
    from featurehub.runs.prompts import beginnings

    plan = ImportPlan(
        source=source,
        model=model,
        out=out,
        database=db or database_path(),
        name=out.name,
        text=text,
        layer=layer,
        site=site,
        baseline=baseline_of(canary_text),
        budget=time_budget(budget),
    )
    artifact = adopt(plan, entries, judge_of(entries), beginnings(model, entries), ConsoleProgress())
    for name, value in artifact.manifest.metrics.items():
        output.print(f"  {name} {value:.4g}")
    suggest("Serve it", "featurehub", "serve", model, "--sae", out, *same_database(db))
