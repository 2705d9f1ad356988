"""`featurehub saes …`: the registry of SAEs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurehub.cli.catalog import show_catalog
from featurehub.cli.evaluation import evaluate
from featurehub.cli.importing import import_sae
from featurehub.cli.options import Database, Sae, database_path, located_if_given
from featurehub.cli.progress import output

if TYPE_CHECKING:
    from featurehub.store import Store

__all__ = ["saes_app"]

saes_app = typer.Typer(no_args_is_help=True, help="SAEs as assets.")
saes_app.command("import")(import_sae)
saes_app.command("catalog")(show_catalog)
saes_app.command("eval")(evaluate)


@saes_app.command("list")
def list_saes(
    model: Annotated[
        Path | None,
        typer.Option(callback=located_if_given, help="Only SAEs for models of this one's shape; states are on it."),
    ] = None,
    db: Database = "",
) -> None:
    """All registered SAEs; * marks the default of its base model."""
    from featurehub.cli.registry.listing import table_of

    with opened(db) as store, store.read() as reader:
        table = table_of(reader, model)
    output.print(table if table.row_count else "no SAE is registered here; `featurehub build` makes one")


@saes_app.command()
def show(sae: Sae, db: Database = "") -> None:
    """Everything that is known of an SAE."""
    from featurehub.cli.registry.card import show as show_card
    from featurehub.cli.registry.location import locate

    with opened(db) as store, store.read() as reader:
        show_card(reader, locate(reader, sae))


@saes_app.command()
def register(
    folder: Annotated[Path, typer.Argument(help="Folder of an SAE, with the features that its build kept there.")],
    db: Database = "",
) -> None:
    """Register an SAE whose build could not write the database."""
    from featurehub.cli.registry.registering import register as register_kept

    register_kept(folder, db or database_path())


@saes_app.command()
def promote(sae: Sae, db: Database = "") -> None:
    """Make an SAE the default of its base model."""
    from featurehub.cli.registry.location import registered

    with opened(db) as store, store.write() as writer:
        artifact = registered(writer.reader, sae)
        former = writer.promote_artifact(artifact.id)
        instead = "" if former is None else f", in place of {writer.reader.artifact(former).name}"
    output.print(f"{artifact.name} is the default of {artifact.manifest.model.name}{instead}")


@saes_app.command()
def alias(
    sae: Sae,
    name: Annotated[str, typer.Argument(help="The further name, e.g. production.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take it away.")] = False,
    db: Database = "",
) -> None:
    """Give an SAE one more name, which moves here from an SAE that has it."""
    from featurehub.cli.registry.location import registered

    with opened(db) as store, store.write() as writer:
        artifact = registered(writer.reader, sae)
        if remove:
            writer.remove_artifact_alias(artifact.id, name)
            said = f"{artifact.name} is not called {name} any more"
        else:
            former = writer.put_artifact_alias(artifact.id, name)
            moved = "" if former is None else f"; {writer.reader.artifact(former).name} was before"
            said = f"{artifact.name} is also called {name}{moved}"
    output.print(said)


@saes_app.command()
def serve(
    saes: Annotated[list[str], typer.Argument(metavar="SAE…", help="All that it is to have, in their order.")],
    server: Annotated[str, typer.Option(help="Address of the running server.")] = "http://127.0.0.1:8000",
) -> None:
    """Make a running server steer with these SAEs, without a restart; FEATUREHUB_OPERATOR_KEY must be the server's."""
    from featurehub.cli.exchange import exchange_saes

    exchange_saes(saes, server)


@saes_app.command()
def remove(
    sae: Sae,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    files: Annotated[bool, typer.Option("--files", help="Delete its folder too, if nothing else is in it.")] = False,
    db: Database = "",
) -> None:
    """Remove an SAE with its features, labels, evaluations and drift reports."""
    from featurehub.cli.registry.removing import remove as remove_sae

    with opened(db) as store:
        remove_sae(store, sae, yes=yes, files=files)


@saes_app.command()
def export(sae: Sae, out: Annotated[Path, typer.Argument(help="A new or empty folder.")], db: Database = "") -> None:
    """Write an SAE as sae-lens does, for `SAE.load_from_disk`; without steering vectors, which it does not know."""
    from featurehub.cli.registry.location import locate
    from saes.export import export as export_artifact

    with opened(db) as store, store.read() as reader:
        artifact = locate(reader, sae).open()
    architecture = export_artifact(artifact, out)
    output.print(f"{artifact.manifest.name} as {architecture} in {out}")


@saes_app.command()
def verify(
    sae: Sae,
    model: Annotated[
        Path | None, typer.Option(callback=located_if_given, help="Compare this model's fingerprints too.")
    ] = None,
    db: Database = "",
) -> None:
    """Compare an SAE's files with their hashes, and a model with the one that it was trained on."""
    from featurehub.cli.registry.location import locate
    from featurehub.cli.registry.verifying import verify as verify_artifact

    with opened(db) as store, store.read() as reader:
        verify_artifact(reader, locate(reader, sae).open(), model)


@contextmanager
def opened(database: str) -> "Iterator[Store]":
    """Opens the feature database for the length of a command."""
    from featurehub.store import open_store

    store = open_store(database or database_path())
    try:
        yield store
    finally:
        store.close()
