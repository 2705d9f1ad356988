"""Listing all features: an index gives the order in which a ranking of all would have them."""

import json
import random
from contextlib import closing
from itertools import product

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from featurehub.errors import InvalidInput
from featurehub.features import Feature, State
from featurehub.records import Calibration, Scope, SearchFilter
from featurehub.store import FeatureRow, Reader, Store, Writer, open_store
from featurehub.store.listing import NEXT
from featurehub.store.location import database_at
from featurehub.store.only import bounds_of
from featurehub.store.search import rank
from featurehub.store.statistics import id_of
from tests.store.conftest import build_manifest
from tests.store.counting import counted
from tests.store.test_open import FOLDER

SAES = ("1" * 64, "2" * 64, "3" * 64)
FILTERS = (
    SearchFilter(), SearchFilter(steerable=True), SearchFilter(min_score=0.5), SearchFilter(max_density=0.2),
    SearchFilter(layers={2}), SearchFilter(layers={3}),
)  # fmt: skip


def filled(writer: Writer, fill) -> None:
    """60 features of three SAEs, many of them worth the same."""
    drawn = random.Random(3)
    for at, sae in enumerate(SAES):
        ids = fill(writer, {latent: f"topic {latent}" for latent in range(20)}, name=f"sae-{at}", id=sae, score=None)
        rows = [FeatureRow(latent=each, density=drawn.choice([0.1, 0.3]), max_activation=1.0) for each in ids]
        writer.put_features(sae, rows)
        scores = {id: drawn.choice([None, 0.0, 0.04, 0.6, drawn.random()]) for id in ids.values()}
        given = [{"id": id, "score": score} for id, score in scores.items()]
        writer._session.execute(text("UPDATE features SET label_score = :score WHERE id = :id"), given)
        for id in list(ids.values())[:16]:
            steers = drawn.choice([None, -0.2, 0.0, 0.04, 0.05, 0.3, 0.7, drawn.random()])
            expected = drawn.choice([None, 0.02, 0.5, drawn.random()]) if steers is None else None
            how = "answers" if steers else "dose"
            made = Calibration(strength=1.0, dose=0.3, steerability=steers, expected_steerability=expected, method=how)
            writer.put_calibration(id, made)


def worth(feature: Feature) -> float:
    steers = feature.expected_steerability if feature.steerability is None else feature.steerability
    return rank(1.0, feature.label_score, steers)


def fits(feature: Feature, only: SearchFilter) -> bool:
    return (
        only.min_density <= feature.density <= only.max_density
        and (only.min_score is None or (feature.label_score is not None and feature.label_score >= only.min_score))
        and (not only.steerable or (feature.steerability or 0.0) > 0)
        and (not only.layers or 2 in only.layers)
    )


def naive(reader: Reader, scope: Scope, only: SearchFilter) -> list[str]:
    """Every feature of the scope is looked at, and all of them are sorted."""
    every = [each for sae in scope.saes or SAES for each in reader.features(sae) if fits(each, only)]
    return [each.id for each in sorted(every, key=lambda each: (worth(each), each.id), reverse=True)]


def listed(reader: Reader, scope: Scope, only: SearchFilter, limit: int, **more) -> list[str]:
    found, page = [], reader.search("", scope, limit, None, only, **more)
    while True:
        assert len(page.features) == limit or page.next is None
        assert {each.relevance for each in page.features} <= {1.0}
        found += [each.id for each in page.features]
        if page.next is None:
            return found
        page = reader.search("", scope, limit, page.next, only, **more)


def test_pages_have_the_order_that_sorting_all_gives(store: Store, fill) -> None:
    with store.write() as writer:
        filled(writer, fill)
    with store.read() as reader:
        for only, saes, limit in product(FILTERS, (SAES, SAES[1:2], ()), (7, 20, 100)):
            scope = Scope(saes=saes or None)
            assert listed(reader, scope, only, limit) == naive(reader, scope, only)
        assert len(listed(reader, Scope(), FILTERS[0], 7)) == 60
        assert 0 < len(listed(reader, Scope(), FILTERS[1], 7)) < 60


def test_a_page_reads_no_more_than_it_shows(store: Store, fill) -> None:
    with store.write() as writer:
        filled(writer, fill)
        page = writer.reader.search("", limit=10)
    place = {"sae": SAES[0], "limit": 10, "worth": 0.2, "id": "f", **bounds_of(SearchFilter(steerable=True))}
    with store.read() as reader, counted(store) as statements:
        reader.search("", limit=10, after=page.next)
        assert len(statements) == 2 + len(SAES)
        assert all("LIMIT" in each for each in statements[1:4])
        connection = reader._session.connection()
        if connection.dialect.name == "sqlite":
            plan = str(connection.execute(text(f"EXPLAIN QUERY PLAN {NEXT.text}"), place).all())
            assert "COVERING INDEX ix_features_worth (artifact_id=? AND <expr><?)" in plan
            assert "TEMP B-TREE" not in plan
        else:
            connection.execute(text("SET LOCAL enable_sort = off"))
            plan = str(connection.execute(text(f"EXPLAIN {NEXT.text}"), place).all())
            assert "ix_features_worth" in plan
            assert "Sort" not in plan


def test_states_are_judged_until_the_page_is_full(store: Store, fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurehub.store.listing.BATCH", 8)
    only, judged = SearchFilter(states={State.STALE}), []

    def judge(features) -> dict[str, State]:
        judged.extend(features)
        return {each.id: State.STALE if each.latent % 3 == 0 else State.FRESH for each in features}

    with store.write() as writer:
        filled(writer, fill)
        reader, latents = writer.reader, {id_of(sae, at): at for sae in SAES for at in range(20)}
        stale = [each for each in naive(reader, Scope(), SearchFilter()) if latents[each] % 3 == 0]
        assert listed(reader, Scope(), only, 4, judge=judge) == stale
        judged.clear()
        assert len(reader.search("", limit=2, only=only, judge=judge).features) == 2
        assert len(judged) < 30


def test_what_is_written_between_two_pages_repeats_and_hides_nothing_else(store: Store, fill) -> None:
    with store.write() as writer:
        filled(writer, fill)
    with store.read() as reader:
        before = naive(reader, Scope(), SearchFilter())
        page = reader.search("", limit=25)
    made = Calibration(strength=1.0, dose=0.3, steerability=1.0, method="answers", answers=90)
    with store.write() as writer:
        writer.put_calibration(before[40], made)
        writer._session.execute(text("DELETE FROM features WHERE id = :id"), {"id": before[24]})
    with store.read() as reader:
        rest = listed_after(reader, page.next)
        assert [*(each.id for each in page.features), *rest] == [each for each in before if each != before[40]]


def listed_after(reader: Reader, after: str | None) -> list[str]:
    found = []
    while after is not None:
        page = reader.search("", limit=25, after=after)
        found, after = [*found, *(each.id for each in page.features)], page.next
    return found


def test_a_cursor_is_of_what_was_asked(store: Store, fill) -> None:
    with store.write() as writer:
        filled(writer, fill)
        after = writer.reader.search("", limit=5).next
        assert after is not None
        of, worth_then, id = after.split(".")
        broken = ("", ".", "a.b.c", of, f"{of}.", f"{of}.{worth_then}", f"{of}.{worth_then}.", f"{of}.zz.{id}",
                  f"{of}.{worth_then[:-2]}.{id}", f"{of}.7ff8000000000000.{id}", f"{of}.7ff0000000000000.{id}",
                  f"x{after}", after.replace(of, "a" * 16))  # fmt: skip
        for each in broken:
            with pytest.raises(InvalidInput, match="start again"):
                writer.reader.search("", limit=5, after=each)
        for other in (
            {"query": "topic"},
            {"query": "", "only": FILTERS[1]},
            {"query": "", "scope": Scope(saes=SAES[:1])},
        ):
            with pytest.raises(InvalidInput, match="start again"):
                writer.reader.search(**other, limit=5, after=after)


def test_features_of_the_version_before_are_listed_by_their_worth(bare: str) -> None:
    database = database_at(bare)
    worths = {
        1: (0.9, 0.8, None),
        2: (None, None, 0.9),
        3: (0.9, None, None),
        4: (0.01, -0.5, 0.9),
        5: (None, None, None),
    }
    with database.upgrading(60.0) as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(FOLDER))
        for revision in range(1, 15):
            with database.revising(connection):
                command.upgrade(config, f"{revision:04}")
        manifest = build_manifest(id=SAES[0])
        connection.execute(
            text("INSERT INTO artifacts VALUES (:id, 'demo', :model, :manifest, '/nowhere', '2026-01-01', true)"),
            {"id": SAES[0], "model": "m" * 64, "manifest": json.dumps(manifest.model_dump(mode="json"))},
        )
        for latent, (score, steers, expected) in worths.items():
            connection.execute(
                text(
                    "INSERT INTO features (id, artifact_id, latent, slug, density, max_activation, label,"
                    " label_version, label_score, steerability, expected_steerability, quantiles, contexts,"
                    " top_tokens, bottom_tokens, neighbors) VALUES (:id, :sae, :latent, :slug, 0.1, 1.0, '', 0, :score,"
                    " :steers, :expected, '{}',"
                    " '[]', '[]', '[]', '[]')"
                ),
                {"id": id_of(SAES[0], latent), "sae": SAES[0], "latent": latent, "slug": f"slug-{latent}",
                 "score": score, "steers": steers, "expected": expected},
            )  # fmt: skip
    database.engine.dispose()
    with closing(open_store(bare)) as store, store.read() as reader:
        found = reader.search("").features
        assert [each.latent for each in found] == [1, 2, 3, 5, 4]
        assert [each.id for each in found] == naive(reader, Scope(saes=SAES[:1]), SearchFilter())
