"""Seals: how one part of featurehub knows that another part made a text, and not a client.

A seal is a keyed hash (HMAC-SHA256) of the text and of who made it. The key belongs to one start of a server or of an
engine: the process that starts it draws the key, and the processes that it starts inherit it in the environment. A
worker on another machine does not, so it refuses all steering until ``FEATUREHUB_SECRET`` has the same value on every
machine.
"""

import hmac
import os
import secrets
from enum import StrEnum

__all__ = ["SEAL_LENGTH", "SECRET", "Maker", "is_sealed", "make_seal"]

SECRET = "FEATUREHUB_SECRET"
SEAL_LENGTH = 64
"""Hexadecimal digits of a seal."""


class Maker(StrEnum):
    """Who sealed a text.

    Attributes:
        REQUEST: The code that made the request: the API's plan, or the owner of an engine.
        ADMISSION: The engine's admission.
    """

    REQUEST = "request"
    ADMISSION = "admission"


def secret() -> bytes:
    """The key, drawn at the first call unless this process has inherited one."""
    return (os.environ.get(SECRET) or os.environ.setdefault(SECRET, secrets.token_hex(32))).encode()


def make_seal(text: str, maker: Maker) -> str:
    """The seal of a text: 64 hexadecimal digits."""
    return hmac.digest(secret(), f"{maker} {text}".encode(), "sha256").hex()


def is_sealed(text: str, seal: str, maker: Maker) -> bool:
    """Whether ``seal`` is this maker's seal of the text; compared in constant time."""
    return hmac.compare_digest(seal.encode(), make_seal(text, maker).encode())
