"""The sums of a sample (``featurehub.input_drift.sample``), where the model runs.

A token whose norm is ``HUGE`` times the median's counts for nothing. Such tokens are under 1 %, hold what models have
no other place for, and would decide every mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from featurehub.engine.bank import LATENTS_AT_ONCE, Bank
from featurehub.engine.sheet import HostCopy
from featurehub.input_drift.sample import BINS, EDGES, Sample

__all__ = ["Encoding", "encoded", "sums"]

HUGE = 10.0


@dataclass
class Encoding:
    """A sample on its way to the host.

    Attributes:
        sae: Id of the SAE.
        weights: Identity of the model's weights.
        words: [d_sae + BINS + 2] float32 of ``sums``.
        timers: When it began and ended, on CUDA.
    """

    sae: str
    weights: str
    words: HostCopy
    timers: tuple[Any, Any] | None

    def sample(self) -> Sample:
        """The sample; waits for the device."""
        words = self.words.array()
        rates, errors, (l0, tokens) = np.split(words, [len(words) - BINS - 2, len(words) - 2])
        latents = np.flatnonzero(rates)
        return Sample(
            self.sae, self.weights, int(tokens), latents.astype(np.int32), rates[latents].astype(np.float32),
            errors.astype(np.float32), float(l0),
        )  # fmt: skip

    def seconds(self) -> float:
        """How long the device took, beside the host; waits for it."""
        self.words.array()
        return 0.0 if self.timers is None else self.timers[0].elapsed_time(self.timers[1]) / 1000


def encoded(bank: Bank, sae: str, streams: Sequence[Tensor], weights: str) -> Encoding:
    """Starts to encode requests' streams with an SAE."""
    timers = None
    if bank.W_dec.is_cuda:
        timers = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
        timers[0].record()
    words = sums(bank, sae, streams)
    if timers is not None:
        timers[1].record()
    return Encoding(sae, weights, HostCopy(words), timers)


def sums(bank: Bank, sae: str, streams: Sequence[Tensor]) -> Tensor:
    """What a ``Sample`` has.

    Args:
        bank: The SAEs of the hook point.
        sae: Id of one.
        streams: [tokens, d_model] float32 of each request, at least one token.

    Returns:
        [d_sae + BINS + 2] float32: the latents' rates, the bins of errors, the mean L0, and how many tokens counted.
    """
    own, center = bank.slices[sae], bank.centers[sae]
    x = torch.cat(list(streams))
    weight = weights_of(x, [len(each) for each in streams])
    rates, errors = x.new_zeros(own.stop - own.start), x.new_zeros(BINS)
    l0, edges = x.new_zeros(()), torch.from_numpy(EDGES).to(x)
    at_once = max(1, LATENTS_AT_ONCE // len(rates))
    for part, counts in zip(x.split(at_once), weight.split(at_once), strict=True):
        a = bank.encode(part, sae)
        missed = part - torch.addmm(center, a, bank.W_dec[own])
        error = missed.square().sum(-1) / (part - center).square().sum(-1)
        errors.index_add_(0, torch.bucketize(error, edges), counts)
        active = a.gt_(0)
        rates += counts @ active
        l0 += counts @ active.sum(-1)
    return torch.cat([rates, errors, torch.stack([l0, (weight > 0).sum().to(x)])])


def weights_of(x: Tensor, counts: Sequence[int]) -> Tensor:
    """What each token counts, so that every request counts the same: [tokens], the sum of all is 1 at most."""
    size = torch.linalg.vector_norm(x, dim=-1)
    ordinary = (size <= HUGE * size.median()).to(x)
    owner = torch.repeat_interleave(torch.tensor(counts)).to(x.device)
    left = x.new_zeros(len(counts)).index_add_(0, owner, ordinary)
    return ordinary / left.clamp_(min=1)[owner] / len(counts)
