"""`featurehub features import | export | join`: labels in the form in which Neuronpedia exchanges them."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from featurehub.cli.options import Database, Sae, database_path
from featurehub.cli.progress import ConsoleProgress, output

__all__ = ["export_labels", "import_labels", "join_labels"]


def import_labels(
    source: Annotated[Path, typer.Argument(help="A list of explanations (.json), or a folder in the batch layout.")],
    sae: Annotated[str, typer.Option(help="The SAE that they are of; without it, they can only be found.")] = "",
    db: Database = "",
) -> None:
    """Import labels and statistics from Neuronpedia."""
    from featurehub.runs.neuronpedia import import_features

    db = db or database_path()
    done = import_features(source, db, id_of(sae, db) if sae else None, ConsoleProgress())
    left = f", {done.unknown:,} of latents that it has no feature for" if done.unknown else ""
    left += f", {done.blank:,} blank ones left out" if done.blank else ""
    if done.artifact is not None:
        output.print(f"{done.labels:,} labels for {done.artifact.name}{left}", soft_wrap=True)
        return
    output.print(
        f"{done.labels:,} labels of {done.source}{left}. Its weights are not here, so search finds its features, but "
        f"nothing can be steered by them: import the SAE, then `featurehub features join {done.source} SAE`",
        soft_wrap=True,
    )


def join_labels(
    labels: Annotated[str, typer.Argument(help="What was imported without its SAE, such as gemma-2-2b/20-….")],
    sae: Sae,
    db: Database = "",
) -> None:
    """Give an SAE the labels that were imported before it."""
    from featurehub.runs.neuronpedia import join

    db = db or database_path()
    done = join(labels, id_of(sae, db), db)
    left = f"; {done.unknown:,} labels of latents that it has no feature for were left out" if done.unknown else ""
    output.print(f"{done.labels:,} features of {sae} got a label{left}", soft_wrap=True)


def export_labels(sae: Sae, out: Annotated[Path, typer.Argument(help="Folder to write.")], db: Database = "") -> None:
    """Export an SAE's features for Neuronpedia."""
    from featurehub.runs.neuronpedia import export_features

    db = db or database_path()
    count = export_features(id_of(sae, db), db, out, ConsoleProgress())
    output.print(f"{count:,} features in {out}", soft_wrap=True)


def id_of(sae: str, database: str) -> str:
    """The id of the registered SAE that a command names. Raises ArtifactNotFound, CorruptArtifact."""
    from featurehub.cli.registry.location import registered
    from featurehub.store import open_store

    with closing(open_store(database)) as store, store.read() as reader:
        return registered(reader, sae).id
