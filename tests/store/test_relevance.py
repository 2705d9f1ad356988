"""What is near to features, and the order that a query puts given features in."""

from collections.abc import Iterator

import pytest

from featurehub.embedding import FakeEmbedder
from featurehub.errors import EmbedderMismatch
from featurehub.features import Feature
from featurehub.records import CoActive
from featurehub.store import FeatureRow, QueryVector, Reader, Scope, Store, Writer
from tests.store.test_meaning import SAE, embed, vector
from tests.store.undone import undone

LABELS = {1: "banking", 2: "money", 3: "weather: rain", 4: "pirate", 5: "a bank account", 6: "downpour"}
OTHER = "b" * 64


def row(latent: int, *neighbors: int, **coactive: float) -> FeatureRow:
    near = tuple(CoActive(latent=int(name[1:]), jaccard=value) for name, value in coactive.items())
    return FeatureRow(latent=latent, density=0.1, max_activation=2.0, neighbors=neighbors, coactive=near)


@pytest.fixture
def writer(lasting: Store, fill) -> Iterator[Writer]:
    """Banking lies by what it writes near 3 and 4, and fires with 4 and with 9, which is dead."""
    with undone(lasting) as writer:
        fill(writer, LABELS)
        fill(writer, {7: "banking"}, name="other", id=OTHER)
        writer.put_features(SAE, [row(1, 3, 4, n4=0.5, n9=0.25), row(2, 4), *map(row, (3, 4, 5, 6))])
        yield writer


def by_latent(reader: Reader, *latents: int) -> list[Feature]:
    return reader.latents(SAE, latents)


def near(reader: Reader, *latents: int, limit: int = 10, scope: Scope = Scope(saes=(SAE,))) -> list[int]:  # noqa: B008
    return [each.latent for each in reader.relevance.neighbors(by_latent(reader, *latents), scope, limit)]


def test_what_is_in_two_lists_is_nearer_than_what_is_in_one(writer: Writer) -> None:
    [first, second] = writer.reader.relevance.neighbors(by_latent(writer.reader, 1), Scope(saes=(SAE,)), 10)
    assert (first.latent, second.latent) == (4, 3)
    assert first.relevance == 1.0 > (second.relevance or 0.0) > 0.0
    assert [(each.source, each.place, each.similarity) for each in first.found] == [
        ("decoder", 2, None), ("coactive", 1, 0.5),
    ]  # fmt: skip
    assert near(writer.reader, 1, limit=1) == [4]
    assert near(writer.reader, 6) == []


def test_labels_that_mean_the_same_are_near_in_all_saes_of_the_scope(writer: Writer) -> None:
    embed(writer)
    embed(writer, OTHER)
    reader = writer.reader
    assert {2, 3, 4} <= set(near(reader, 1))
    assert 1 not in near(reader, 1)
    everywhere = reader.relevance.neighbors(by_latent(reader, 1), Scope(), 10)
    twin = next(each for each in everywhere if each.artifact == OTHER)
    [found] = twin.found
    assert (found.source, found.place, found.similarity) == ("label", 1, pytest.approx(1.0, abs=1e-3))
    assert all(each.artifact == SAE for each in reader.relevance.neighbors(by_latent(reader, 1), Scope(saes=(SAE,)), 9))


def test_vectors_of_another_embedder_are_not_compared(writer: Writer) -> None:
    embed(writer)
    embed(writer, OTHER, FakeEmbedder(identity="other", dimensions=32))
    everywhere = writer.reader.relevance.neighbors(by_latent(writer.reader, 1), Scope(), 10)
    assert all(each.artifact == SAE for each in everywhere)


def test_several_features_have_the_neighbors_that_both_lie_near(writer: Writer) -> None:
    assert near(writer.reader, 1, 2) == [4, 3]
    assert near(writer.reader, 2, 4) == []


def test_a_vector_finds_what_means_the_same_in_the_scope(writer: Writer) -> None:
    embed(writer)
    embed(writer, OTHER)
    query = vector("banking")
    found = writer.reader.relevance.about(query, Scope(saes=(SAE,)), 3)
    assert found[0].latent == 1
    assert found[0].relevance == 1.0
    assert len(found) == 3
    assert {each.artifact for each in found} == {SAE}
    assert {each.artifact for each in writer.reader.relevance.about(query, Scope(), 9)} == {SAE, OTHER}
    with pytest.raises(EmbedderMismatch):
        writer.reader.relevance.about(query._replace(embedder="other"), Scope(saes=(SAE,)), 3)


def rerank(reader: Reader, query: str, *latents: int, meant: bool = False) -> list[tuple[int, float]]:
    found = reader.relevance.rerank(query, by_latent(reader, *latents), vector(query) if meant else None)
    return [(each.latent, each.relevance or 0.0) for each in found]


def test_words_put_features_in_the_order_of_a_search(writer: Writer) -> None:
    reader = writer.reader
    searched = [each.latent for each in reader.search("bank", Scope(saes=(SAE,))).features]
    ranked = rerank(reader, "bank", *LABELS)
    assert [latent for latent, _ in ranked][: len(searched)] == searched
    assert {latent for latent, relevance in ranked if relevance == 0.0} == LABELS.keys() - set(searched)
    assert len(ranked) == len(LABELS)


def test_what_the_query_does_not_find_comes_last_as_it_was_given(writer: Writer) -> None:
    given = [each for latent in (6, 3, 5) for each in by_latent(writer.reader, latent)]
    found = writer.reader.relevance.rerank("account", given)
    assert [each.latent for each in found] == [5, 6, 3]
    assert [bool(each.relevance) for each in found] == [True, False, False]


def test_meaning_puts_them_in_order_however_far_down_they_are(writer: Writer) -> None:
    embed(writer)
    assert rerank(writer.reader, "buccaneer", 3, 4, 6, meant=True)[0][0] == 4
    assert dict(rerank(writer.reader, "buccaneer", 3, 4, 6))[4] == 0.0
    whole = dict(rerank(writer.reader, "buccaneer", *LABELS, meant=True))
    page = writer.reader.search("buccaneer", Scope(saes=(SAE,)), vector=vector("buccaneer"))
    found = {latent: relevance for latent, relevance in whole.items() if relevance}
    assert {each.latent: each.relevance for each in page.features} == pytest.approx(found, abs=1e-3)


def test_a_query_of_another_embedder_is_refused(writer: Writer) -> None:
    embed(writer)
    other = QueryVector("other", vector("money").vector)
    with pytest.raises(EmbedderMismatch):
        writer.reader.relevance.rerank("money", by_latent(writer.reader, 1), other)
