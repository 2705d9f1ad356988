"""Seeded requests under chunked prefill on CPU.

A step that computes only a part of a prompt samples nevertheless, and vLLM's V1 runner then takes the draw back by
moving the generator's offset. CPU generators have none, so one seeded request with a long prompt would end the engine.
Here the generators of such requests remember their state before the draw, and "moving the offset" returns to it.
"""

from typing import Any

import numpy as np
import torch

__all__ = ["protect_generators"]


class RewindableGenerator(torch.Generator):
    """A CPU generator that can take back what was drawn since ``remember``.

    Attributes:
        remembered: The state at the last ``remember``.
    """

    remembered: torch.Tensor

    def remember(self) -> None:
        self.remembered = self.get_state()

    def get_offset(self) -> int:
        return 0

    def set_offset(self, offset: int) -> "RewindableGenerator":
        self.set_state(self.remembered)
        return self


def protect_generators(runner: Any) -> None:
    """Makes every generator rewindable whose draw in this step will be taken back. To be called before sampling.

    Args:
        runner: vLLM's V1 model runner; nothing happens unless it runs on a CPU.
    """
    batch = runner.input_batch
    if runner.device.type != "cpu" or not batch.generators:
        return
    for i in np.nonzero(runner.discard_request_mask.np[: batch.num_reqs])[0].tolist():
        generator = batch.generators.get(i)
        if generator is None:
            continue
        if not isinstance(generator, RewindableGenerator):
            generator = rewindable(generator)
            batch.generators[i] = runner.requests[batch.req_ids[i]].generator = generator
        generator.remember()


def rewindable(generator: torch.Generator) -> RewindableGenerator:
    result = RewindableGenerator()
    result.set_state(generator.get_state())
    return result
