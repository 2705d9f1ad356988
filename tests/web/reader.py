"""An engine that reads what it is given, as a worker would report it, for pages that show activations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from api.engine import FakeEngine
from featurehub.activations import ActivationTotals
from featurehub.edits import Read, Steering
from tests.api.reports import reading

__all__ = ["ACTIVE", "ReadingEngine"]

ACTIVE = 2.0
"""How active each latent that is asked for is at the second token; at all others it is not."""


class ReadingEngine(FakeEngine):
    """A fake engine whose reports are of the tokens that it was given."""

    async def run(
        self, token_ids: Sequence[int], steering: Steering, *, top: int = 0, chosen: int | None = None
    ) -> Mapping[int, float]:
        """Notes the tokens and what they are read for."""
        reports = [self._read(token_ids, each) for each in steering.reads]
        blocks = [block for each in reports for block in each["activations"]["blocks"]]
        totals = [totals_of(each) for each in steering.reads if each.totals]
        self.reports[steering.report] = {"activations": {"blocks": blocks, "totals": totals}, "requests": [0]}
        return await super().run(token_ids, steering, top=top, chosen=chosen)

    def _read(self, token_ids: Sequence[int], read: Read) -> dict[str, Any]:
        rows = ((id, dict.fromkeys(read.latents, ACTIVE if at == 1 else 0.0)) for at, id in enumerate(token_ids))
        return reading(*rows, sae=read.sae)


def totals_of(read: Read) -> dict[str, Any]:
    """The totals over the stretches of a read; no latent but those of ``read`` is active."""
    tokens = sum(to - start for start, to in read.totals)
    latents, one = np.array(read.latents, "<i4"), np.ones(len(read.latents))
    floats = (one * ACTIVE).astype("<f4").tobytes()
    return ActivationTotals(
        sae=read.sae, tokens=tokens, latents=latents.tobytes(), counts=one.astype("<i4").tobytes(), sums=floats,
        maxima=floats,
    ).model_dump()  # fmt: skip
