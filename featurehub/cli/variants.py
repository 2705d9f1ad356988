"""`featurehub variants …`: named edits on a model, in versions."""

from typing import Annotated

import typer
from rich.table import Table

from featurehub.cli.groups import opened
from featurehub.cli.options import Database
from featurehub.cli.progress import output
from featurehub.features import Edit
from featurehub.refreshes import Fate
from featurehub.variants import FeatureFate, StoredVariant, parts_of

__all__ = ["variants_app"]

variants_app = typer.Typer(no_args_is_help=True, help="Named edits on a model, which a request gives as its model.")

Name = Annotated[str, typer.Argument(help="The variant's name.")]
Address = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The variant's name, or one of its versions.")]


@variants_app.command("list")
def list_variants(db: Database = "") -> None:
    """All variants, each in its latest version."""
    with opened(db) as store, store.read() as reader:
        found = reader.variants.list()
    if not found:
        output.print("no variant is saved here; `client.variants.save(NAME, variant)` saves one through a server")
        return
    table = Table("name", "version", "model", "features", "aborts", "saved", "description")
    for each in found:
        counts = (f"{len(each.features)}", f"{len(each.abort_when)}")
        table.add_row(each.name, f"{each.version}", each.model, *counts, each.created, each.description)
    output.print(table)


@variants_app.command()
def show(name: Address, db: Database = "") -> None:
    """The edits and aborts of a variant, and its versions."""
    with opened(db) as store, store.read() as reader:
        known = {each.id: each.name for each in reader.artifacts()}
        variant = reader.variants.get(name)
        own = {each.artifact for each in parts_of(variant).values()}
        variant = reader.variants.with_fates(variant, known.keys() - own)
        versions = [each.version for each in reader.variants.versions(variant.name)]
    print_variant(variant, versions)
    for feature, fate in variant.fates.items():
        output.print(f"  in the refreshed SAE {known[fate.sae]!r} {feature!r} {became(fate)}", soft_wrap=True)


@variants_app.command()
def remove(name: Name, db: Database = "") -> None:
    """Remove a variant with all its versions."""
    with opened(db) as store, store.write() as writer:
        writer.variants.remove(name)
    output.print(f"the variant {name!r} is removed, with all its versions", soft_wrap=True)


def print_variant(variant: StoredVariant, versions: list[int]) -> None:
    """Prints a version of a variant, and which versions there are."""
    about = f": {variant.description}" if variant.description else ""
    output.print(f"{variant.address} on {variant.model}, saved {variant.created}{about}", soft_wrap=True)
    output.print(f"versions {versions[-1]} to {versions[0]}", soft_wrap=True)
    table = Table("feature", "is", "mode", "weight", "when")
    for name, edit in variant.features.items():
        weight = "" if edit.weight is None else f"{edit.weight:+g}"
        table.add_row(name, meant(name, variant), edit.mode, weight, condition(edit))
    for each in variant.abort_when:
        watched = ", ".join(meant(condition.feature, variant) for condition in each.when)
        table.add_row(each.name, watched, "abort", "", each.when.model_dump_json(exclude_defaults=True))
    output.print(table)


def meant(name: str, variant: StoredVariant) -> str:
    """What a name meant when the variant was saved: a feature's id, or those of a group's members."""
    if name in variant.groups:
        return ", ".join(each.id for each in variant.groups[name].members)
    return variant.pinned[name].id


def became(fate: FeatureFate) -> str:
    """What became of a feature, in words that follow its name."""
    if fate.fate is Fate.KEPT:
        return "is kept"
    if fate.feature is not None:
        return f"means {fate.label or fate.feature!r} now ({fate.reason})"
    return f"is retired ({fate.reason})" + (f"; close: {fate.label!r}" if fate.label else "")


def condition(edit: Edit) -> str:
    return "" if edit.when is None else edit.when.model_dump_json(exclude_defaults=True)
