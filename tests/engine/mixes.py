"""Requests for the real engine, drawn at random: what they ask for, and what came of them."""

from functools import cache
from typing import NamedTuple

from hypothesis import strategies as st
from vllm import SamplingParams

from featurehub.artifacts.manifest import HookPoint
from featurehub.conditions import Op, Positions
from featurehub.dictionary import Dictionary
from featurehub.edits import Abort, Condition, LatentEdit, Read, Steering, When
from featurehub.engine.config import KEY
from featurehub.engine.offline import Engine
from featurehub.features import Mode
from featurehub.report import SteerReport
from tests.engine import twin
from tests.engine.world import unit_dictionary


def with_vectors(dictionary: Dictionary) -> Dictionary:
    """The same with steering vectors that are not its decoder rows."""
    return dictionary._replace(W_steer=dictionary.W_dec.roll(1, dims=-1))


D_MODEL, D_SAE = 192, 64
EARLY, LATE = HookPoint(layer=1), HookPoint(layer=3)
SAES = {
    EARLY: {"a": unit_dictionary(1, D_MODEL, D_SAE, 0.5), "b": with_vectors(unit_dictionary(2, D_MODEL, D_SAE, 0.5))},
    LATE: {"c": unit_dictionary(3, D_MODEL, D_SAE, 0.5)},
}
DICTIONARIES = {str(point): saes for point, saes in SAES.items()}

CONDITIONS = st.builds(
    Condition,
    sae=st.sampled_from("ab"),
    latent=st.integers(0, D_SAE - 1),
    op=st.sampled_from(Op),
    value=st.sampled_from([0.5, 2.0, 4.0]),
    so_far=st.booleans(),
)
WHEN = st.builds(When, conditions=st.lists(CONDITIONS, min_size=1, max_size=2).map(tuple), any=st.booleans())
EDITS = st.builds(
    LatentEdit,
    sae=st.sampled_from("abc"),
    latent=st.integers(0, D_SAE - 1),
    mode=st.sampled_from(Mode),
    value=st.sampled_from([-30.0, -2.0, 0.0, 20.0, 60.0]),
    when=st.one_of(st.none(), WHEN),
)
ABORTS = st.builds(Abort, event=st.just("stop"), when=WHEN, positions=st.sampled_from(Positions))
STEERINGS = st.builds(
    Steering,
    edits=st.lists(EDITS, max_size=4).map(tuple),
    positions=st.sampled_from(Positions),
    within=st.sampled_from([None, None, (0, 3), (2, 1000)]),
    dose_max=st.sampled_from([0.3, 1.0]),
    aborts=st.one_of(st.just(()), st.just(()), ABORTS.map(lambda abort: (abort,))),
    reads=st.sampled_from([(), (), (Read(sae="c", top_k=3), Read(sae="a", latents=(1, 2)))]),
)


class Answered(NamedTuple):
    """cached: tokens of the prompt that were taken from the cache"""

    token_ids: list[int]
    report: SteerReport | None
    cached: int = 0


def params_of(steering: Steering, max_tokens: int) -> SamplingParams:
    """Only an answer with aborts, which need it, heeds the end of sequence; others go on to their full length."""
    return SamplingParams(
        temperature=0.0,
        max_tokens=max_tokens,
        ignore_eos=not steering.aborts,
        extra_args={KEY: steering.to_request()},
    )


def report_of(engine: Engine, key: str) -> SteerReport | None:
    [[wires]] = engine.llm.collective_rpc("featurehub_reports", args=([key],))
    return SteerReport.sum_of(wires) if wires else None


@cache
def naive_twin(prompt: tuple[int, ...], steering: Steering, max_tokens: int) -> twin.Twin:
    """Remembered, since several engines are asked for the same; it takes longer than any of them."""
    return twin.decode(list(prompt), steering, DICTIONARIES, max_tokens, ignore_eos=not steering.aborts)


def check(steering: Steering, answered: Answered, naive: twin.Twin) -> None:
    """The tokens as far as no two were nearly equal, and what is told of them."""
    ids, report = answered.token_ids, answered.report
    aborted = report.aborted if report is not None else None
    if aborted is not None and ids[-1] == twin.eos():
        ids = ids[:-1]
    assert naive.agrees(ids), (ids, naive.token_ids, naive.close)
    if steering.is_nothing or len(ids) > naive.close:
        return
    assert report is not None
    assert not report.lost(steering)
    events = [position for position in range(naive.computed) if naive.reference.event(position)]
    assert (aborted and aborted.position) == (events[0] if events else None)
    check_steered(steering, report, range(answered.cached, naive.computed), naive)
    if steering.reads:
        assert report.activations is not None
        assert [t.position for t in report.activations if t.sae == "c"] == list(range(naive.computed))


def check_steered(steering: Steering, report: SteerReport, computed: range, naive: twin.Twin) -> None:
    """Every computed token at which an edit was in force was counted, once."""
    for name, saes in DICTIONARIES.items():
        own = [edit for edit in steering.edits if edit.sae in saes and not edit.is_nothing]
        covered = [p for p in computed if naive.reference.applies(p)]
        steered = [p for p in covered if any(naive.reference.holds(edit.when, p) for edit in own)]
        assert (report.hooks[name].steered_tokens if own else 0) == len(steered)
