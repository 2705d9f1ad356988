"""In which numbers weights are kept."""

from enum import StrEnum

__all__ = ["Precision"]


class Precision(StrEnum):
    """A type of numbers; the value is its name in torch and in configurations."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
