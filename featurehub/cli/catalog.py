"""`featurehub saes catalog`: which of the SAEs in sae-lens' registry can be imported here, and why not the others."""

import json as json_lines
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from featurehub.cli.progress import output, suggest

if TYPE_CHECKING:
    from saes.formats.catalog import CatalogEntry, Obstacle

__all__ = ["show_catalog"]

READY = "is read here, and its model hooked"


def show_catalog(
    made_for: Annotated[
        str, typer.Option("--model", help="Only SAEs for models whose name contains this, such as gemma-2.")
    ] = "",
    json: Annotated[Path | None, typer.Option(help="Write it all here, with every SAE by itself.")] = None,
) -> None:
    """SAEs that others have published, from sae-lens' registry: what can be imported, without fetching anything."""
    from featurehub.artifacts.files import write_text
    from featurehub.errors import InvalidInput
    from saes.formats.catalog import catalog

    entries = list(catalog(made_for))
    if not entries:
        raise InvalidInput(f"sae-lens' registry has no SAE for a model called {made_for}", param="model")
    if json is not None:
        write_text(json, json_lines.dumps([row(entry) for entry in entries], indent=1) + "\n")
    output.print(table_of_releases(entries))
    output.print(table_of_totals(entries))
    ready = next((entry for entry in entries if entry.obstacle is None), None)
    if ready is not None:
        example = ("saes", "import", f"{ready.release}/{ready.id}", "MODEL", "--text", "TEXTS", "--out", "SAE")
        suggest("Import one", "featurehub", *example)


def table_of_releases(entries: "Sequence[CatalogEntry]") -> Table:
    """A row for each release and what is in the way of its SAEs; most have one row."""
    table = Table("release", "model", "SAEs", "read here", "model hooked here")
    for _, group in groupby(entries, key=lambda entry: entry.release):
        alike = Counter((e.release, e.model, e.unreadable, e.unhookable) for e in group)
        for (release, name, unreadable, unhookable), count in alike.items():
            table.add_row(release, name, str(count), cell(unreadable), cell(unhookable))
    return table


def cell(obstacle: "Obstacle | None") -> str:
    return "yes" if obstacle is None else f"no: {obstacle.kind}"


def table_of_totals(entries: "Sequence[CatalogEntry]") -> Table:
    """How many SAEs can be steered with, and what is in the way of the others; each is counted once."""
    table = Table("SAEs", "share", "", "which", "lies in", title=f"{len(entries):,} SAEs")
    for obstacle, count in Counter(entry.obstacle for entry in entries).most_common():
        where = "" if obstacle is None else "featurehub" if obstacle.ours else "what was published"
        kind, reason = ("yes", READY) if obstacle is None else (cell(obstacle), obstacle.reason)
        table.add_row(f"{count:,}", f"{count / len(entries):.1%}", kind, reason, where)
    return table


def row(entry: "CatalogEntry") -> dict[str, str | bool | None]:
    """What the file says of an SAE; reasons are null where there is nothing in the way."""
    obstacle = entry.obstacle
    return {
        "release": entry.release,
        "id": entry.id,
        "model": entry.model,
        "architecture": entry.architecture,
        "hook": None if entry.hook is None else str(entry.hook),
        "ready": obstacle is None,
        "unreadable": None if entry.unreadable is None else entry.unreadable.reason,
        "unhookable": None if entry.unhookable is None else entry.unhookable.reason,
        "ours": None if obstacle is None else obstacle.ours,
    }
