"""The projects in whose forms a transcoder can be written."""

from enum import StrEnum

__all__ = ["Form"]


class Form(StrEnum):
    """A project in whose form a transcoder can be written."""

    SAE_LENS = "sae-lens"
    CIRCUIT_TRACER = "circuit-tracer"
