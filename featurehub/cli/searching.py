"""`featurehub features search`, `featurehub features embed` and `featurehub features map`."""

import os
from contextlib import closing
from typing import Annotated

import typer
from rich.table import Table

from featurehub.cli.options import Database, Sae, database_path
from featurehub.cli.progress import ConsoleProgress, output
from featurehub.features import Feature, Found

__all__ = ["embed", "map_sae", "search"]

COLUMNS = ("label", "id", "artifact", "relevance", "label score", "steerability")


def search(
    query: str,
    db: Database = "",
    limit: int = 10,
    sae: Annotated[str, typer.Option(help="Search this SAE only: its name, alias, or beginning of the id.")] = "",
    layer: Annotated[list[int], typer.Option(min=0, help="Only SAEs in this layer; may be given again.")] = [],  # noqa: B006 (typer copies it)
    min_density: Annotated[float, typer.Option(min=0, max=1, help="Smallest share of tokens it fires on.")] = 0.0,
    max_density: Annotated[float, typer.Option(min=0, max=1, help="Largest share of tokens it fires on.")] = 1.0,
    min_score: Annotated[float | None, typer.Option(min=0, max=1, help="Smallest label score.")] = None,
    steerable: Annotated[bool, typer.Option("--steerable", help="Only what was steered and showed its label.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say how each was found.")] = False,
) -> None:
    """Find features by what they mean."""
    from featurehub.embedding import QueryEmbedder
    from featurehub.store import SearchFilter, open_store

    only = SearchFilter(
        layers=frozenset(layer), min_density=min_density, max_density=max_density, min_score=min_score,
        steerable=steerable,
    )  # fmt: skip
    with closing(open_store(db or database_path())) as store, store.read() as reader:
        scope = reader.scope(sae) if sae else reader.scope(*(each.id for each in reader.artifacts()))
        vector = QueryEmbedder().vector(query, reader, scope)
        page = reader.search(query, scope, limit, only=only, vector=vector, explain=explain)
    table = Table(*COLUMNS, *(["found by"] if explain else []))
    for feature in page.features:
        table.add_row(*cells(feature), *([", ".join(map(reason, feature.found))] if explain else []))
    output.print(table)
    if any(feature.never_steered for feature in page.features):
        output.print(
            "– or in brackets, as expected: never calibrated; weight 1.0 is the usual dose until "
            "`featurehub calibrate SAE MODEL --feature NAME`"
        )


def cells(feature: Feature) -> list[str]:
    numbers = (feature.relevance, feature.label_score, feature.steerability)
    shown = ["–" if number is None else f"{number:.2f}" for number in numbers]
    if feature.steerability is None and feature.expected_steerability is not None:
        shown[-1] = f"({feature.expected_steerability:.2f})"
    return [feature.label or "(no label)", feature.id, feature.artifact[:12], *shown]


def reason(found: Found) -> str:
    """How a feature was found, in words: ``label 0.52 (1.)``."""
    what = found.words if found.similarity is None else f"{found.similarity:.2f}"
    return f"{found.source} {what or ''}".rstrip() + f" ({found.place}.)"


def embed(
    sae: Annotated[str, typer.Option(help="Embed this SAE only: its name, alias, or beginning of the id.")] = "",
    embedder: Annotated[
        str, typer.Option(help="minilm, sentence-transformers:MODEL or http://host:port/v1#MODEL.")
    ] = "",
    db: Database = "",
) -> None:
    """Give features' labels, tokens and contexts the vectors by which search finds what is meant. It can be resumed."""
    from featurehub.embedding import open_embedder
    from featurehub.embedding.opening import DEFAULT, EMBEDDER
    from featurehub.runs.embed import embed_features
    from featurehub.store import open_store

    chosen = open_embedder(embedder or os.environ.get(EMBEDDER) or DEFAULT)
    with closing(open_store(db or database_path())) as store:
        stored = embed_features(store, chosen, sae or None, ConsoleProgress())
    for name, count in stored.items():
        output.print(f"{name}: {count:,} vectors by {chosen.identity}")
    if not stored:
        output.print(f"nothing to embed: all has its vectors by {chosen.identity}")


def map_sae(sae: Sae, db: Database = "") -> None:
    """Give an SAE's features their places on the map that their pages show."""
    from featurehub.artifacts.artifact import open_artifact
    from featurehub.cli.registry.location import folder_of
    from featurehub.runs.mapping import map_features

    database = db or database_path()
    count = map_features(open_artifact(folder_of(sae, database)), database, ConsoleProgress())
    output.print(f"{count:,} features of {sae} have their place; their pages show it", soft_wrap=True)
