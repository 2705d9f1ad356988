"""The tests' own PostgreSQL: databases copied from one another, and pgvector."""

import psycopg
import pytest

from tests.postgres import Server


def test_a_database_is_a_copy_that_is_gone_afterwards(postgres: Server) -> None:
    with psycopg.connect(postgres.create("original"), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    with psycopg.connect(postgres.create("copy", "original"), autocommit=True) as connection:
        [distance] = connection.execute("SELECT '[0,3]'::vector <-> '[4,0]'::vector").fetchone() or ()
        assert distance == 5.0
        postgres.drop("copy")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    postgres.drop("original")
