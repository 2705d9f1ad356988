"""Labels that were written before they had parts: whose text is taken apart, and which names stay."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from featurehub.errors import FeatureNotFound
from featurehub.records import Label, Labeled, Provenance
from featurehub.store import Store, migrate, open_store
from featurehub.store.location import database_at
from featurehub.store.statistics import id_of
from tests.labels import labeled, parted
from tests.store.conftest import build_manifest

FOLDER = Path(migrate.__file__).parent / "migrations"
SAE = "a" * 64
OURS, PERSON, THEIRS = ("contrastive-ngrams", "featurehub"), ("person", "Ada"), ("contrastive-ngrams", "neuronpedia")
LABELS: dict[int, list[tuple[str | None, tuple[str, str]]]] = {
    1: [("loan: debt", OURS), ("banking (loan): debt, bank", OURS)],
    2: [("Note: mentions of dates", PERSON)],
    3: [("sea (water): waves", THEIRS)],
    4: [("banking (2): money", ("vocabulary-projection", "featurehub"))],
    5: [(None, OURS)],
    6: [("½ cup: sugar", OURS), ("cups (½): tea", PERSON)],
}
"""By latent, each version's label with its method and author."""
NAMES = {
    1: [("banking (loan): debt, bank", "label"), ("banking (loan)", "head"), ("loan: debt", "kept"), ("loan", "kept"),
        ("money (big): mine", "given")],
    2: [("Note: mentions of dates", "label"), ("Note", "head")],
    3: [("sea (water): waves", "label"), ("sea (water)", "head")],
    4: [("banking (2): money", "label"), ("banking (2)", "head")],
    6: [("cups (½): tea", "label"), ("cups (½)", "head"), ("½ cup: sugar", "kept"), ("½ cup", "kept")],
}  # fmt: skip
WORDS = {
    "banking (loan): debt, bank": (1, 2), "banking (loan)": (1, 2), "loan: debt": (1, 1), "loan": (1, 1),
    "money (big): mine": (3, 3), "Note: mentions of dates": (4, 4), "Note": (1, 1), "sea (water): waves": (3, 3),
    "sea (water)": (2, 2), "banking (2): money": (1, 2), "banking (2)": (1, 2), "cups (½): tea": (4, 4),
    "cups (½)": (3, 3), "½ cup: sugar": (3, 3), "½ cup": (3, 3),
}  # fmt: skip
"""How many words of each name are its label's name, and its head; ``½`` is folded to two words."""


def insert(connection: Connection, table: str, **values: Any) -> None:
    places = ", ".join(f":{each}" for each in values)
    connection.execute(text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})"), values)


def fold_of(name: str) -> str:
    return " ".join(name.casefold().replace("½", "1⁄2").split())


def fill_before(connection: Connection) -> None:
    """What the version before wrote."""
    manifest = build_manifest().model_dump_json()
    artifact = {"id": SAE, "name": "demo", "model": "m" * 64, "manifest": manifest, "path": "/nowhere"}
    insert(connection, "artifacts", **artifact, created="2026-01-01", is_default=True)
    empty = dict.fromkeys(("contexts", "top_tokens", "bottom_tokens", "neighbors"), "[]")
    for latent, versions in LABELS.items():
        feature, label = id_of(SAE, latent), versions[-1][0]
        insert(
            connection, "features", id=feature, artifact_id=SAE, latent=latent, slug=f"slug-{latent}", density=0.1,
            max_activation=1.0, label=label or "", label_version=len(versions) if label else 0, quantiles="{}", **empty,
        )  # fmt: skip
        for version, (found, (method, author)) in enumerate(versions, start=1):
            insert(
                connection, "labels", feature_id=feature, version=version, label=found,
                reason=None if found else "too rare", scores="{}", author=author, method=method, model="", prompt="",
                answer="", created="2026-01-01",
            )  # fmt: skip
        for name, kind in NAMES.get(latent, ()):
            insert(connection, "names", feature_id=feature, name=name, key=fold_of(name), kind=kind)


@pytest.fixture
def migrated(bare: str) -> Any:
    database = database_at(bare)
    with database.upgrading(60.0) as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(FOLDER))
        for revision in range(1, 13):
            with database.revising(connection):
                command.upgrade(config, f"{revision:04}")
        fill_before(connection)
    database.engine.dispose()
    with closing(open_store(bare)) as store:
        yield store


def test_what_explainers_wrote_gets_its_parts_and_all_else_is_a_name_as_a_whole(migrated: Store) -> None:
    with migrated.read() as reader:
        assert reader.labels(SAE) == {
            1: parted("banking (loan): debt, bank"), 2: Label(name="Note: mentions of dates"),
            3: Label(name="sea (water): waves"), 4: parted("banking (2): money"), 6: Label(name="cups (½): tea"),
        }  # fmt: skip
        assert reader.labels(SAE)[1].further == ("loan", "debt", "bank")
        assert reader.labels(SAE)[4].further == ("money",)
        outcomes = [each.outcome for each in reader.details(id_of(SAE, 6)).labels]
        assert [each.label for each in outcomes if isinstance(each, Labeled)] == [
            parted("½ cup: sugar"), Label(name="cups (½): tea"),
        ]  # fmt: skip


def test_every_name_and_slug_stays_and_knows_its_words(migrated: Store) -> None:
    with migrated.write() as writer:
        rows = writer._session.execute(text("SELECT name, name_words, head_words FROM names")).all()
        assert {row[0]: (row[1], row[2]) for row in rows} == WORDS
        for latent, names in NAMES.items():
            for key in (*(name for name, _ in names), f"slug-{latent}"):
                assert writer.reader.resolve(key).latent == latent
        found = {each.latent: each.relevance for each in writer.reader.search("banking").features}
        assert found == {1: 0.95, 4: 0.95}


def test_it_is_written_on_as_any_other(migrated: Store) -> None:
    """Search's index of names is kept up to date as before."""
    with migrated.write() as writer:
        writer.put_alias(id_of(SAE, 2), "corsair")
        writer.put_label(
            id_of(SAE, 1), labeled("finance: credit"), Provenance(author="me", method="contrastive-ngrams")
        )
        assert [each.latent for each in writer.reader.search("corsair").features] == [2]
        assert writer.reader.resolve("banking (loan)").label == "finance: credit"
        assert writer.reader.labels(SAE)[1] == parted("finance: credit")
        kept = text("SELECT name_words, head_words FROM names WHERE name = 'banking (loan): debt, bank'")
        assert writer._session.execute(kept).one() == (1, 2)
        with pytest.raises(FeatureNotFound):
            writer.reader.resolve("credit")


def test_parts_are_kept_as_json(migrated: Store) -> None:
    with migrated.read() as reader:
        found = reader._session.execute(text("SELECT CAST(further AS TEXT) FROM labels WHERE qualifier = 'loan'")).one()
    assert json.loads(found[0]) == ["loan", "debt", "bank"]
