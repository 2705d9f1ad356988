"""Statements that every request runs, written as SQL: nothing of them is built or looked up anew."""

from sqlalchemy import TextClause, bindparam, text

__all__ = ["statement"]


def statement(sql: str, *lists: str) -> TextClause:
    """A statement in which each of the named parameters stands for a list: ``… IN :ids``."""
    return text(sql).bindparams(*(bindparam(name, expanding=True) for name in lists))
