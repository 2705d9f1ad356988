"""What the engine tells of itself, and of texts."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["LEAST_LOGPROB", "DeviceWeights", "Overhead", "Tokens"]

LEAST_LOGPROB = -9999.0
"""What vLLM's routes say of a token that the model never chooses, since JSON has no infinity."""


class Overhead(NamedTuple):
    """What our part of the engine's steps has cost since it started, in seconds of the host.

    Attributes:
        steps: Length of the steps that were measured (``featurehub.engine.overhead``), all of their work included.
        host: The adapters' part of them.
        op: The op's part of them.
        reading: How many requests read activations now.
    """

    steps: float = 0.0
    host: float = 0.0
    op: float = 0.0
    reading: int = 0


class Tokens(NamedTuple):
    """A text or a chat as token ids.

    Attributes:
        ids: All of them, special tokens included.
        content: Which of them are somebody's words: not the first, which holds what models have no other place for,
            whatever it is; no special token, and none that the chat template adds.
    """

    ids: list[int]
    content: list[bool]


class DeviceWeights(NamedTuple):
    """The weights as they lie on the device.

    Attributes:
        identity: Of them all; other weights have another.
        sums: Checksums by the name of each tensor; none while they are being replaced.
    """

    identity: str = ""
    sums: Mapping[str, str] = {}
