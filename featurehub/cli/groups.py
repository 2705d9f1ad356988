"""`featurehub groups …`: names that stand for several features."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Annotated

import typer
from rich.table import Table

from featurehub.cli.options import Database, Sae, database_path, same_database
from featurehub.cli.progress import output, phase, suggest
from featurehub.errors import InvalidInput
from featurehub.groups import FeatureGroup
from featurehub.records import Scope
from featurehub.store import Reader, Store, open_store

__all__ = ["groups_app"]

groups_app = typer.Typer(no_args_is_help=True, help="Names that stand for several features.")

Name = Annotated[str, typer.Argument(help="The group's name, or its id.")]
SHOWN = 4
"""Members of a proposed group that its line shows."""


@groups_app.command()
def save(
    name: Annotated[str, typer.Argument(help="The name; a group of this name is replaced.")],
    members: Annotated[list[str], typer.Argument(metavar="FEATURE[=WEIGHT]...", help='Such as "pirate: ahoy=0.5".')],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    sae: Annotated[list[str], typer.Option(help="Look features up in this SAE only; may be given again.")] = [],  # noqa: B006 (typer copies it)
    db: Database = "",
) -> None:
    """Let a name stand for several features, each with a weight in [-1, 1]; 1 where none is given."""
    weights = weights_of(members)
    with opened(db) as store, store.write() as writer:
        scope = writer.reader.scope(*sae) if sae else Scope()
        group = writer.put_group(name, weights, scope, description=description)
    with opened(db) as store, store.read() as reader:
        print_group(reader, group)


@groups_app.command("list")
def list_groups(db: Database = "") -> None:
    """All groups."""
    with opened(db) as store, store.read() as reader:
        groups = reader.groups.list(Scope())
    if not groups:
        output.print('no group is saved here; `featurehub groups save NAME "feature a=1.0" "feature b=0.5"` saves one')
        return
    table = Table("name", "id", "features", "made", "description")
    for each in groups:
        gone = sum(member.is_gone for member in each.members)
        count = f"{len(each.members)}" + (f", {gone} gone" if gone else "")
        table.add_row(each.name, each.id, count, each.method, each.description)
    output.print(table)


@groups_app.command()
def show(name: Name, db: Database = "") -> None:
    """The features of a group, and their weights."""
    with opened(db) as store, store.read() as reader:
        print_group(reader, reader.groups.get(name, Scope()))


@groups_app.command()
def remove(name: Name, db: Database = "") -> None:
    """Remove a group; its features stay."""
    with opened(db) as store, store.write() as writer:
        writer.remove_group(name)
    output.print(f"the group {name!r} is removed", soft_wrap=True)


@groups_app.command()
def propose(
    sae: Sae,
    cosine: Annotated[float, typer.Option(help="Smallest cosine of the decoder rows of two features.")] = 0.2,
    limit: Annotated[int, typer.Option(min=1, help="Most groups, the most alike first.")] = 20,
    save: Annotated[list[str], typer.Option(help="Save the proposed group of this name; may be given again.")] = [],  # noqa: B006 (typer copies it)
    db: Database = "",
) -> None:
    """Propose groups: features with one name whose decoder rows point the same way, as those of a split concept do."""
    from featurehub.artifacts.artifact import open_artifact
    from featurehub.cli.registry.location import folder_of
    from featurehub.runs.groups import propose_groups, save_groups

    database = db or database_path()
    with phase("comparing decoder rows"):
        proposed = propose_groups(open_artifact(folder_of(sae, database)), database, cosine)
    if unknown := [each for each in save if each not in {group.name for group in proposed}]:
        raise InvalidInput(f"no group {unknown[0]!r} is proposed; leave out --save to see all", param="save")
    if save:
        for group in save_groups([each for each in proposed if each.name in save], database):
            output.print(f"{group.name!r} stands for {len(group.members)} features now", soft_wrap=True)
        return
    table = Table("name", "features", "cosine", "least", "weight", "labels")
    for each in proposed[:limit]:
        labels = [feature.label for feature in each.features]
        more = [f"and {len(labels) - SHOWN} more"] if len(labels) > SHOWN else []
        numbers = (f"{each.cosine:.2f}", f"{each.least:.2f}", f"{each.weight:g}")
        table.add_row(each.name, f"{len(labels)}", *numbers, "\n".join(labels[:SHOWN] + more))
    output.print(
        table if proposed else f"no two features with one name have a cosine of {cosine}; try a smaller --cosine"
    )
    if proposed:
        suggest("Save one", "featurehub", "groups", "propose", sae, "--save", proposed[0].name, *same_database(db))


@contextmanager
def opened(db: str) -> Iterator[Store]:
    with closing(open_store(db or database_path())) as store:
        yield store


def weights_of(members: Sequence[str]) -> dict[str, float]:
    """The weights of features that were written as NAME=WEIGHT or NAME. Raises InvalidInput."""
    weights: dict[str, float] = {}
    for each in members:
        name, weight = parted(each)
        if name in weights:
            raise InvalidInput(f"{name!r} is named twice; name each feature once", param="members")
        weights[name] = weight
    return weights


def parted(member: str) -> tuple[str, float]:
    """A name and its weight. What follows the last = is the weight where it is a number; a label may have a = too."""
    name, _, weight = member.rpartition("=")
    try:
        return (name.strip(), float(weight)) if name.strip() else (member, 1.0)
    except ValueError:
        return member, 1.0


def print_group(reader: Reader, group: FeatureGroup) -> None:
    """Prints a group with its members."""
    output.print(f"{group.name} ({group.id}), {group.method}" + (f": {group.description}" if group.description else ""))
    names = {each.id: each.name for each in reader.artifacts()}
    table = Table("weight", "label", "feature", "address")
    for each in group.members:
        label = each.label or "(no label)"
        place = f"sae:{names.get(each.artifact, each.artifact[:12])}/{each.latent}"
        table.add_row(f"{each.weight:+g}", label, "gone" if each.is_gone else each.id, place)
    output.print(table)
