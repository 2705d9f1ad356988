"""A sampler whose choices and clock a test knows, and the naive twin of what it sums up."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from featurehub.dictionary import Dictionary
from featurehub.engine.allowance import SamplingAllowance
from featurehub.engine.sampler import SAMPLER, Sampler
from featurehub.input_drift.sample import BINS, EDGES, Sample


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def sampling(seed: int = 0) -> Iterator[tuple[Sampler, Clock]]:
    """This process's sampler as new, somebody having looked, with an allowance that a test's steps do not use up."""
    clock = Clock()
    allowance = SamplingAllowance(clock)
    allowance.left = 1.0
    SAMPLER.__init__(np.random.default_rng(seed), allowance, active=True)
    try:
        yield SAMPLER, clock
    finally:
        SAMPLER.__init__()


def naive(dictionary: Dictionary, requests: Sequence[Tensor]) -> Sample:
    """What is to be said of these requests' streams, [tokens, d_model] each: one token after the other."""
    rates, errors, l0 = np.zeros(dictionary.d_sae), np.zeros(BINS), 0.0
    for x in requests:
        for token in x:
            a = dictionary.encode(token[None])
            missed = float((token - dictionary.decode(a)[0]).square().sum())
            error = missed / float((token - dictionary.b_dec).square().sum())
            weight = 1 / len(x) / len(requests)
            rates += weight * (a[0] > 0).numpy()
            errors[int(np.searchsorted(EDGES, error))] += weight
            l0 += weight * int((a > 0).sum())
    latents = np.flatnonzero(rates)
    tokens = sum(map(len, requests))
    return Sample(
        "", "", tokens, latents.astype(np.int32), rates[latents].astype(np.float32), errors.astype(np.float32), l0
    )


def same(found: Sample, expected: Sample) -> None:
    """Both say the same, but for the last digit."""
    assert found.tokens == expected.tokens
    assert found.latents.tolist() == expected.latents.tolist()
    torch.testing.assert_close(torch.tensor(found.rates), torch.tensor(expected.rates))
    torch.testing.assert_close(torch.tensor(found.errors), torch.tensor(expected.errors))
    assert abs(found.l0 - expected.l0) < 1e-4 * expected.l0
