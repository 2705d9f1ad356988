"""Seals: how a part of featurehub knows that another part, and no client, made a text.

A seal is a keyed hash (HMAC-SHA256) of the text and of who made it. The key belongs to one start of a server, or of an
engine: the process that starts it draws the key, and every process that it starts inherits it in the environment. A
worker that does not, on another machine, refuses all steering until ``FEATUREHUB_SECRET`` has one value everywhere.
"""

import hmac
import os
import secrets
from enum import StrEnum

__all__ = ["SECRET", "Maker", "is_sealed", "make_seal"]

SECRET = "FEATUREHUB_SECRET"


class Maker(StrEnum):
    """Who sealed a text: whoever made a request (the API's plan, an engine's own owner), or the engine's admission."""

    REQUEST = "request"
    ADMISSION = "admission"


def secret() -> bytes:
    """The key, drawn at the first call unless this process has inherited one."""
    return os.environ.setdefault(SECRET, secrets.token_hex(32)).encode()


def make_seal(text: str, maker: Maker) -> str:
    """64 hexadecimal digits."""
    return hmac.new(secret(), f"{maker} {text}".encode(), "sha256").hexdigest()


def is_sealed(text: str, seal: str, maker: Maker) -> bool:
    return hmac.compare_digest(seal.encode(), make_seal(text, maker).encode())
