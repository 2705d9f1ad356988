"""The column of a vector: float16, little-endian, as bytes; on PostgreSQL pgvector's ``halfvec``."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sqlalchemy import Dialect, LargeBinary, TypeDecorator
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import TypeEngine, UserDefinedType

__all__ = ["DTYPE", "Half", "as_text"]

DTYPE = np.dtype("<f2")


class HalfVec(UserDefinedType[str]):
    """pgvector's type of that name, of any length."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Its name in SQL."""
        return "halfvec"


class Half(TypeDecorator[bytes]):
    """A vector as bytes, on either kind of database."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """What holds it in this kind of database."""
        return dialect.type_descriptor(HalfVec() if dialect.name == "postgresql" else LargeBinary())

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> Any:
        """The bytes as the database takes them."""
        if value is None or dialect.name != "postgresql":
            return value
        return as_text(np.frombuffer(value, DTYPE))

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:
        """What the database gives, as bytes."""
        if value is None or dialect.name != "postgresql":
            return value
        return np.array(value[1:-1].split(","), DTYPE).tobytes()


def as_text(vector: ArrayLike) -> str:
    """A vector as PostgreSQL reads it."""
    return str(np.asarray(vector, np.float32).tolist())


# SQLAlchemy reads the columns of a database by this list.
ischema_names["halfvec"] = HalfVec
