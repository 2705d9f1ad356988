"""The statements that a store runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from featurehub.store import Store

__all__ = ["counted"]


@contextmanager
def counted(store: Store) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection, _cursor, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(store._engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(store._engine, "before_cursor_execute", note)
