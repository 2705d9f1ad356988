"""The projects in whose forms a transcoder can be written."""

from enum import StrEnum

__all__ = ["Form"]


class Form(StrEnum):
    SAE_LENS = "sae-lens"
    CIRCUIT_TRACER = "circuit-tracer"
