"""Totals over a request's tokens, against the dictionaries' own encoding of its whole stream."""

from collections.abc import Sequence
from unittest.mock import patch

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from featurehub.activations import ActivationTotals
from featurehub.edits import LatentEdit, Read, Steering
from featurehub.engine.checks import check
from featurehub.engine.config import EngineConfig
from featurehub.engine.totals import Totals
from featurehub.errors import InvalidEdit
from featurehub.features import Mode
from featurehub.report import SteerReport
from tests.engine.world import DICTIONARIES, POINTS, Chunk, World, whole_stream

Spans = Sequence[tuple[int, int]]
NUDGE = LatentEdit(sae="a", latent=3, mode=Mode.NUDGE, value=5.0)


def expected(request: int, read: Read, tokens: int) -> dict[int, tuple[int, float, float]]:
    """The naive twin: all activations of all tokens at once."""
    at = next(i for i, name in enumerate(POINTS) if read.sae in DICTIONARIES[name])
    a = DICTIONARIES[POINTS[at]][read.sae].encode(whole_stream(request, at, tokens))
    inside = sorted({p for start, stop in read.totals for p in range(start, min(stop, tokens))})
    chosen = a[inside]
    return {
        i: (int((own > 0).sum()), float(own.sum()), float(own.max()))
        for i in range(a.shape[1])
        if len(own := chosen[:, i]) and (own > 0).any()
    }


def check_totals(found: ActivationTotals, request: int, read: Read, tokens: int) -> None:
    latents, counts, sums, maxima = found.arrays()
    wanted = expected(request, read, tokens)
    assert latents.tolist() == sorted(wanted)
    assert counts.tolist() == [wanted[i][0] for i in latents]
    np.testing.assert_allclose(sums, [wanted[i][1] for i in latents], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(maxima, [wanted[i][2] for i in latents], rtol=1e-4, atol=1e-4)
    assert found.tokens == len({p for start, stop in read.totals for p in range(start, min(stop, tokens))})


SPAN = st.tuples(st.integers(0, 8), st.integers(1, 4)).map(lambda span: (span[0], sum(span)))


@pytest.mark.parametrize("together", [1, 5, 1000])
@given(spans=st.lists(st.lists(SPAN, min_size=1, max_size=3), min_size=3, max_size=3), at_once=st.sampled_from((1, 90)))
def test_totals_are_those_of_the_whole_stream(
    world_config: EngineConfig, together: int, spans: list[Spans], at_once: int
) -> None:
    """Before steering, in chunks, with a preemption; spans may overlap, or reach beyond what was computed."""
    reads = [Read(sae="abc"[i], top_k=i, totals=tuple(each)) for i, each in enumerate(spans)]
    asked = [Steering(reads=(reads[0], reads[1]), edits=(NUDGE,)), Steering(reads=(reads[2],)), Steering()]
    with (
        patch("featurehub.engine.reading.TOKENS_TOGETHER", together),
        patch("featurehub.engine.bank.LATENTS_AT_ONCE", at_once),
    ):
        world = World(world_config, asked, 4, torch.float32)
        world.step([Chunk(0, 0, 3), Chunk(2, 0, 2), Chunk(1, 0, 2)])
        world.preempt(0)
        world.step([Chunk(1, 2, 1)])
        world.step([Chunk(0, 0, 5), Chunk(1, 3, 3)])
        world.step([Chunk(0, 5, 1)])
        reports = [world.report(request) for request in (0, 1)]
    for request, report in enumerate(reports):
        assert report.activations is not None
        assert len(report.activations.totals) == len(asked[request].reads)
        for read, found in zip(asked[request].reads, report.activations.totals, strict=True):
            check_totals(found, request, read, 6)
    assert all(hook.readings.activations.totals.bytes == 0 for hook in world.hooks.hooks)


def test_requests_that_share_a_key_have_totals_of_their_own(world_config: EngineConfig) -> None:
    read = Read(sae="a", totals=((1, 9),))
    world = World(world_config, [Steering(reads=(read,))] * 2, 4, torch.float32)
    world.steerings = [replace(s, report="shared") for s in world.steerings]
    world.step([Chunk(0, 0, 4), Chunk(1, 0, 6)])
    report = world.hooks.report("shared")
    assert report is not None
    assert report.activations is not None
    for request, found in enumerate(report.activations.totals):
        check_totals(found, request, read, 4 + 2 * request)


def test_a_forward_pass_begins_totals_and_the_report_ends_them() -> None:
    """vLLM's forward passes run in inference mode; what comes last is counted outside it."""
    with torch.inference_mode():
        totals = Totals(Read(top_k=1, totals=((0, 9),)), 3, torch.device("cpu"))
        totals.add(torch.tensor([[1.0, 0.0, 2.0]]))
        last = torch.tensor([[0.0, 0.0, 5.0]])
    totals.add(last)
    assert totals.numbers.tolist() == [[1.0, 0.0, 2.0], [1.0, 0.0, 7.0], [1.0, 0.0, 5.0]]


def test_totals_survive_the_wire_and_a_cut(world_config: EngineConfig) -> None:
    world = World(world_config, [Steering(reads=(Read(sae="a", totals=((0, 2),)),))], 4, torch.float32)
    world.step([Chunk(0, 0, 4)])
    report = world.report(0)
    wire = msgspec.msgpack.decode(msgspec.msgpack.encode(report.to_wire()))
    assert SteerReport.model_validate(wire) == report
    assert report.activations is not None
    assert report.activations.until(3).totals == report.activations.totals
    (totals,) = report.activations.totals
    with pytest.raises(ValueError, match="different numbers of latents"):
        ActivationTotals.model_validate({**totals.model_dump(), "counts": totals.counts[:-4]})


def test_totals_beyond_the_bound_are_lost_and_said_so(
    world_config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurehub.engine.reading.BYTES_KEPT", 300)
    monkeypatch.setattr("featurehub.engine.reading.TOKENS_TOGETHER", 1)
    world = World(world_config, [Steering(reads=(Read(sae="a", totals=((0, 9),)),))] * 2, 4, torch.float32)
    world.step([Chunk(0, 0, 1)])
    world.step([Chunk(1, 0, 1)])
    world.step([Chunk(0, 1, 1)])
    first, second = world.report(0), world.report(1)
    assert first.reads_lost
    assert not (first.activations and first.activations.totals)
    assert not second.reads_lost
    assert world.hooks.hooks[0].readings.activations.totals.kept == {}


@pytest.mark.parametrize("span", [(3, 3), (5, 2), (-1, 2)])
def test_a_span_of_no_positions_is_refused(world_config: EngineConfig, span: tuple[int, int]) -> None:
    with pytest.raises(InvalidEdit, match="the first must be 0 or more"):
        check(Steering(reads=(Read(sae="a", totals=(span,)),), report="r"), world_config)
