"""How much time or how many tokens a run may use."""

import re
from typing import Self

from pydantic import Field

from featurehub.errors import InvalidInput
from featurehub.settings import Frozen

__all__ = ["Budget"]

SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600}
TOKENS = {"k": 1_000, "M": 1_000_000, "B": 1_000_000_000}


class Budget(Frozen):
    """How much time and how many tokens a run may use; None where there is no limit.

    Attributes:
        seconds: Time of the whole run.
        tokens: Training tokens.
    """

    seconds: float | None = Field(default=None, gt=0)
    tokens: int | None = Field(default=None, gt=0)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a time (``90s``, ``10min`` or ``10m``, ``2h``), tokens (``500k``, ``2M``, ``1B``), or no limit ("").

        Raises:
            InvalidInput: If the text is none of these.
        """
        if not text:
            return cls()
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]+)?)(s|min|m|h|k|M|B)", text.strip())
        if found is None or not float(found[1]):
            raise InvalidInput(
                f"a budget of {text!r}: give a time, such as 90s, 10min or 2h, or tokens, such as 500k or 2M",
                param="budget",
            )
        value, unit = float(found[1]), found[2]
        return cls(seconds=value * SECONDS[unit]) if unit in SECONDS else cls(tokens=int(value * TOKENS[unit]))

    def less(self, seconds: float) -> Self:
        """The budget that is left after so many seconds; of a time, a second at least."""
        left = None if self.seconds is None else max(1.0, self.seconds - seconds)
        return self.model_copy(update={"seconds": left})
