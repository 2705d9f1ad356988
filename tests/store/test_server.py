"""A database on a PostgreSQL server: who may write, who is told what, and what a lost connection leaves behind."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError

from featurehub.errors import InvalidConfig, StoreReadOnly, StoreUnavailable
from featurehub.store import Provenance, Store, check_writable, open_store
from featurehub.store.bulk import insert_rows
from tests.labels import labeled
from tests.postgres import Server

pytestmark = pytest.mark.parametrize("location", ["postgresql"], indirect=True)


def run(location: str, *statements: str) -> None:
    with psycopg.connect(location, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def end_connections(location: str) -> None:
    """What a server does to its clients as it is shut down."""
    ours = "datname = current_database() AND pid <> pg_backend_pid()"
    run(location, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}")


@contextmanager
def as_reader(location: str) -> Iterator[str]:
    """The location for a user who may read the tables, and no more."""
    run(location, "CREATE ROLE reader LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    try:
        yield location.replace("postgres@", "reader@")
    finally:
        run(location, "DROP OWNED BY reader", "DROP ROLE reader")


@pytest.mark.parametrize("at", ["me:hush@127.0.0.1:1/none", "me:hush@127.0.0.1:1/none?sslpassword=hush&password=hush"])
def test_a_server_that_is_not_there_is_named_without_a_password(location: str, at: str) -> None:
    with pytest.raises(
        StoreUnavailable, match=r"postgresql://me@127\.0\.0\.1:1/none.* PGPASSWORD.*try again"
    ) as caught:
        open_store(f"postgresql://{at}")
    assert "hush" not in str(caught.value)


def test_a_database_that_is_not_there_is_not_made(location: str, server: Server) -> None:
    with pytest.raises(StoreUnavailable, match="does not exist"):
        open_store(server.url("nowhere"))
    with pytest.raises(InvalidConfig, match="invalid connection option"):
        open_store(f"{location}&nonsense=1")


def test_its_name_has_no_password_and_opens_it_again(location: str, fill) -> None:
    for scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        given = location.replace("postgresql://postgres@", f"{scheme}://postgres:hush@")
        with closing(open_store(given)) as store:
            assert "hush" not in store.name
            with closing(open_store(store.name)) as again, again.read() as reader:
                assert reader.artifacts() == []


def test_a_reader_cannot_write(store: Store) -> None:
    with store.read() as reader, pytest.raises(StoreReadOnly):
        reader._session.execute(text("DELETE FROM artifacts"))


def test_whoever_may_only_read_is_told_so(location: str, store: Store, fill) -> None:
    with store.write() as writer:
        fill(writer, {1: "banking"})
    with as_reader(location) as read_only, closing(open_store(read_only)) as reading:
        with reading.read() as reader:
            assert reader.resolve("banking").latent == 1
        with pytest.raises(StoreReadOnly, match="a database whose tables you may write"), reading.write() as writer:
            writer.put_artifact_alias("a" * 64, "production")
        with pytest.raises(StoreReadOnly):
            check_writable(read_only)


def test_nobody_writes_to_a_database_that_is_read_only(location: str, store: Store) -> None:
    run(location, f"ALTER DATABASE {make_url(location).database} SET default_transaction_read_only = on")
    store.close()
    with pytest.raises(StoreReadOnly), store.write():
        pytest.fail("it can only be read")
    with pytest.raises(StoreReadOnly):
        check_writable(location)
    with store.read() as reader:
        assert reader.artifacts() == []


def test_an_older_schema_is_not_upgraded_by_whoever_may_only_read(location: str, store: Store) -> None:
    run(location, "UPDATE alembic_version SET version_num = '0001'")
    with as_reader(location) as read_only, pytest.raises(StoreReadOnly, match="older featurehub"):
        open_store(read_only)


def test_a_lost_connection_undoes_what_was_being_written(location: str, store: Store, fill) -> None:
    def interrupted() -> None:
        with store.write() as writer:
            fill(writer, {1: "banking"})
            end_connections(location)
            writer.reader.artifacts()

    with pytest.raises(StoreUnavailable, match="is undone"):
        interrupted()
    with store.write(patience=0.5) as writer:
        assert writer.reader.artifacts() == []


def test_a_lost_connection_in_the_middle_of_many_rows_is_told(location: str, store: Store) -> None:
    def rows() -> Iterator[tuple[str, str]]:
        yield "one", "a" * 64
        end_connections(location)
        yield from ((f"{number}", "a" * 64) for number in range(100_000))

    def interrupted() -> None:
        with store.write() as writer:
            insert_rows(writer._session, "artifact_aliases", ("name", "artifact_id"), rows())

    with pytest.raises(StoreUnavailable, match="is undone"):
        interrupted()


def test_a_row_that_is_refused_is_told_as_by_any_statement(store: Store) -> None:
    row = ("production", "a" * 64)
    with pytest.raises(IntegrityError, match="foreign key"), store.write() as writer:
        insert_rows(writer._session, "artifact_aliases", ("name", "artifact_id"), [row])


def test_a_server_that_was_started_anew_is_connected_to_again(location: str, store: Store) -> None:
    with store.read() as reader:
        assert reader.artifacts() == []
    end_connections(location)
    with store.read() as reader:
        assert reader.artifacts() == []


def test_what_no_text_of_postgresql_can_hold_is_replaced(store: Store, fill) -> None:
    with store.write() as writer:
        ids = fill(writer, {1: "banking"})
        answer = Provenance(author="me", method="by hand", answer="cut \0 off")
        writer.put_label(ids[1], labeled("money\0 talk"), answer)
        assert writer.reader.resolve("money talk").label == "money talk"
        assert writer.reader.details(ids[1]).labels[-1].provenance.answer == "cut \N{REPLACEMENT CHARACTER} off"
