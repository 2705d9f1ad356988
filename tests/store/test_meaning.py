"""Search by meaning: what is embedded and when it is forgotten, what is near, and what comes before what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurehub.embedding import FakeEmbedder, QueryEmbedder
from featurehub.errors import EmbedderMismatch, InvalidInput, StoreError
from featurehub.features import State
from featurehub.records import Context, TokenLogit
from featurehub.store import (
    Calibration,
    EmbeddingKind,
    FeatureRow,
    QueryVector,
    Reader,
    Scope,
    SearchFilter,
    Store,
    Writer,
    nearest_sqlite,
)
from featurehub.store.embeddings import text_of
from featurehub.store.found import Hit
from featurehub.store.fuse import fuse, reciprocal
from featurehub.store.meaning import true_names
from featurehub.store.near import Near
from featurehub.store.nearest import nearest
from featurehub.store.nearest_sqlite import Matrices
from featurehub.store.pages import RANKINGS
from tests.labels import labeled
from tests.store.undone import undone

SAE = "a" * 64
LABEL = EmbeddingKind.LABEL
EMBEDDER = FakeEmbedder({"money": "banking", "buccaneer": "pirate", "downpour": "rain"})


def embed(writer: Writer, sae: str = SAE, embedder: FakeEmbedder = EMBEDDER) -> None:
    """Embeds whatever has no vector."""
    writer.vectors.begin(sae, embedder.identity, embedder.dimensions)
    for kind in EmbeddingKind:
        texts = {each.id: each.text for each in writer.reader.unembedded(sae, kind, limit=100_000) if each.text}
        writer.vectors.put(sae, embedder.identity, kind, texts, embedder.embed(list(texts.values())))


def vector(query: str, embedder: FakeEmbedder = EMBEDDER) -> QueryVector:
    return QueryVector(embedder.identity, embedder.embed([query])[0])


def latents(reader: Reader, query: str, only: SearchFilter = SearchFilter()) -> list[int]:  # noqa: B008 (frozen)
    return [each.latent for each in reader.search(query, only=only, vector=vector(query)).features]


def test_what_shares_no_word_is_found_by_its_meaning(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking", 2: "pirate", 3: "weather: rain"})
        assert latents(writer.reader, "money") == []
        embed(writer)
        assert latents(writer.reader, "money")[0] == 1
        assert latents(writer.reader, "buccaneer")[0] == 2
        assert latents(writer.reader, "downpour")[0] == 3
        page = writer.reader.search("money", vector=vector("money"))
        assert (page.by_meaning, writer.reader.search("money").by_meaning) == (True, False)
        assert {each.latent for each in writer.reader.search("", vector=vector("")).features} == {1, 2, 3}


def test_texts_are_embedded_apart(store: Store, fill) -> None:
    text = "far away words and a big PEAK of it all with far more than eight after it"
    tokens = tuple(f" {word}" for word in text.split(" "))
    peak = Context(tokens=tokens, activations=tuple(9.0 * (token == " PEAK") for token in tokens))
    row = FeatureRow(
        latent=1, density=0.1, max_activation=9.0, contexts=(peak,), top_tokens=(TokenLogit(token=" sea", logit=1.0),)
    )
    with store.write() as writer:
        fill(writer, {1: "banking"})
        writer.put_features(SAE, [row])
        found = {kind: writer.reader.unembedded(SAE, kind) for kind in EmbeddingKind}
    assert {kind: each.text for kind, [each] in found.items()} == {
        EmbeddingKind.LABEL: "banking",
        EmbeddingKind.TOKENS: "sea",
        EmbeddingKind.CONTEXTS: "far away words and a big PEAK of it all with far more than eight",
    }
    assert text_of(EmbeddingKind.CONTEXTS, [{"tokens": [], "activations": []}]) == ""


def test_a_text_that_changes_loses_its_vector(store: Store, fill, make_row, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking", 2: "pirate"})
        embed(writer)
        before = writer.reader.embedders()[SAE].stamp
        writer.put_label(ids[1], labeled("gardening"), provenance)
        assert [each.id for each in writer.reader.unembedded(SAE, LABEL)] == [ids[1]]
        assert writer.reader.unembedded(SAE, EmbeddingKind.CONTEXTS) == []
        assert writer.reader.embedders()[SAE].stamp != before
        assert ids[1] not in {near.id for near in nearest(writer._session, vector("money").vector, [SAE], 9, LABEL)}
        writer.put_features(SAE, [make_row(1, "another text"), make_row(2)])
        assert len(writer.reader.unembedded(SAE, EmbeddingKind.CONTEXTS)) == 2
        assert [each.id for each in writer.reader.unembedded(SAE, LABEL)] == [ids[1]]


def test_a_vector_of_a_text_that_changed_meanwhile_is_not_stored(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking", 2: "pirate"})
        writer.vectors.begin(SAE, "fake", 64)
        texts = {each.id: each.text for each in writer.reader.unembedded(SAE, LABEL)}
        writer.put_label(ids[1], labeled("gardening"), provenance)
        assert writer.vectors.put(SAE, "fake", LABEL, texts, EMBEDDER.embed(list(texts.values()))) == 1
        assert [each.text for each in writer.reader.unembedded(SAE, LABEL)] == ["gardening"]


def test_two_embedders_are_never_mixed(store: Store, fill) -> None:
    other = FakeEmbedder(identity="other", dimensions=32)
    with store.write() as writer:
        fill(writer, {1: "banking"}, name="one", id="1" * 64)
        fill(writer, {2: "banking"}, name="two", id="2" * 64)
        embed(writer, "1" * 64)
        embed(writer, "2" * 64, other)
        with pytest.raises(EmbedderMismatch, match="features embed --sae two --embedder fake"):
            writer.reader.search("money", vector=vector("money"))
        one = writer.reader.scope("one")
        assert [each.latent for each in writer.reader.search("money", one, vector=vector("money")).features] == [1]
        with pytest.raises(EmbedderMismatch, match="other"):
            writer.vectors.put("2" * 64, "fake", LABEL, {}, np.empty((0, 64), np.float32))
        embed(writer, "2" * 64)  # begins anew
        assert {each.embedder for each in writer.reader.embedders().values()} == {"fake"}
        assert sorted(latents(writer.reader, "money")) == [1, 2]
        with pytest.raises(InvalidInput, match="4096"):
            writer.vectors.begin("1" * 64, "huge", 5000)


@given(data=st.data())
def test_nearest_is_what_sorting_all_similarities_gives(lasting: Store, fill, data: st.DataObject) -> None:
    count, k = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 50))
    drawn = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = drawn.integers(-2, 3, (count, 4)).astype(np.float32)
    query = drawn.integers(-2, 3, 4).astype(np.float32)
    with undone(lasting) as writer:
        ids = fill(writer, {latent: f"label {latent}" for latent in range(count)})
        writer.vectors.begin(SAE, "fake", 4)
        writer.vectors.put(SAE, "fake", LABEL, {id: f"label {at}" for at, id in ids.items()}, vectors)
        found = nearest(writer._session, query, [SAE], k, LABEL)
        exact = {id: float(vectors[at] @ query) for at, id in ids.items()}
        assert [near.similarity for near in found] == sorted(exact.values(), reverse=True)[:k]
        assert all(near.similarity == exact[near.id] for near in found)


@pytest.mark.parametrize("location", ["sqlite"], indirect=True)
def test_vectors_are_read_once_until_they_change(store: Store, fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_sqlite, "MATRICES", kept := Matrices(1 << 20))
    reads: list[str] = []
    real = Matrices._read
    monkeypatch.setattr(Matrices, "_read", lambda *args: reads.append(args[2]) or real(*args))
    with store.write() as writer:
        fill(writer, {1: "banking", 2: "pirate"})
        embed(writer)
    for _ in range(3):
        with store.read() as reader:
            assert latents(reader, "money")[0] == 1
    assert len(reads) == len(EmbeddingKind)
    with store.write() as writer:
        embed(writer)
        fill(writer, {1: "gardening", 2: "pirate"})
    with store.read() as reader:
        latents(reader, "money")
    assert len(reads) == 2 * len(EmbeddingKind)
    monkeypatch.setattr(kept, "_limit", 100)
    kept._kept.clear()
    with store.read() as reader, pytest.raises(StoreError, match="pgvector"):
        latents(reader, "money")


def test_what_is_near_never_outranks_a_true_name(store: Store, fill, provenance) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "money laundering", 2: "banking", 3: "talk of money"}, 0.1)
        embed(writer)
        for latent, steerability in ((1, -1.0), (2, 1.0), (3, 0.0)):
            writer.put_calibration(ids[latent], Calibration(strength=1.0, dose=0.3, steerability=steerability))
        writer.put_label(ids[2], labeled("banking", score=1.0), provenance)
        embed(writer)
        assert latents(writer.reader, "money")[2] == 2
        assert sorted(latents(writer.reader, "money")) == [1, 2, 3]


def test_a_name_with_some_of_the_words_is_no_true_name(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "buccaneer money", 2: "money in banking", 3: "pirate"})
        embed(writer)
        assert latents(writer.reader, "pirate banking money")[0] != 3
        assert latents(writer.reader, "money ban") == [2, 1]


names = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1))
near = st.lists(st.tuples(st.sampled_from("efghijkl"), st.floats(-1, 1)), unique_by=lambda each: each[0])


@given(named=names, label=near, contexts=near)
def test_fused_relevance(named: dict[str, float], label: list, contexts: list) -> None:
    meant = {
        kind: sorted((Near(*each) for each in found), key=lambda each: -each.similarity)
        for kind, found in ((LABEL, label), (EmbeddingKind.CONTEXTS, contexts))
    }
    true = {id for id in named if id in "aceg"}
    found = fuse(named, meant, true)
    assert found.keys() == named.keys() | {id for id, _ in [*label, *contexts]}
    assert all(0.0 <= each <= 1.0 for each in found.values())
    assert all(found[id] >= named[id] for id in true)
    assert all(found[id] <= max(named.get(id, 0.0), 0.75) for id in found if id not in true)


def test_reciprocal_rank_is_as_published() -> None:
    found = reciprocal([["a", "b"], ["b", "c"], []])
    scores = {"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62}
    assert found == pytest.approx({id: each / scores["b"] for id, each in scores.items()})


def test_filters_leave_out_what_both_sources_find(store: Store, fill, make_manifest, provenance) -> None:
    with store.write() as writer:
        labels = {1: "banking", 2: "banking crisis", 3: "money market", 4: "cash money", 5: "money"}
        ids = fill(writer, labels)
        writer.put_features(SAE, [FeatureRow(latent=at, density=at / 10, max_activation=1.0) for at in labels])
        writer.put_label(ids[5], labeled("money", score=None), provenance)
        writer.put_label(ids[4], labeled("cash money", score=0.4), provenance)
        writer.put_calibration(ids[1], Calibration(strength=1.0, dose=0.3, steerability=0.5))
        writer.put_calibration(ids[2], Calibration(strength=1.0, dose=0.3, steerability=0.0))
        embed(writer)

        def found(**only) -> set[int]:
            return set(latents(writer.reader, "money", SearchFilter(**only)))

        assert found() == {1, 2, 3, 4, 5}
        assert found(min_density=0.2, max_density=0.4) == {2, 3, 4}
        assert found(min_score=0.5) == {1, 2, 3}
        assert found(min_score=0.0) == {1, 2, 3, 4}
        assert found(steerable=True) == {1}
        assert (found(layers={2}), found(layers={3})) == ({1, 2, 3, 4, 5}, set())
        every = writer.reader.search("", only=SearchFilter(min_density=0.35)).features
        assert {each.latent for each in every} == {4, 5}


def test_states_are_judged_by_who_knows_the_model(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {latent: f"topic {latent}" for latent in range(6)})
        only = SearchFilter(states={State.STALE})
        with pytest.raises(InvalidInput, match="where a model is loaded"):
            writer.reader.search("topic", only=only)

        def judge(features) -> dict[str, State]:
            return {each.id: State.STALE if each.latent % 2 else State.FRESH for each in features}

        found = writer.reader.search("topic", limit=2, only=only, judge=judge)
        rest = writer.reader.search("topic", limit=2, only=only, judge=judge, after=found.next)
        assert sorted(each.latent for each in (*found.features, *rest.features)) == [1, 3, 5]


def test_further_pages_stay_as_they_were_ranked(store: Store, fill, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.write() as writer:
        ids = fill(writer, {latent: f"topic {latent}" for latent in range(9)})
    with store.read() as reader:
        page = reader.search("topic", limit=3)
    with store.write() as writer:
        for latent in (1, 7, 8):
            writer.put_calibration(ids[latent], Calibration(strength=1.0, dose=0.3, steerability=0.9))
    with store.read() as reader:
        seen = [*page.features]
        while page.next is not None:
            page = reader.search("topic", limit=3, after=page.next)
            seen += page.features
        assert len(seen) == len({each.id for each in seen}) == 9
        page = reader.search("topic", limit=3)
        for other in ("other", "topic 1"):
            with pytest.raises(InvalidInput, match="start again"):
                reader.search(other, limit=3, after=page.next)
        # Another process ranks again, and goes on where the list is the same.
        monkeypatch.setattr(RANKINGS, "find", lambda *_: None)
        again = reader.search("topic", limit=3, after=page.next)
        assert not {each.id for each in again.features} & {each.id for each in page.features}
    with store.write() as writer:
        writer.put_calibration(ids[4], Calibration(strength=1.0, dose=0.3, steerability=1.0))
    with store.read() as reader, pytest.raises(InvalidInput, match="start again"):
        reader.search("topic", limit=3, after=page.next)


@pytest.mark.parametrize("after", ["", ".", "a.b.c", "a.-1.c", "a.1", "a.1.", "a.99999999999.c", "x.3.f_none", "…"])
def test_what_is_no_cursor_is_refused(store: Store, fill, after: str) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking"})
        with pytest.raises(InvalidInput, match="start again"):
            writer.reader.search("banking", after=after)


def test_a_search_explains(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking", 2: "money: coin", 3: "weather"})
        embed(writer)
        writer.put_words(SAE, {"money": [(3, 2.0)]})
        plain = writer.reader.search("money", vector=vector("money"))
        assert all(each.found == () for each in plain.features)
        told = writer.reader.search("money", vector=vector("money"), explain=True)
        why = {each.latent: {found.source: found for found in each.found} for each in told.features}
        assert (why[2]["name"].words, why[2]["exact"].words, why[3]["word"].words) == ("money", "money", "money")
        assert (why[1]["label"].words, why[2]["name"].similarity) == (None, None)
        assert (why[1]["label"].place, why[1]["label"].similarity) == (1, pytest.approx(1.0, abs=1e-3))


def test_queries_are_embedded_where_there_is_something_to_compare_with(store: Store, fill) -> None:
    opened: list[str] = []

    def opener() -> FakeEmbedder:
        opened.append("fake")
        return EMBEDDER

    queries = QueryEmbedder(opener)
    with store.write() as writer:
        fill(writer, {1: "banking"})
        assert queries.vector("money", writer.reader, Scope()) is None
        embed(writer)
        assert queries.vector("  ", writer.reader, Scope()) is None
        assert opened == []
        first = queries.vector("money", writer.reader, Scope())
        assert first is not None
        assert first is queries.vector("money", writer.reader, Scope())
        assert (first.embedder, opened) == ("fake", ["fake"])
        assert QueryEmbedder(lambda: None).vector("money", writer.reader, Scope()) is None


def test_what_goes_with_one_word_of_a_sentence_is_no_true_name() -> None:
    """Of "songs and instruments", "and" alone is known; what goes with it has nothing to do with music."""
    hits = [Hit("word", "sad", 0.9, 0.9, "and", 9.0)]
    assert true_names(("songs", "and", "instruments"), hits, (), {"sad": 0.6}) == set()
    assert true_names(("and",), hits, (), {"sad": 0.6}) == {"sad"}
    assert true_names(("and",), hits, (), {"sad": 0.2}) == set()
