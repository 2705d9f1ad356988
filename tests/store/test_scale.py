"""What makes searches cheap where there are many features finds what looking at all of them would."""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg
import pytest
from alembic import command
from alembic.config import Config
from rapidfuzz import fuzz, process
from sqlalchemy import make_url, select, text

from featurehub.errors import InvalidConfig
from featurehub.store import (
    EmbeddingKind,
    FeatureRow,
    Reader,
    SearchFilter,
    Store,
    candidates_postgres,
    matching,
    migrate,
    open_store,
)
from featurehub.store import nearest_postgres as indexed
from featurehub.store.candidates import MANY
from featurehub.store.candidates_postgres import ENOUGH
from featurehub.store.half import DTYPE
from featurehub.store.location import database_at
from featurehub.store.matching import CANDIDATES
from featurehub.store.nearest import nearest
from featurehub.store.schema import EmbeddingRecord
from tests.store.counting import counted

FOLDER = Path(migrate.__file__).parent / "migrations"
LABEL = EmbeddingKind.LABEL
SAES = ("1" * 64, "2" * 64)
WIDTH, DIMENSIONS = 1000, 16
FEATURE = """
    INSERT INTO features (id, artifact_id, latent, slug, density, max_activation, label, label_version, quantiles,
    contexts, top_tokens, bottom_tokens, neighbors)
    VALUES (:id, :sae, :at, :slug, 0.1, 1.0, 'bank', 1, '{}', '[]', '[]', '[]', '[]')
"""
postgresql = pytest.mark.parametrize("location", ["postgresql"], indirect=True)

Vectors = dict[str, np.ndarray]


@pytest.fixture
def vectors(store: Store, fill, monkeypatch: pytest.MonkeyPatch) -> Vectors:
    """Two SAEs with indexed vectors, by the feature's id; every fifth feature is dense, three are denser."""
    monkeypatch.setattr(indexed, "EXACT", 100)
    drawn, found = np.random.default_rng(3), {}
    with store.write() as writer:
        for sae in SAES:
            ids = fill(writer, {latent: f"label {latent}" for latent in range(WIDTH)}, name=sae[:9], id=sae)
            density = {latent: 0.9 if latent < 3 else 0.5 if latent % 5 == 0 else 0.01 for latent in ids}
            writer.put_features(sae, [FeatureRow(latent=at, density=density[at], max_activation=1.0) for at in ids])
            rows = drawn.standard_normal((WIDTH, DIMENSIONS), np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            writer.vectors.begin(sae, "fake", DIMENSIONS)
            writer.vectors.put(sae, "fake", LABEL, {id: f"label {at}" for at, id in ids.items()}, rows)
            found |= dict(zip(ids.values(), rows.astype(DTYPE).astype(np.float32), strict=True))
        writer.vectors.index()
    return found


def queries() -> Iterator[np.ndarray]:
    drawn = np.random.default_rng(4)
    for _ in range(20):
        query = drawn.standard_normal(DIMENSIONS, np.float32)
        yield (query / np.linalg.norm(query)).astype(DTYPE).astype(np.float32)


@postgresql
def test_an_index_of_vectors_gives_nearly_what_comparing_all_gives(store: Store, vectors: Vectors) -> None:
    shares = []
    with store.read() as reader, counted(store) as statements:
        for query in queries():
            exact = {id: float(row @ query) for id, row in vectors.items()}
            found = nearest(reader._session, query, SAES, 20, LABEL)
            assert [each.similarity for each in found] == pytest.approx([exact[each.id] for each in found], abs=1e-3)
            assert found == sorted(found, key=lambda each: (-each.similarity, each.id))
            shares.append(len({each.id for each in found} & set(sorted(exact, key=exact.__getitem__)[-20:])) / 20)
        assert np.mean(shares) > 0.95
        used = next(each for each in reversed(statements) if "<#>" in each)
        assert f"halfvec({DIMENSIONS})" in used


@postgresql
def test_the_index_keeps_to_the_filter_and_the_saes(store: Store, vectors: Vectors) -> None:
    with store.read() as reader:
        mine = {each.id: each.density for each in reader.features(SAES[0])}
        for query in queries():
            for bound, k in ((0.4, 50), (0.8, 50)):
                found = nearest(reader._session, query, SAES[:1], k, LABEL, SearchFilter(min_density=bound))
                allowed = {id for id, density in mine.items() if density >= bound}
                assert {each.id for each in found} <= allowed
                assert len(found) == min(k, len(allowed))


@postgresql
def test_a_reader_finds_what_its_snapshot_has(store: Store, vectors: Vectors) -> None:
    query = next(queries())
    with store.read() as reader:
        before = nearest(reader._session, query, SAES, 5, LABEL)
        with store.write() as writer:
            writer.remove_artifact(SAES[0])
        assert nearest(reader._session, query, SAES, 5, LABEL) == before
    with store.read() as reader:
        left = {each.id for each in reader.features(SAES[1])}
        assert {each.id for each in nearest(reader._session, query, SAES, 5, LABEL)} <= left


@pytest.mark.parametrize("bare", ["postgresql"], indirect=True)
def test_whoever_may_not_make_the_extension_is_told_so(bare: str) -> None:
    with psycopg.connect(bare, autocommit=True) as connection:
        connection.execute("CREATE ROLE plain LOGIN")
        connection.execute("GRANT CREATE ON SCHEMA public TO plain")
        try:
            with pytest.raises(InvalidConfig, match=r"pgvector.*CREATE EXTENSION vector"):
                open_store(make_url(bare).set(username="plain").render_as_string(hide_password=False))
            assert connection.execute("SELECT to_regclass('names')").fetchone() == (None,)
            connection.execute("CREATE EXTENSION vector")
            open_store(make_url(bare).set(username="plain").render_as_string(hide_password=False)).close()
        finally:
            connection.execute("DROP OWNED BY plain")
            connection.execute("DROP ROLE plain")


def found(reader: Reader, query: str) -> list[str]:
    return [each.label for each in reader.search(query).features]


def test_common_words_do_not_hide_what_is_asked_for(store: Store, fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates_postgres, "KEPT", {})
    labels = {n: f"topic number {n}" for n in range(1_200)}
    labels |= {1_501: "topic of banking", 1_502: "topical number", 1_503: "topic number", 1_504: "bank holiday"}
    with store.write() as writer:
        fill(writer, labels)
    if store._engine.dialect.name == "postgresql":
        with store._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE names"))
    with store.read() as reader:
        assert found(reader, "topic banking")[0] == "topic of banking"
        assert found(reader, "topic number")[0] == "topic number"
        assert len(found(reader, "topic")) == 20
        assert found(reader, "topica") == ["topical number"]
        assert set(found(reader, "bank")) == {"bank holiday", "topic of banking"}
        assert found(reader, "ban topical") == ["topical number"]
        assert set(found(reader, "banki holid hall")) == {"bank holiday", "topic of banking"}


def test_of_common_words_that_no_name_has_together_the_longest_count(
    store: Store, fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dialect, full_text in matching.FULL_TEXT.items():
        monkeypatch.setitem(matching.FULL_TEXT, dialect, full_text._replace(common=lambda _, terms: set(terms)))
    with store.write() as writer:
        fill(writer, {1: "red garden wall", 2: "garden wall", 3: "tall wall", 4: "red garden"})
    with store.read() as reader:
        assert found(reader, "the garden wall red of") == ["red garden wall"]
        assert set(found(reader, "garden of wall")) == {"garden wall", "red garden wall"}
        assert found(reader, "the of") == []


@pytest.mark.parametrize("location", ["sqlite"], indirect=True)
def test_no_search_goes_through_all_features_of_an_sae(store: Store, fill) -> None:
    """As many as there are, SQLite would, unless it is told in which order to join."""
    with store.write() as writer:
        fill(writer, {1: "bank"})
    with store.read() as reader, counted(store) as statements:
        reader.search("bank")
    asked = next(each for each in statements if "by_name" in each)
    with closing(store._engine.raw_connection()) as connection:
        plan = connection.cursor().execute(f"EXPLAIN QUERY PLAN {asked}", ("",) * asked.count("?")).fetchall()
    steps = [step for *_, step in plan]
    assert any(step.startswith("SEARCH f USING INDEX") for step in steps)
    assert not any(step.endswith("(artifact_id=?)") for step in steps)


WORDS = "banking pirate weather garden music railway medicine kitchen football history planet insect".split()  # noqa: SIM905


def test_a_typo_brings_what_looking_at_all_names_brings(store: Store, fill) -> None:
    drawn = random.Random(7)
    labels = {n: " ".join(drawn.sample(WORDS, drawn.randint(1, 3))) for n in range(200)}
    with store.write() as writer:
        fill(writer, labels)
    with store.read() as reader:
        for label in drawn.sample(sorted(set(labels.values())), 30):
            at = drawn.randrange(len(label) - 1)
            typo = label[:at] + label[at + 1] + label[at] + label[at + 2 :]
            best = process.extractOne(typo, sorted(set(labels.values())), scorer=fuzz.WRatio)
            likeness = fuzz.WRatio(typo, reader.suggest(typo)[0])
            assert likeness >= best[1], (typo, best)
        assert reader.suggest("nanking")[0] == "banking"
        assert reader.suggest("xq") == ()


@postgresql
def test_few_words_are_outside_the_index_that_searches_go_through(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {n: f"word{n} of {n}" for n in range(2_000)})
        pages = writer._session.execute(text("SELECT gin_clean_pending_list('ix_names_words')")).scalar_one()
    assert 0 < pages * 8 <= 64


@postgresql
def test_words_of_names_are_kept_for_typos(store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking: loan", 2: "Ärzte & Pflege"})
        terms = set(writer._session.execute(text("SELECT term FROM names_index_words")).scalars())
    assert terms == {"banking", "loan", "ärzte", "pflege"}


def test_vectors_of_a_former_version_are_kept(bare: str, make_manifest) -> None:
    """And the words of the names that it has."""
    engine, stored = database_at(bare).engine, np.array([[1.0, 0.0], [0.6, 0.8]], DTYPE)
    manifest = make_manifest().model_dump_json()
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(FOLDER))
        command.upgrade(config, "0005")
        sae = {"id": SAES[0], "manifest": manifest}
        connection.execute(
            text("INSERT INTO artifacts VALUES (:id, 'old', 'm', :manifest, '/nowhere', '2026', true)"), sae
        )
        for at, row in enumerate(stored):
            each = {"sae": SAES[0], "id": f"f_{at}", "at": at, "slug": f"s{at}", "vector": row.tobytes()}
            connection.execute(text(FEATURE), each)
            connection.execute(
                text("INSERT INTO names (feature_id, name, key, kind) VALUES (:id, 'bank', 'bank', 'label')"), each
            )
            connection.execute(text("INSERT INTO embeddings VALUES (:id, 'label', :vector)"), each)
        connection.execute(text("INSERT INTO embedders VALUES (:id, 'fake', 2, 'stamp')"), sae)
    engine.dispose()
    with closing(open_store(bare)) as store, store.read() as reader:
        vector = reader._session.scalars(select(EmbeddingRecord.vector).order_by(EmbeddingRecord.feature_id)).all()
        assert vector == [row.tobytes() for row in stored]
        found = nearest(reader._session, np.array([0.0, 1.0], np.float32), SAES[:1], 1, LABEL)
        assert [each.similarity for each in found] == pytest.approx([0.8], abs=1e-3)
        assert reader.suggest("bnak") == ("bank",)


@postgresql
def test_where_very_many_names_have_a_word_the_shortest_of_a_sample_are_shown(store: Store, fill) -> None:
    count = 16 * ENOUGH + 100
    with store.write() as writer:
        fill(writer, {latent: f"programming {latent}" for latent in range(count)})
    with store.read() as reader:
        rows = reader._session.execute(
            text("SELECT feature_id, key FROM names WHERE mod(id, 16) = 0 ORDER BY id")
        ).all()
        shortest = sorted(rows[:MANY], key=lambda row: len(row.key))[:CANDIDATES]
        found = reader.search("programming", limit=MANY).features
    assert len(rows) >= ENOUGH
    assert {each.id for each in found} == {row.feature_id for row in shortest}
